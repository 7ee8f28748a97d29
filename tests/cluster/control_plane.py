"""The images of the control plane as one small layer: busybox, iptables, nft, conntrack, and the programs from Go modules.

Which images kubeadm wants is asked of kubeadm; which ones the storage provisioner wants is read in kind's own source.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.cluster import archive, debian, progress, versions

COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "etcd", "kubectl")
NETWORK_TOOLS = ("usr/sbin/nft", "usr/sbin/conntrack", "usr/sbin/xtables-nft-multi")
IPTABLES = tuple(f"{name}{verb}" for name in ("iptables", "ip6tables") for verb in ("", "-save", "-restore"))
STORAGE = "pkg/build/nodeimage/const_storage.go"
STAND_IN = "localhost/kubernetes:1"  # of kindnet.yaml
SLEEP = {"Entrypoint": ["/usr/bin/tini-static", "--", "/usr/bin/busybox", "sleep", "infinity"], "User": "65535:65535"}


def archive_of(node: Path, work: Path, kind: Path, programs: Mapping[str, Path], log: Path) -> Path:
    """Write the archive of all the control plane's images, from the node's root and the programs."""
    root = work / "control-plane"
    _busybox(root, node)
    _network_tools(root, node)
    shutil.copy(programs["coredns"], root / "coredns")
    shutil.copy(programs["storage"], root / "usr/local/bin/local-path-provisioner")
    first, *others = (root / "usr/local/bin" / name for name in COMPONENTS)
    shutil.copy(programs["kubernetes"], first)
    for other in others:
        os.link(first, other)
    layer = work / "control-plane.tar"
    debian.pack(root, layer, log)
    archive.write(work / "images.tar", layer, _images(node, kind, programs), architecture=debian.architecture())
    return work / "images.tar"


def storage_manifest(kind: Path) -> str:
    """Give the manifest of kind's default storage, out of its Go source."""
    source = (kind / STORAGE).read_text()
    found = re.search(r"const defaultStorageManifest = `(.*)`\s*\Z", source, re.DOTALL)
    if not found:
        raise progress.Failed(
            f"{kind / STORAGE} has no defaultStorageManifest: kind has moved it, and control_plane.py must follow"
        )
    images = _storage_images(kind)
    return re.sub(r"` \+ (\w+) \+ `", lambda name: images[name[1]], found[1])


def _storage_images(kind: Path) -> dict[str, str]:
    return dict(re.findall(r'^const (\w+Image) = "(\S+)"', (kind / STORAGE).read_text(), re.MULTILINE))


def _images(node: Path, kind: Path, programs: Mapping[str, Path]) -> list[archive.Image]:
    command = [str(programs["kubernetes"]), "kubeadm", "config", "images", "list", "--kubernetes-version", versions.KUBERNETES]
    wanted = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    pauses = {name for name in wanted if "/pause:" in name}
    pauses |= set(re.findall(r'sandbox_image = "(\S+)"', (node / "etc/containerd/config.toml").read_text()))
    names = [name for name in wanted if "/pause:" not in name and "/coredns:" not in name]
    return [
        archive.Image([*names, *_storage_images(kind).values(), STAND_IN], {"Cmd": ["sh"]}),
        archive.Image([name for name in wanted if "/coredns:" in name], {"Entrypoint": ["/coredns"], "WorkingDir": "/"}),
        archive.Image(sorted(pauses), SLEEP),
    ]


def _busybox(root: Path, node: Path) -> None:
    for folder in ("tmp", "etc", "run", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "usr/local/bin", "var/lib"):
        (root / folder).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    for folder in ("bin", "sbin", "lib", "lib64"):
        (root / folder).symlink_to(f"usr/{folder}")
    for program in ("busybox", "tini-static"):
        shutil.copy(node / "usr/bin" / program, root / "usr/bin" / program)
    subprocess.run(["chroot", root, "/usr/bin/busybox", "--install", "-s", "/usr/bin"], check=True)
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")


def _network_tools(root: Path, node: Path) -> None:
    """Copy Debian's programs with their plugins and with every library that they load."""
    (plugins,) = node.glob("usr/lib/*/xtables")
    shutil.copytree(plugins, root / plugins.relative_to(node))
    for tool in NETWORK_TOOLS:
        shutil.copy(node / tool, root / tool)
    for name in IPTABLES:
        (root / "usr/sbin" / name).symlink_to("xtables-nft-multi")
    loaded = [f"/{tool}" for tool in NETWORK_TOOLS] + [f"/{each.relative_to(node)}" for each in plugins.glob("*.so")]
    said = subprocess.run(["chroot", node, "ldd", *loaded], capture_output=True, text=True, check=True).stdout
    for library in sorted(set(re.findall(r"(/lib\S+) \(0x", said))):
        there = root / f"usr{library}"
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(node / f"usr{library}", there)
