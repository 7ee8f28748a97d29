"""A docker-archive: images that share one layer, in the form that docker, buildah and containerd load. Nothing is built here."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Image:
    """An image by its tags, and its configuration as Docker writes it (Cmd, Entrypoint, User ...)."""

    tags: Sequence[str]
    config: Mapping[str, Any]


def write(archive: Path, layer: Path, images: Sequence[Image], *, architecture: str) -> None:
    """Write the archive of these images upon the layer, a tar."""
    with layer.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    packed = layer.with_name(layer.name + ".gz")
    with layer.open("rb") as plain, packed.open("wb") as raw, gzip.GzipFile("", "wb", 1, raw, mtime=0) as file:
        shutil.copyfileobj(plain, file, 1 << 20)
    with tarfile.open(archive, "w") as tar:
        tar.add(packed, arcname=f"{digest}.tar")
        manifest = []
        for image in images:
            content = _configuration(image, f"sha256:{digest}", architecture)
            name = f"{hashlib.sha256(content).hexdigest()}.json"
            _add(tar, name, content)
            manifest.append({"Config": name, "RepoTags": list(image.tags), "Layers": [f"{digest}.tar"]})
        _add(tar, "manifest.json", json.dumps(manifest).encode())
    packed.unlink()


def _configuration(image: Image, layer: str, architecture: str) -> bytes:
    return json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "config": {"Env": [PATH], **image.config},
            "rootfs": {"type": "layers", "diff_ids": [layer]},
            "history": [{"created_by": "tests/cluster"}],
        }
    ).encode()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
