"""A bare Debian in a folder, and how to run things in it. What is run there, and what must come of it, is in `__main__`.

Nothing of the host is named here: its Debian mirror, its pip configuration and its CA certificates are read where it
keeps them, at the time. Mounts exist only in the mount namespace of one command, so there is nothing to unmount.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.peers import cache

SUITE = "bookworm"
PACKAGES = "python3,python3-venv,make,git,ca-certificates"  # what the README presumes, and certificates to download with
USER = "visitor"
HOME = f"/home/{USER}"
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
LIMIT = 600  # seconds for one command
HANDED_IN = re.compile(
    r"(PIP_(INDEX_URL|EXTRA_INDEX_URL|TRUSTED_HOST|PROXY|DEFAULT_TIMEOUT|RETRIES)|(https?|no|all)_proxy)", re.IGNORECASE
)

# The mounts of one command; they end with it. "$1" is the machine's root, "$2" what to show at /srv (or nothing).
MOUNTS = """
set -e
mount -t proc proc "$1/proc"
mount -t tmpfs shm "$1/dev/shm"
if [ -n "$2" ]; then mount --bind -o ro "$2" "$1/srv"; fi
root=$1
shift 2
exec chroot "$@"
"""


class CannotMake(Exception):
    """This host cannot make such a machine; says why."""


@contextmanager
def machine() -> Iterator[Path]:
    """Unpack a bare machine, hand in what the host needs to reach a package index, and remove it all afterwards."""
    _check_host()
    image = _image()
    with tempfile.TemporaryDirectory(prefix="fresh-", dir=cache()) as folder:
        root = Path(folder, "root")
        root.mkdir()
        _checked(["tar", "--extract", "--numeric-owner", "--file", str(image), "--directory", str(root)])
        for file in ("etc/resolv.conf", "etc/hosts", "etc/pip.conf", CERTIFICATES):
            if Path("/", file).exists():
                shutil.copyfile(Path("/", file), root / file)
        (root / "etc/gitconfig").write_text("[safe]\n\tdirectory = *\n")  # a clone may belong to another user
        yield root


def command(root: Path, script: str, *, user: str = "root", shown: Path | None = None) -> list[str]:
    """Give the command that runs a shell script in the machine, in an environment of its own; `shown` is seen at /srv."""
    handed_in = [f"{name}={value}" for name, value in os.environ.items() if HANDED_IN.fullmatch(name)]
    home = f"HOME={HOME if user == USER else '/root'}"
    return [
        *("timeout", "--kill-after=10", str(LIMIT)),
        *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
        *("sh", "-c", MOUNTS, "sh", str(root), str(shown or "")),
        *(f"--userspec={user}:{user}", "--groups=", str(root)),
        *("env", "-i", home, "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG=C.UTF-8"),
        *(f"PIP_CERT=/{CERTIFICATES}", *handed_in),
        *("sh", "-c", script),
    ]


def clone(root: Path, repository: Path) -> str:
    """Clone what is committed in `repository` into the visitor's home; give the commit."""
    git = ["git", "-C", str(repository), "-c", "safe.directory=*", "rev-parse"]
    commit = _checked([*git, "HEAD"]).strip()
    objects = _checked([*git, "--path-format=absolute", "--git-common-dir"]).strip()
    there = f"{HOME}/kubetune"
    script = f"git clone -q /srv {there} && git -C {there} checkout -q --detach {commit} && chown -R {USER}: {HOME}"
    _checked(command(root, script, shown=Path(objects)))
    return commit


def _check_host() -> None:
    if os.geteuid() != 0:
        raise CannotMake("needs root, to make a machine and to become another user in it")
    for tool in ("debootstrap", "unshare", "tar", "git"):
        if shutil.which(tool) is None:
            raise CannotMake(f"needs {tool}, which is not on PATH; install it")


def _image() -> Path:
    """Give the archive of a bare machine; make it where there is none of the same making, in the place of older ones."""
    making = (SUITE, PACKAGES, USER, platform.machine(), inspect.getsource(_bootstrap))
    key = hashlib.sha256(repr(making).encode()).hexdigest()[:16]
    image = cache() / f"fresh-{key}.tar"
    if not image.exists():
        print(f"fresh: making a bare {SUITE} (once, a minute or two)", flush=True)
        image.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="fresh-", dir=cache()) as folder:
            _bootstrap(Path(folder, "root"), Path(folder, "image.tar"))
            for older in cache().glob("fresh-*.tar"):
                older.unlink()
            Path(folder, "image.tar").rename(image)
    return image


def _bootstrap(root: Path, image: Path) -> None:
    source = mirror()
    debootstrap = ["unshare", "--mount", "debootstrap", "--variant=minbase", f"--include={PACKAGES}"]
    _checked([*debootstrap, SUITE, str(root), *([source] if source else [])])
    _checked(["chroot", str(root), "useradd", "--create-home", "--skel", "/nonexistent", USER])
    left_out = ["--exclude=./var/cache/apt/*", "--exclude=./var/lib/apt/lists/*"]
    _checked(["tar", "--create", "--numeric-owner", *left_out, "--file", str(image), "--directory", str(root), "."])


def mirror() -> str | None:
    """Give the Debian mirror that this host's apt uses; None leaves it to debootstrap."""
    apt = Path("/etc/apt")
    for source in (
        apt / "sources.list",
        *sorted(apt.glob("sources.list.d/*.list")),
        *sorted(apt.glob("sources.list.d/*.sources")),
    ):
        text = source.read_text() if source.exists() else ""
        if found := re.search(r"^(?:deb\s|URIs:).*?(\S+://\S+/debian)/?(?=\s|$)", text, re.MULTILINE):
            return found[1]
    return None


def _checked(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise CannotMake(
            f"{' '.join(command[:3])} ...: exit code {done.returncode}: {(done.stderr or done.stdout).strip()[-2000:]}"
        )
    return done.stdout
