"""What stands for python:3.13-slim where no registry can be had: Debian's own Python, under the names of the official image."""

from __future__ import annotations

from pathlib import Path

from tests.cluster import archive, debian, places, progress, versions

PACKAGES = ("python3", "python3-venv", "python3-pip", "ca-certificates", "netbase", "tzdata")
COMMANDS = {"python": "python3", "python3": "python3", "pip": "pip3", "pip3": "pip3"}  # where the official image has them


def python() -> Path:
    """Give its archive; make it where the cache has none of the same making."""
    base = debian.bootstrapped(versions.PYTHON_SUITE, PACKAGES)
    made = places.HOME / f"python-{places.key(base.name, Path(__file__), places.HERE / 'archive.py')}.tar"
    if not made.exists():
        with progress.step(f"making {versions.PYTHON_IMAGE}", "python-image") as log, places.scratch() as work:
            root = work / "root"
            debian.unpack(base, root, log)
            for name, program in COMMANDS.items():
                (root / "usr/local/bin" / name).symlink_to(f"/usr/bin/{program}")
            for refusal in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
                refusal.unlink()  # pip installs there, as it does in the official image
            debian.pack(root, work / "layer.tar", log)
            image = archive.Image([versions.PYTHON_IMAGE], {"Cmd": ["python3"]})
            archive.write(work / "image.tar", work / "layer.tar", [image], architecture=debian.architecture())
            places.forget("python-*.tar")
            (work / "image.tar").rename(made)
    return made
