"""What the host must be and have where there is no Docker: root, Debian, a few of its packages; and bare Debians in a tar."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import places, progress
from tests.fresh import machine

# A command of which the package is named; buildah builds the project's images.
TOOLS = {
    "dockerd": "docker.io",
    "docker": "docker-cli",  # part of docker.io before Debian 13
    "runc": "runc",
    "tini": "tini",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "iptables": "iptables",
    "buildah": "buildah",
}
SERVICES = ("docker.service", "docker.socket", "containerd.service")
NO_SERVICES = "#!/bin/sh\nexit 101\n"  # what Debian asks whether a package may start its services
SMALLER = ("var/cache/apt/*", "var/lib/apt/lists/*", "usr/share/doc/*", "usr/share/man/*", "usr/share/locale/*", "var/log/*")

# A namespace for the mounts and processes of one command, so that nothing of them outlives it.
ALONE = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc")


def check() -> None:
    """Raise CannotHave unless a cluster can be made here without a Docker that runs."""
    remedy = "start Docker (any that runs privileged containers), or use a Debian machine as root"
    if platform.system() != "Linux" or not Path("/etc/debian_version").exists():
        raise progress.CannotHave(f"no Docker that runs privileged containers here, and this is not a Debian: {remedy}")
    if os.geteuid() != 0:
        raise progress.CannotHave(f"no Docker that runs privileged containers for this user, and this is not root: {remedy}")
    for tool in ("unshare", "nsenter", "setpriv", "apt-get"):
        if not shutil.which(tool):
            raise progress.CannotHave(f"there is no `{tool}` on PATH; install it (Debian: package util-linux or apt)")


def install() -> None:
    """Install the packages that are missing here; what services come with them is neither started nor started at the next boot."""
    unserved = not shutil.which("dockerd")
    _install([tool for tool in TOOLS if tool != "docker"])
    _install(["docker"])  # which may have come with the others
    if unserved:
        progress.asked(["systemctl", "disable", *SERVICES])


def _install(tools: Sequence[str]) -> None:
    packages = [TOOLS[tool] for tool in tools if not shutil.which(tool)]
    if packages:
        with progress.step(f"installing Debian's {' '.join(packages)}", "packages") as log, _services_left_alone():
            remedy = "put apt in order (`apt-get update`, `apt-get --fix-broken install`) and run this again"
            quiet = {"DEBIAN_FRONTEND": "noninteractive"}
            progress.run(["apt-get", "update"], log, env=quiet, remedy=remedy)
            install = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
            progress.run(install, log, env=quiet, remedy=remedy)


@contextmanager
def _services_left_alone() -> Iterator[None]:
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():  # the host has a policy of its own
        yield
        return
    policy.write_text(NO_SERVICES)
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()


def bootstrapped(suite: str, packages: Sequence[str]) -> Path:
    """Give the tar of a bare Debian with these packages; make it where the cache has none of the same making."""
    making = places.key(suite, " ".join(packages), " ".join(SMALLER), platform.machine())
    image = places.HOME / f"debian-{suite}-{making}.tar"
    if not image.exists():
        with (
            progress.step(f"making a bare Debian {suite} (once, one to three minutes)", f"debian-{suite}") as log,
            places.scratch() as work,
        ):
            mirror = machine.mirror()
            command: progress.Words = [
                *ALONE,
                "debootstrap",
                "--variant=minbase",
                f"--include={','.join(packages)}",
                suite,
                work / "root",
            ]
            remedy = "look whether apt reaches a Debian mirror from here"
            progress.run([*command, *([mirror] if mirror else [])], log, remedy=remedy)
            pack(work / "root", work / "image.tar", log, but=SMALLER)
            places.forget(f"debian-{suite}-*.tar")
            (work / "image.tar").rename(image)
    return image


def pack(root: Path, archive: Path, log: Path, *, but: Sequence[str] = ()) -> None:
    """Put a root file system into a tar, the same bytes for the same files."""
    same = ["--sort=name", "--numeric-owner", "--xattrs", "--xattrs-include=security.capability"]
    progress.run(["tar", *same, *(f"--exclude=./{each}" for each in but), "-C", root, "-cf", archive, "."], log)


def unpack(archive: Path, root: Path, log: Path) -> None:
    """Put a tar's root file system into a folder."""
    root.mkdir()
    progress.run(["tar", "--numeric-owner", "--xattrs", "--xattrs-include=security.capability", "-C", root, "-xf", archive], log)


def architecture() -> str:
    """Give this machine's architecture as container images call it."""
    return subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout.strip()
