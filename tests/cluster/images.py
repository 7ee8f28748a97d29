"""The project's images from its Dockerfile, as archives that `kind.load` brings into the cluster. No registry is needed.

Where a Docker runs, it builds; elsewhere buildah does, outside the cluster's namespaces, so that it reaches what pip reaches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.cluster import debian, places, progress, stock, versions
from tests.cluster.kind import Docker

HANDED_IN = ("/etc/ssl/certs", "/etc/pip.conf")  # how this host reaches an index
IGNORED = ("__pycache__", ".pyc")


def build(dockerfile: Path, target: str, *, tag: str, inputs: Sequence[Path], docker: Docker) -> Path:
    """Give the archive of one target of a Dockerfile; build it unless one of the same inputs is in the cache.

    The Dockerfile's folder is the context, `inputs` are the files and folders in it that the image depends on.
    """
    base = None
    if docker.private:
        debian.install()  # the images come before the cluster, so on a fresh machine nobody has asked for buildah yet
        base = stock.python()
    context = dockerfile.resolve().parent
    content = [str(file.resolve().relative_to(context)).encode() + b"\0" + file.read_bytes() for file in _files(inputs)]
    made = places.HOME / f"image-{target}-{places.key(dockerfile, target, tag, str(base), *content)}.tar"
    if not made.exists():
        with progress.step(f"building {tag}", f"image-{target}") as log, places.scratch() as work:
            if base is None:
                _by_docker(dockerfile, target, tag, work / "image.tar", log)
            else:
                _by_buildah(dockerfile, target, tag, base, work / "image.tar", log)
            places.forget(f"image-{target}-*.tar")
            (work / "image.tar").rename(made)
    return made


def _by_docker(dockerfile: Path, target: str, tag: str, archive: Path, log: Path) -> None:
    progress.run(["docker", "build", "--target", target, "--tag", tag, "--file", dockerfile, dockerfile.parent], log)
    progress.run(["docker", "save", "--output", archive, tag], log)


def _by_buildah(dockerfile: Path, target: str, tag: str, base: Path, archive: Path, log: Path) -> None:
    storage = archive.with_name("storage")
    stores = ["--root", str(storage), "--runroot", str(storage / "run"), "--storage-driver", "overlay"]
    buildah = [*debian.ALONE, "buildah", *stores]
    volumes = [word for path in HANDED_IN if Path(path).exists() for word in ("--volume", f"{path}:{path}:ro")]
    progress.run([*buildah, "pull", f"docker-archive:{base}"], log)
    # The compiler of the launcher keeps every file of the C library open, and a chroot has room for 1024.
    options = ["--isolation", "chroot", "--network", "host", "--pull-never", "--layers=false", "--ulimit", "nofile=4096:4096"]
    named = ["--build-arg", f"PYTHON_IMAGE={versions.PYTHON_IMAGE}", "--target", target, "--tag", tag, "--file", str(dockerfile)]
    progress.run([*buildah, "bud", *options, *volumes, *named, str(dockerfile.parent)], log)
    progress.run([*buildah, "push", tag, f"docker-archive:{archive}:{tag}"], log)


def _files(inputs: Sequence[Path]) -> Iterator[Path]:
    for each in inputs:
        for file in sorted(each.rglob("*")) if each.is_dir() else [each]:
            if file.is_file() and not str(file).endswith(IGNORED) and IGNORED[0] not in file.parts:
                yield file
