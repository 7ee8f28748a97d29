"""The program as the launcher starts it: found on the image's PATH, argv and environment byte for byte, its end told."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.launcher.conftest import PYTHON, ROOT, Pod, opened, ran

PLAIN: dict[str, Any] = {
    "exit_code": None,
    "signal": None,
    "terminated": False,
    "oom": False,
    "error": None,
    "lost": {"stdout": 0, "stderr": 0},
}
SOMEBODY: dict[str, Any] = {"user": 65534} if ROOT else {}  # root is above modes and limits
LOADER = "the interpreter or loader that it names does not exist"


@pytest.mark.parametrize(
    ("script", "code", "told"),
    [
        pytest.param("exit 0", 0, {"exit_code": 0}, id="exit 0"),
        pytest.param("exit 3", 3, {"exit_code": 3}, id="exit 3"),
        pytest.param("exit 255", 255, {"exit_code": 255}, id="exit 255"),
        pytest.param("exit 137", 137, {"exit_code": 137}, id="exit 137, which is no signal"),
        pytest.param("kill -SEGV $$", 139, {"signal": 11}, id="SIGSEGV"),
        pytest.param("kill -KILL $$", 137, {"signal": 9}, id="SIGKILL"),
        pytest.param("kill -TERM $$", 143, {"signal": 15}, id="SIGTERM of its own"),
        pytest.param("kill -PIPE $$", 141, {"signal": 13}, id="SIGPIPE, which the launcher itself ignores"),
    ],
)
def test_the_exit_code_is_the_programs(pod: Pod, script: str, code: int, told: dict[str, Any]) -> None:
    assert pod.run("sh", "-c", script).code == code
    assert pod.exit == PLAIN | told
    assert not (pod.io / "running").exists()


@pytest.mark.parametrize(
    ("argv", "code", "error"),
    [
        pytest.param(["no-such-command"], 127, "command not found: no-such-command", id="not on PATH"),
        pytest.param(["./nowhere"], 127, "command not found: ./nowhere", id="no such file"),
        pytest.param(["/etc/passwd/x"], 127, "command not found: /etc/passwd/x", id="beneath a file"),
        pytest.param([""], 127, "command not found: ", id="no name"),
        pytest.param(["x" * 5000], 127, f"command not found: {'x' * 200}", id="longer than a path can be"),
        pytest.param(["/etc/passwd"], 126, "not executable: /etc/passwd", id="not executable"),
        pytest.param(["/etc"], 126, "not executable: /etc", id="a folder"),
        pytest.param(["./headless"], 126, "not executable: ./headless (Exec format error)", id="no program at all"),
        pytest.param(["./lost"], 126, f"not executable: ./lost ({LOADER})", id="no interpreter"),
        pytest.param(["lost"], 126, f"not executable: lost ({LOADER})", id="no interpreter, on PATH"),
        pytest.param([b'\xff"\\\n\t\x01\xc3\xa9'], 127, 'command not found: \ufffd"\\\n\t\x01é', id="every kind of byte"),
    ],
)
def test_what_cannot_be_run_is_named_with_the_reason(pod: Pod, argv: list[str | bytes], code: int, error: str) -> None:
    for name, text in {"headless": b"echo run by a shell\n", "lost": b"#!/no/such/interpreter\n"}.items():
        pod.path(name).write_bytes(text)
        pod.path(name).chmod(0o755)
    done = pod.run(*argv, env={"PATH": f"/usr/bin:{pod.folder}"})
    assert done.code == code
    assert pod.exit == PLAIN | {"exit_code": code, "error": error}
    assert done.err.decode(errors="replace") == f"kubetune-launch: {error}\n"
    assert pod.kept("stderr") == done.err, "it is the program's log too"


@pytest.mark.parametrize(
    ("name", "code", "error"),
    [
        pytest.param("./closed/it", 126, "not executable: ./closed/it", id="by its path"),
        pytest.param("it", 127, "command not found: it", id="on PATH"),
    ],
)
def test_a_folder_that_may_not_be_looked_into_is_told_apart(pod: Pod, name: str, code: int, error: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pod = opened(pod, Path(folder))
        pod.path("closed").mkdir(mode=0)
        assert pod.run(name, env={"PATH": str(pod.path("closed"))}, **SOMEBODY).code == code
        assert pod.exit["error"] == error


def test_a_process_that_cannot_be_made_is_no_hang(pod: Pod) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pod = opened(pod, Path(folder))
        done = pod.run("true", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NPROC, (0, 0)), **SOMEBODY)
        assert done.code == 126
        assert pod.exit == PLAIN | {"exit_code": 126, "error": "not started: Resource temporarily unavailable"}
        assert done.err == b"kubetune-launch: not started: Resource temporarily unavailable\n"


def test_path_is_looked_through_in_order(pod: Pod) -> None:
    """A folder and a file without the right to run it are passed over, as execvp does."""
    for folder in ("folder", "forbidden", "first", "second"):
        pod.path(folder).mkdir()
    pod.path("folder/it").mkdir()
    for folder in ("forbidden", "first", "second"):
        pod.path(f"{folder}/it").write_text(f"#!/bin/sh\necho {folder} $0\n")
        pod.path(f"{folder}/it").chmod(0o644 if folder == "forbidden" else 0o755)
    done = pod.run("it", env={"PATH": "/no/such/folder:folder:forbidden:first:second"})
    assert done.out == b"first first/it\n"


@pytest.mark.parametrize("path", ["", ":/usr/bin", "/usr/bin:", "/usr/bin::/bin"])
def test_an_empty_place_on_path_is_the_working_folder(pod: Pod, path: str) -> None:
    pod.path("it").write_text("#!/bin/sh\necho here\n")
    pod.path("it").chmod(0o755)
    assert pod.run("it", env={"PATH": path}).out == b"here\n"


def test_without_path_the_usual_folders_are_looked_through(pod: Pod) -> None:
    pod.drain()
    assert ran(pod.start("echo", "found", within=["env", "-u", "PATH"])).out == b"found\n"


def only(env: dict[bytes, bytes]) -> list[bytes]:
    """Give the command that runs another in this environment."""
    return [b"env", b"-i", *(name + b"=" + value for name, value in env.items())]


ARGV = [b"a b", b"'\"`$HOME`\\", b"line\nline", b"", b"*", b"\xff\x80", "é😀".encode(), b"$(A) $$", b"--io", b"--", b"-c", b""]
SHOW = "import os,sys; print(repr(([os.fsencode(a) for a in sys.argv[1:]], dict(os.environb))))"


def test_argv_and_environment_arrive_byte_for_byte(pod: Pod) -> None:
    env = {b"PATH": os.environb[b"PATH"], b"EMPTY": b"", b"ODD": b"\xfe=$PATH\n", b"not a name": b"x", b"LC_CTYPE": b"C.UTF-8"}
    pod.drain()
    out = ran(pod.start(*PYTHON, SHOW, *ARGV, within=only(env))).out
    arguments, environment = eval(out)  # noqa: S307 - the repr of our own program
    assert arguments == ARGV
    assert environment == env


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        pytest.param(None, b"/kubetune/bin/sdk", id="unset"),
        pytest.param(b"", b"/kubetune/bin/sdk", id="empty"),
        pytest.param(b"/app:/lib", b"/app:/lib:/kubetune/bin/sdk", id="set"),
        pytest.param(b"/app:", b"/app::/kubetune/bin/sdk", id="with an empty place, the working folder"),
        pytest.param(b"/\xff", b"/\xff:/kubetune/bin/sdk", id="no text"),
    ],
)
def test_the_sdk_is_appended_to_pythonpath(pod: Pod, before: bytes | None, expected: bytes) -> None:
    env = {b"PATH": os.environb[b"PATH"]} | ({} if before is None else {b"PYTHONPATH": before})
    pod.drain()
    out = ran(pod.start("env", "-0", options=["--sdk", "/kubetune/bin/sdk"], within=only(env))).out
    assert sorted(out.split(b"\0")[:-1]) == sorted([b"PATH=" + env[b"PATH"], b"PYTHONPATH=" + expected])


def test_the_program_inherits_no_descriptor_but_three(pod: Pod) -> None:
    show = """
