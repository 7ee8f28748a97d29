"""The two programs that ship: each for its architecture, static, small, the same wherever they are built."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.runtime.launcher.conftest import LAUNCHER

ARCHITECTURES = {"amd64": 62, "arm64": 183}  # ELF's numbers for them
DYNAMIC, INTERPRETER = 2, 3


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_is_static_and_small_and_names_no_path_of_the_machine(builds: Mapping[str, Path], architecture: str) -> None:
    program = builds[architecture].read_bytes()
    assert program[:5] == b"\x7fELF\x02"
    assert struct.unpack_from("<H", program, 18)[0] == ARCHITECTURES[architecture]
    (headers,) = struct.unpack_from("<Q", program, 32)
    size, count = struct.unpack_from("<HH", program, 54)
    kinds = [struct.unpack_from("<I", program, headers + size * number)[0] for number in range(count)]
    assert not {DYNAMIC, INTERPRETER} & set(kinds)
    assert len(program) < 64 * 1024
    assert os.fsencode(Path.home()) not in program
    assert os.fsencode(LAUNCHER.parents[1]) not in program


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_another_build_elsewhere_is_the_same(builds: Mapping[str, Path], tmp_path: Path) -> None:
    tree = tmp_path / "elsewhere"
    (tree / "requirements").mkdir(parents=True)
    (tree / "requirements" / "launcher.txt").write_bytes((LAUNCHER.parents[1] / "requirements" / "launcher.txt").read_bytes())
    (tree / "trial-runtime" / "launcher").mkdir(parents=True)
    for source in [*LAUNCHER.glob("*.[ch]"), LAUNCHER / "build.py"]:
        (tree / "trial-runtime" / "launcher" / source.name).write_bytes(source.read_bytes())
    cache = tmp_path / "cache" / "kubetune"
    cache.mkdir(parents=True)
    for compiler in (Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kubetune").glob("ziglang-*"):
        (cache / compiler.name).symlink_to(compiler)  # the compiler alone: nothing that it has made
    built = tmp_path / "built"
    build = tree / "trial-runtime" / "launcher" / "build.py"
    subprocess.run([sys.executable, build, built], env=os.environ | {"XDG_CACHE_HOME": str(cache.parent)}, check=True)
    for architecture in ARCHITECTURES:
        assert (built / architecture / "kubetune-launch").read_bytes() == builds[architecture].read_bytes()


@pytest.mark.parametrize(("name", "folder"), [("amd64", "amd64"), ("arm64", "arm64"), ("x86_64", "amd64"), ("aarch64", "arm64")])
def test_one_architecture_alone(builds: Mapping[str, Path], tmp_path: Path, name: str, folder: str) -> None:
    subprocess.run([sys.executable, LAUNCHER / "build.py", tmp_path, "--arch", name], check=True)
    assert [each.name for each in tmp_path.iterdir()] == [folder]
    assert (tmp_path / folder / "kubetune-launch").read_bytes() == builds[folder].read_bytes()


def test_an_architecture_that_there_is_not_is_refused_by_name(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, LAUNCHER / "build.py", tmp_path, "--arch", "riscv64"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "invalid choice: 'riscv64' (choose from" in done.stderr
    assert list(tmp_path.iterdir()) == []
