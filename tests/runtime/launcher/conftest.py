"""What the tests of the launcher share: the two builds of it, and a pod for one run."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.intake import wait_until

LAUNCHER = Path(__file__).parents[3] / "trial-runtime" / "launcher"
NATIVE = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}[platform.machine()]
PYTHON = (sys.executable, "-I", "-S", "-c")
# Leaks do not matter to a program that ends, and looking for them needs rights that not every sandbox gives.
WATCHED = {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"}
ROOT = os.geteuid() == 0
Word = str | bytes


@dataclass(frozen=True)
class Ran:
    """A run of the launcher that has ended."""

    code: int
    out: bytes
    err: bytes


class Pod:
    """The folder that launcher and sidecar share, and whatever is started on it."""

    def __init__(self, launcher: Path, folder: Path) -> None:
        self.launcher = launcher
        self.folder = folder
        self.io = folder / "io"
        self.io.mkdir()
        self._started: list[subprocess.Popen[bytes]] = []

    def drain(self) -> None:
        """Do the sidecar's part: everything is acknowledged."""
        (self.io / "drained").touch()

    def start(
        self, *argv: Word, options: Sequence[Word] = (), within: Sequence[Word] = (), **more: Any
    ) -> subprocess.Popen[bytes]:
        """Start the launcher (`within`: by this command) on a program."""
        command = [*within, str(self.launcher), "--io", str(self.io), *options, "--", *argv]
        given: dict[str, Any] = {
            "cwd": self.folder,
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        } | more
        given["env"] = more.get("env", dict(os.environ)) | WATCHED
        self._started.append(subprocess.Popen(command, **given))
        return self._started[-1]

    def run(self, *argv: Word, **more: Any) -> Ran:
        """Run a program to its end; the sidecar has nothing to do."""
        self.drain()
        return ran(self.start(*argv, **more))

    def path(self, name: str) -> Path:
        return self.folder / name

    @property
    def started(self) -> subprocess.Popen[bytes]:
        """What was started last."""
        return self._started[-1]

    @property
    def exit(self) -> dict[str, Any]:
        """What the launcher says of the end, read as README.md says."""
        found: dict[str, Any] = json.loads((self.io / "exit").read_text(encoding="utf-8", errors="replace"))
        return found

    def kept(self, stream: str) -> bytes:
        return (self.io / stream).read_bytes()

    def await_line(self, line: bytes) -> None:
        wait_until(lambda: (self.io / "stdout").exists() and line in self.kept("stdout"))

    def clean_up(self) -> None:
        for each in self._started:
            if each.poll() is None:
                each.kill()
            each.communicate(timeout=10)


def ran(process: subprocess.Popen[bytes]) -> Ran:
    """Wait for the launcher's end."""
    out, err = (each or b"" for each in process.communicate(timeout=30))
    assert not [word for word in (b"Sanitizer", b"runtime error") if word in err], err.decode(errors="replace")
    return Ran(process.returncode, out, err)


def namespaces(*kinds: str) -> list[str]:
    """Give the command that runs another in namespaces of its own; who is not root becomes it in a user namespace."""
    return [
        "unshare",
        *(() if ROOT else ("--user", "--map-root-user")),
        *(f"--{kind}" for kind in kinds),
        "--fork",
        "--kill-child",
    ]


def after(script: str, **values: object) -> list[str]:
    """Give the command that runs a shell script, with these values in capitals, and then becomes another."""
    return [
        *namespaces("mount"),
        "env",
        *(f"{name.upper()}={value}" for name, value in values.items()),
        "sh",
        "-euc",
        f'{script}\nexec "$@"',
        "sh",
    ]


def children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(each) for each in file.read().split()]


def opened(pod: Pod, folder: Path) -> Pod:
    """Give the same pod where any user can reach it: pytest's folders are their owner's alone."""
    folder.chmod(0o755)
    launcher = Path(shutil.copy2(pod.launcher, folder))
    made = Pod(launcher, folder)
    made.io.chmod(0o777)
    return made


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="session")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Every build of the launcher by the name of its folder."""
    folder = tmp_path_factory.mktemp("launcher")
    for options in ([], ["--sanitized"]):
        subprocess.run([sys.executable, LAUNCHER / "build.py", folder, *options], check=True)
    return {each.name: each / "kubetune-launch" for each in folder.iterdir()}


@pytest.fixture(params=["static", "sanitized"])
def pod(request: pytest.FixtureRequest, builds: Mapping[str, Path], tmp_path: Path) -> Iterator[Pod]:
    made = Pod(builds[NATIVE if request.param == "static" else request.param], tmp_path)
    yield made
    made.clean_up()


@pytest.fixture
def pods(builds: Mapping[str, Path], tmp_path: Path) -> Iterator[list[Pod]]:
    """Two pods of each build, for what takes its time: they may run at once."""
    made: list[Pod] = []
    for name in (NATIVE, NATIVE, "sanitized", "sanitized"):
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Pod(builds[name], folder))
    yield made
    for each in made:
        each.clean_up()


@pytest.fixture
def static(builds: Mapping[str, Path], tmp_path: Path) -> Iterator[Pod]:
    """Only what ships: it needs nothing around it."""
    made = Pod(builds[NATIVE], tmp_path)
    yield made
    made.clean_up()