import os
found = []
for number in range(256):
    try:
        os.fstat(number)
        found.append(number)
    except OSError:
        pass
print(found, os.read(0, 1))
"""
    assert pod.run(*PYTHON, show).out == b"[0, 1, 2] b''\n"


def test_the_program_finds_signals_as_they_are_by_default(pod: Pod) -> None:
    out = pod.run("grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status").out
    masks = {line.split()[0]: int(line.split()[1], 16) for line in out.splitlines()}
    # 32 and 33 are the C library's own: nobody can set them, and whoever started us may have left them ignored.
    assert {name: mask & ~(1 << 31 | 1 << 32) for name, mask in masks.items()} == {b"SigBlk:": 0, b"SigIgn:": 0}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param([], "--: must be there and be followed by the command", id="nothing"),
        pytest.param(["--io", "io"], "--: must be there and be followed by the command", id="no command"),
        pytest.param(["--io", "io", "--"], "--: must be there and be followed by the command", id="an empty command"),
        pytest.param(["--", "true"], "--io: must name the folder that is shared with the sidecar", id="no folder"),
        pytest.param(["--io"], "--io: must be followed by a value", id="no value"),
        pytest.param(["--io", "none", "--", "true"], "--io: No such file or directory, got none", id="no such folder"),
        pytest.param(
            ["--io", "io", "--flush", "1s", "--", "true"], "--flush: must be a whole number of 0 to 2^50, got 1s", id="no number"
        ),
        pytest.param(
            ["--io", "io", "--flush", "-1", "--", "true"], "--flush: must be a whole number of 0 to 2^50, got -1", id="below 0"
        ),
        pytest.param(
            ["--io", "io", "--spool-bytes", "9" * 30, "--", "true"],
            f"--spool-bytes: must be a whole number of 0 to 2^50, got {'9' * 30}",
            id="too large",
        ),
        pytest.param(
            ["--io", "io", "--logs", "all", "--", "true"], "--logs: must be both, one or none, got all", id="no such way"
        ),
        pytest.param(
            ["--oi", "io", "--", "true"],
            "options: must be --io, --sdk, --logs, --flush, --spool-bytes or --ready, then -- and the command, got --oi",
            id="no such option",
        ),
    ],
)
def test_what_it_was_told_wrongly_is_refused_with_the_rule(pod: Pod, arguments: list[str], said: str) -> None:
    done = subprocess.run([pod.launcher, *arguments], cwd=pod.folder, capture_output=True, text=True, check=False, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (125, "", f"kubetune-launch: {said}\n")
    assert list(pod.io.iterdir()) == []


@pytest.mark.parametrize("ended", [True, False], ids=["that has ended", "whose launcher was killed"])
def test_a_program_is_never_started_twice(pod: Pod, ended: bool) -> None:  # noqa: FBT001
    if ended:
        pod.run("echo", "first")
    else:
        first = pod.start("sh", "-c", "echo first; kill -KILL $PPID")
        assert first.wait(timeout=20) == -signal.SIGKILL
        assert (pod.io / "running").exists()
    before = {each.name: each.read_bytes() for each in pod.io.iterdir()}
    done = pod.run("echo", "second")
    said = b"kubetune-launch: --io: this pod's program was started before; a container that is started again runs nothing\n"
    assert (done.code, done.out, done.err) == (125, b"", said)
    assert {each.name: each.read_bytes() for each in pod.io.iterdir() if each.name in before} == before


def test_a_folder_that_cannot_be_written_is_said_before_anything_runs(pod: Pod) -> None:
    pod.io.rmdir()
    pod.io.symlink_to("/proc/self")  # where not even root can make a file
    done = ran(pod.start("echo", "ran"))
    assert (done.code, done.out) == (125, b"")
    assert done.err.startswith(b"kubetune-launch: --io: ")


def test_ready_is_the_sidecars_probe(pod: Pod) -> None:
    def probe() -> int:
        return subprocess.run([pod.launcher, "--ready", pod.path("ready")], check=False, timeout=20).returncode

    assert probe() == 1
    pod.path("ready").touch()
    assert probe() == 0


def test_what_it_leaves_can_be_read_by_the_sidecar_whatever_the_umask(pod: Pod) -> None:
    pod.run("true", umask=0o777)
    files = {each.name: stat.S_IMODE(each.stat().st_mode) for each in pod.io.iterdir() if each.name != "drained"}
    assert files == {"exit": 0o644, "stdout": 0o644, "stderr": 0o644}
