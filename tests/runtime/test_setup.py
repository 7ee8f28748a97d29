"""The sidecar's first step: launcher and SDK appear whole in the pod's volume, once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kubetune.sidecar import setup


@pytest.fixture
def source(tmp_path: Path) -> Path:
    launcher = tmp_path / "launcher"
    launcher.write_text("#!/bin/sh\necho launched\n")
    launcher.chmod(0o600)
    return launcher


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    made = tmp_path / "bin"
    made.mkdir()
    return made


def test_the_launcher_can_be_run_and_the_sdk_imported(source: Path, volume: Path) -> None:
    setup.install(str(source), str(volume))
    done = subprocess.run([volume / "kubetune-launch"], capture_output=True, text=True, check=True)
    assert done.stdout == "launched\n"
    show = "import kubetune; print(kubetune.__file__, kubetune.report.__name__, kubetune.params(default={}))"
    command = [sys.executable, "-S", "-c", show]  # without site: not the one that is installed here
    done = subprocess.run(command, env={"PYTHONPATH": str(volume / "sdk")}, capture_output=True, text=True, check=True)
    assert done.stdout == f"{volume}/sdk/kubetune/__init__.py report {{}}\n"


def test_there_is_nothing_else(source: Path, volume: Path) -> None:
    setup.install(str(source), str(volume))
    assert sorted(each.name for each in volume.iterdir()) == ["kubetune-launch", "sdk"]
    assert all(each.is_file() for each in (volume / "sdk" / "kubetune").iterdir()), "the sidecar is no program's business"


def test_every_user_can_read_it_whatever_the_umask(source: Path, volume: Path) -> None:
    before = os.umask(0o077)
    try:
        setup.install(str(source), str(volume))
    finally:
        os.umask(before)
    modes = {each.stat().st_mode & 0o777 for each in volume.rglob("*") if each.is_file() and each.name != "kubetune-launch"}
    assert modes == {0o644}
    assert {each.stat().st_mode & 0o777 for each in volume.rglob("*") if each.is_dir()} == {0o755}
    assert (volume / "kubetune-launch").stat().st_mode & 0o777 == 0o755


def test_what_exists_is_not_touched(source: Path, volume: Path) -> None:
    def seen() -> dict[Path, tuple[int, int]]:
        return {each: (each.stat().st_ino, each.stat().st_ctime_ns) for each in volume.rglob("*")}

    setup.install(str(source), str(volume))
    before = seen()
    source.write_text("#!/bin/sh\necho another\n")
    setup.install(str(source), str(volume))
    assert seen() == before


def test_it_works_while_the_launcher_runs(source: Path, volume: Path) -> None:
    """A program that runs cannot be written to: "Text file busy"."""
    sleep = Path("/bin/sleep")
    setup.install(str(sleep), str(volume))
    running = subprocess.Popen([volume / "kubetune-launch", "600"])
    try:
        setup.install(str(sleep), str(volume))
    finally:
        running.kill()
        running.wait()


def test_what_a_killed_predecessor_left_is_written_over(source: Path, volume: Path) -> None:
    (volume / "kubetune-launch.new").write_text("#!/bin/")
    (volume / "sdk.new" / "kubetune").mkdir(parents=True)
    (volume / "sdk.new" / "kubetune" / "wire.py").write_text("VERS")
    setup.install(str(source), str(volume))
    assert sorted(each.name for each in volume.iterdir()) == ["kubetune-launch", "sdk"]
    assert (volume / "kubetune-launch").read_text() == source.read_text()
    assert (volume / "sdk" / "kubetune" / "wire.py").read_text() == Path(setup.__file__).parents[1].joinpath(
        "wire.py"
    ).read_text()


def test_a_launcher_that_is_not_there_is_named(volume: Path) -> None:
    with pytest.raises(FileNotFoundError, match="/no/such/launcher"):
        setup.install("/no/such/launcher", str(volume))
    assert not (volume / "kubetune-launch").exists()
