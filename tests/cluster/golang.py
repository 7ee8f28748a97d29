"""The programs that are built from Go modules: Kubernetes as one, CoreDNS, the storage provisioner, kind, and a front for runc.

Each has its folder in go/, with its dependencies pinned. Go itself, and the module cache, are those of tests/crdcheck.
"""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from tests.cluster import places, progress, versions
from tests.crdcheck import checker

FOLDERS = places.HERE / "go"
VERSION = "k8s.io/component-base/version"
MAJOR, MINOR, _ = versions.KUBERNETES.removeprefix("v").split(".")
STAMP = f"-X {VERSION}.gitVersion={versions.KUBERNETES} -X {VERSION}.gitMajor={MAJOR} -X {VERSION}.gitMinor={MINOR}"

# Each by its folder in go/: the package that is built, and what the linker writes into it.
PROGRAMS = {
    "kind": ("sigs.k8s.io/kind", ""),
    "runc": (".", ""),
    "coredns": (".", ""),
    "storage": ("github.com/rancher/local-path-provisioner", ""),
    "kubernetes": (".", STAMP),
}


def program(name: str) -> Path:
    """Give the program of go/<name>; build it where the cache has none of the same making."""
    package, stamp = PROGRAMS[name]
    folder = FOLDERS / name
    sources = [each for pattern in ("*.go", "go.mod", "go.sum") for each in sorted(folder.glob(pattern))]
    built = places.HOME / f"go-{name}-{places.key(package, stamp, platform.machine(), *sources)}" / name
    if not built.exists():
        patience = " (once, 7 to 12 minutes on two cores)" if name == "kubernetes" else ""
        with progress.step(f"building {name} from Go modules{patience}", f"go-{name}") as log, places.scratch() as work:
            command: progress.Words = [
                checker.go(),
                "build",
                "-v",
                "-trimpath",
                "-buildvcs=false",
                f"-ldflags=-s -w {stamp}",
                "-o",
                work / name,
                package,
            ]
            remedy = "look whether Go reaches its module proxy from here (`go env GOPROXY`)"
            progress.run(command, log, env=checker.environment(), cwd=folder, remedy=remedy)
            places.forget(f"go-{name}-*")
            built.parent.mkdir()
            (work / name).rename(built)
    return built


def source(name: str, module: str) -> Path:
    """Give the folder of a module's source, downloaded as go/<name> pins it."""
    with progress.step(f"fetching the source of {module}", f"source-{name}") as log:
        remedy = "look whether Go reaches its module proxy from here (`go env GOPROXY`)"
        progress.run([checker.go(), "mod", "download", module], log, env=checker.environment(), cwd=FOLDERS / name, remedy=remedy)
        command = [checker.go(), "list", "-m", "-f", "{{.Dir}}", module]
        done = subprocess.run(
            command, env={**os.environ, **checker.environment()}, cwd=FOLDERS / name, capture_output=True, text=True, check=True
        )
    return Path(done.stdout.strip())
