"""The node image where kindest/node cannot be had: Debian's packages, kind's own files, the programs built from Go modules.

It does what kind's images/base/Dockerfile does, on Debian's paths, and preloads the images of the control plane, which are
one small layer (`control_plane`), and the stock Python of the tests.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.cluster import control_plane, debian, golang, places, progress, versions
from tests.cluster.kind import Docker

PACKAGES = (
    *("systemd", "systemd-sysv", "util-linux", "mount", "kmod", "procps", "e2fsprogs", "ca-certificates", "curl", "jq"),
    *("containerd", "runc", "containernetworking-plugins", "socat", "conntrack", "iptables", "nftables", "iproute2", "ethtool"),
    *("busybox-static", "tini"),
)
UNWANTED = (  # what a container must not start, by kind's Dockerfile; and sysctls that are the whole machine's
    *("lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service", "lib/systemd/system/multi-user.target.wants/*"),
    *("lib/systemd/system/local-fs.target.wants/*", "lib/systemd/system/basic.target.wants/*", "etc/systemd/system/*.wants/*"),
    *("lib/systemd/system/sockets.target.wants/*udev*", "lib/systemd/system/sockets.target.wants/*initctl*"),
    *("usr/lib/sysctl.d/*.conf", "etc/sysctl.d/99-sysctl.conf"),
)
PLUGINS = ("bridge", "host-local", "loopback", "portmap", "ptp")
HOOK = {"path": "/kind/bin/mount-product-files.sh"}

# Starts the node's own containerd upon its root, and imports the archives: "$1" is the root, the others the archives.
PRELOAD = """
set -eu
root=$1; shift
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"; mount -t sysfs sysfs "$root/sys"; mount --rbind /dev "$root/dev"
mount -t tmpfs run "$root/run"; mount -t tmpfs tmp "$root/tmp"
chroot "$root" containerd &
daemon=$!
for try in $(seq 100); do chroot "$root" ctr version >/dev/null 2>&1 && break; sleep 0.2; done
for archive in "$@"; do
  touch "$root/run/archive"; mount --bind "$archive" "$root/run/archive"
  chroot "$root" ctr --namespace k8s.io images import /run/archive
  umount "$root/run/archive"
done
kill $daemon; wait $daemon || true
"""


def image(python: Path, docker: Docker) -> str:
    """Give the tag of the node image in this Docker; build it where that has none of the same making."""
    programs = {name: golang.program(name) for name in ("kubernetes", "coredns", "storage", "runc")}
    base = debian.bootstrapped(versions.NODE_SUITE, PACKAGES)
    own = [places.HERE / name for name in ("node.py", "control_plane.py", "archive.py", "kindnet.yaml")]
    made_of = [str(program.parent.name) for program in (*programs.values(), base, python)]
    tag = f"kubetune-node:{versions.KUBERNETES}-{places.key(*made_of, base.name, python.name, versions.KIND, *own)}"
    if docker.asked(["docker", "image", "inspect", tag])[0] != 0:
        files = golang.source("kind", "sigs.k8s.io/kind")
        with progress.step("building the node image (once, a minute or two)", "node-image") as log, places.scratch() as work:
            root = work / "root"
            debian.unpack(base, root, log)
            _lay(root, files, programs)
            images = control_plane.archive_of(root, work, files, programs, log)
            progress.run([*debian.ALONE, "sh", "-c", PRELOAD, "sh", root, images, python], log)
            _import(root, tag, docker, log)
            _forget(tag, docker)
    return tag


def _lay(root: Path, kind: Path, programs: Mapping[str, Path]) -> None:
    """Put kind's files and the programs where they belong, and switch the services on and off."""
    shutil.copytree(kind / "images/base/files", root, dirs_exist_ok=True, copy_function=shutil.copyfile)
    for folder in ("usr/local/bin", "kind/bin"):
        for script in (root / folder).iterdir():
            script.chmod(0o755)
    for pattern in UNWANTED:
        for unwanted in root.glob(pattern):
            unwanted.unlink()
    for folder in ("opt/cni/bin", "etc/cni/net.d", "etc/kubernetes/manifests", "kind/manifests"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for plugin in PLUGINS:
        (root / "opt/cni/bin" / plugin).symlink_to(f"/usr/lib/cni/{plugin}")
    _edit(root / "etc/systemd/journald.conf", "[Journal]", "[Journal]\nReadKMsg=no")
    _edit(root / "etc/systemd/system/containerd.service", "/usr/local/bin/containerd", "/usr/bin/containerd")
    shutil.copy(programs["runc"], root / "usr/local/sbin/runc")  # before /usr/sbin/runc on PATH
    shutil.copy(programs["kubernetes"], root / "usr/bin/kubelet")
    for name in ("kubeadm", "kubectl"):
        os.link(root / "usr/bin/kubelet", root / "usr/bin" / name)
    (root / "kind/version").write_text(versions.KUBERNETES)
    shutil.copy(places.HERE / "kindnet.yaml", root / "kind/manifests/default-cni.yaml")
    (root / "kind/manifests/default-storage.yaml").write_text(control_plane.storage_manifest(kind))
    for change in (["enable", "kubelet", "containerd", "undo-mount-hacks"], ["mask", "systemd-binfmt.service"]):
        subprocess.run(["chroot", root, "systemctl", *change], check=True, capture_output=True)
    _runtime_spec(root)


def _runtime_spec(root: Path) -> None:
    """Write what containerd makes every container from, with kind's hook and the host's own limits."""
    said = subprocess.run(["chroot", root, "ctr", "oci", "spec"], capture_output=True, text=True, check=True).stdout
    spec = json.loads(said)
    spec.setdefault("hooks", {}).setdefault("createContainer", []).append(HOOK)
    del spec["process"]["rlimits"]
    (root / "etc/containerd/cri-base.json").write_text(json.dumps(spec))


def _edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    if old not in text:
        raise progress.Failed(
            f"{file} has no {old!r}: Debian's or kind's file has changed, and tests/cluster/node.py must follow"
        )
    file.write_text(text.replace(old, new))


def _import(root: Path, tag: str, docker: Docker, log: Path) -> None:
    config = ["ENV container=docker", 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]']
    changes = [word for line in config for word in ("--change", line)]
    layer = root.with_name("node.tar")
    debian.pack(root, layer, log)
    docker.run(["docker", "import", *changes, str(layer), tag], log)


def _forget(tag: str, docker: Docker) -> None:
    """Remove the node images of earlier makings."""
    _, said = docker.asked(["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "kubetune-node"])
    for older in re.findall(r"^kubetune-node:\S+$", said, re.MULTILINE):
        if older != tag:
            docker.asked(["docker", "image", "rm", older])
