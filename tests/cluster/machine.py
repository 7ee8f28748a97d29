"""The machine as it was before: what kubelets set in it machine-wide, noted and put back; and what differs afterwards."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import places

NOTE = places.HOME / "sysctls.json"  # outlives a cluster that ended badly, so that the next `down` can put things back
SYSCTLS = Path("/proc/sys")
CGROUPS = Path("/sys/fs/cgroup")
CGROUP = f"kubetune-{places.key(str(places.HOME))}"  # the parent of all containers of the private Docker of this cache
BOOT = Path("/proc/sys/kernel/random/boot_id")

# What a kubelet and kube-proxy set, and the systemd of a node (fs): the kernel has one of each for all.
SET_BY_NODES = (
    *("fs/file-max", "fs/nr_open"),
    *("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops"),
    *("kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes", "net/netfilter/nf_conntrack_max", "net/ipv4/ip_forward"),
)
# What changes by itself.
RESTLESS = (
    *("fs/aio-nr", "fs/dentry-state", "fs/file-nr", "fs/inode-nr", "fs/inode-state", "fs/quota/", "kernel/ns_last_pid"),
    *("kernel/perf_event_max_sample_rate", "kernel/pty/nr", "kernel/random/", "net/netfilter/nf_conntrack_count"),
)
# The names by which what Docker and Kubernetes leave is known.
TRACE = re.compile(r"docker|containerd|runc|kube|kind|cni|netns|xtables")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a cluster could leave behind on the machine, and what it could change."""

    mounts: frozenset[str]  # such as Docker and Kubernetes make
    traces: frozenset[str]  # control groups, and what is in /run, of such names
    interfaces: frozenset[str]
    sysctls: Mapping[str, str]


def snapshot() -> Snapshot:
    """Look at the machine. Where it is no Linux, Docker runs in another one, and there is nothing to see."""
    if not BOOT.exists():
        return Snapshot(frozenset(), frozenset(), frozenset(), {})
    mounts = (line.split(" ", 2)[2] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return Snapshot(
        frozenset(mount for mount in mounts if str(places.HOME) in mount or TRACE.search(mount)),
        frozenset(path for path in _names(CGROUPS, Path("/run")) if TRACE.search(path)),
        frozenset(path.name for path in Path("/sys/class/net").glob("*")),
        {name: value for name, value in _sysctls() if not name.startswith(RESTLESS)},
    )


def left_behind(before: Snapshot, after: Snapshot) -> list[str]:
    """Give each thing that is there now and was not, and each setting that is another now. Others may be at work meanwhile."""
    found = []
    for field in ("mounts", "traces", "interfaces"):
        found += [f"{field}: {each}" for each in sorted(getattr(after, field) - getattr(before, field))]
    both = before.sysctls.keys() & after.sysctls.keys()  # a kernel module that Docker loads brings new ones, and stays
    for name in sorted(both):
        if before.sysctls[name] != after.sysctls[name]:
            found.append(f"sysctl {name} was {before.sysctls[name]}, is {after.sysctls[name]}")
    return found


def note() -> None:
    """Write down what the nodes are going to set, unless an earlier note of this boot is still there: that one is truer."""
    if BOOT.exists() and _noted() is None:
        values = {name: (SYSCTLS / name).read_text().strip() for name in SET_BY_NODES if (SYSCTLS / name).exists()}
        NOTE.parent.mkdir(parents=True, exist_ok=True)
        new = NOTE.with_suffix(".new")
        new.write_text(json.dumps({"boot": BOOT.read_text(), "values": values}))
        new.replace(NOTE)


def put_back() -> list[str]:
    """Set what was noted again; give what could not be set."""
    failed = []
    for name, value in (_noted() or {}).items():
        try:
            if (SYSCTLS / name).read_text().strip() != value:
                (SYSCTLS / name).write_text(value)
        except OSError as error:
            failed.append(f"{name} was {value}: {error}")
    NOTE.unlink(missing_ok=True)
    return failed


def _noted() -> dict[str, str] | None:
    if not NOTE.exists():
        return None
    noted = json.loads(NOTE.read_text())
    values: dict[str, str] = noted["values"]
    return values if noted["boot"] == BOOT.read_text() else None


def _names(*folders: Path) -> Iterator[str]:
    for folder in folders:
        for pattern in ("*", "*/*"):
            yield from map(str, folder.glob(pattern))


def _sysctls() -> Iterator[tuple[str, str]]:
    for folder, _, files in os.walk(SYSCTLS):
        for file in files:
            path = Path(folder, file)
            try:
                yield str(path.relative_to(SYSCTLS)), path.read_text().strip()
            except OSError:
                continue  # some can only be written


def remove_cgroups() -> list[str]:
    """Remove the groups of the private Docker, which its containers have left empty; give what could not be removed."""
    left = []
    for top in (*CGROUPS.glob(CGROUP), *CGROUPS.glob(f"*/{CGROUP}")):
        for folder, _, _ in os.walk(top, topdown=False):
            try:
                Path(folder).rmdir()
            except OSError as error:
                left.append(f"{folder}: {error}")
    return left
