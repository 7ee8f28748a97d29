"""The agent as parent of the program: how it starts it, how the end is told."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.conftest import Trial
from tests.runtime.intake import Attempt, wait_until

PLAIN: dict[str, Any] = {"exit_code": None, "signal": None, "terminated": False, "killed": False, "error": None}


def outcome(attempt: Attempt) -> dict[str, Any]:
    assert attempt.eof is not None
    return {name: value for name, value in attempt.eof.items() if name not in ("next", "tail")}


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        pytest.param(["true"], {"exit_code": 0}, id="exit 0"),
        pytest.param(["sh", "-c", "exit 3"], {"exit_code": 3}, id="exit 3"),
        pytest.param(["sh", "-c", "kill -SEGV $$"], {"signal": 11}, id="killed by a signal"),
        pytest.param(["no-such-command"], {"exit_code": 127, "error": "command not found: no-such-command"}, id="not on PATH"),
        pytest.param(["./nowhere"], {"exit_code": 127, "error": "command not found: ./nowhere"}, id="no such file"),
        pytest.param(
            ["/etc/passwd"], {"exit_code": 126, "error": "not executable: /etc/passwd; chmod +x /etc/passwd"}, id="not executable"
        ),
    ],
)
def test_how_it_ended_is_in_status_and_in_eof(trial: Trial, attempt: Attempt, argv: list[str], told: dict[str, Any]) -> None:
    assert trial.run(*argv) == 0
    assert outcome(attempt) == PLAIN | told
    assert trial.status["state"] == "ended"
    assert {name: trial.status[name] for name in PLAIN} == PLAIN | told
    assert trial.status["started"] <= trial.status["ended"]


@pytest.mark.parametrize(
    ("first_line", "error"),
    [
        pytest.param(b"#!/no/such/interpreter\n", "(what its first line names does not exist)", id="no interpreter"),
        pytest.param(b"\x00\x01\x02", "(Exec format error); begin it with #!/bin/sh", id="no program at all"),
    ],
)
def test_a_file_that_cannot_run_is_named_with_the_reason(trial: Trial, attempt: Attempt, first_line: bytes, error: str) -> None:
    script = trial.folder / "script"
    script.write_bytes(first_line)
    script.chmod(0o755)
    assert trial.run("./script") == 0
    assert outcome(attempt) == PLAIN | {"exit_code": 126, "error": f"not executable: ./script {error}"}


def test_what_no_kernel_takes_is_refused_with_the_reason(trial: Trial, attempt: Attempt) -> None:
    trial.run("echo", "a\0b")
    assert outcome(attempt)["exit_code"] == 126
    assert outcome(attempt)["error"].startswith("not executable: echo (")
    assert "null" in outcome(attempt)["error"]


def test_a_folder_that_does_not_exist_is_named(trial: Trial, attempt: Attempt) -> None:
    trial.run("true", cwd="/no/such/folder")
    assert outcome(attempt) == PLAIN | {"exit_code": 126, "error": "not started: No such file or directory: /no/such/folder"}


def test_argv_and_environment_arrive_byte_for_byte(trial: Trial) -> None:
    argv = ["a b", "'\"`$HOME`\\", "line\nline", "", "*", "\udcff\udc80", "é😀", "${params.lr}", "-c"]
    env = {"PATH": os.environ["PATH"], "EMPTY": "", "ODD": "\udcfe=$PATH\n", "not a name": "x"}
    show = "import os,sys; sys.stdout.buffer.write(repr(([os.fsencode(a) for a in sys.argv[1:]], sorted(os.environb.items()))).encode())"
    assert trial.run(sys.executable, "-S", "-E", "-X", "utf8", "-c", show, *argv, env=env) == 0
    arguments, environment = eval(trial.out.read_text())  # noqa: S307 - the repr of our own program
    assert arguments == [word.encode("utf-8", "surrogateescape") for word in argv]
    expected = {name.encode(): value.encode("utf-8", "surrogateescape") for name, value in env.items()}
    assert dict(environment) | {b"LC_CTYPE": b""} == expected | {b"LC_CTYPE": b""}  # which Python itself may set


def test_the_program_inherits_nothing_of_the_agent(trial: Trial) -> None:
    show = """
import json, os, signal
fds = []
for fd in range(256):
    try:
        os.fstat(fd)
        fds.append(fd)
    except OSError:
        pass
ignored = [n for n in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD) if signal.getsignal(n) == signal.SIG_IGN]
blocked = [int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, [])]
with open('/proc/self/status') as file:
    masks = {l.split(':')[0]: int(l.split()[1], 16) for l in file if l.startswith(('SigIgn', 'SigBlk'))}
print(json.dumps([fds, os.getpid() == os.getsid(0) == os.getpgrp(), os.read(0, 1).decode(), ignored, blocked, masks['SigBlk']]))
"""
    trial.run(sys.executable, "-I", "-S", "-c", show)
    assert json.loads(trial.out.read_text()) == [[0, 1, 2], True, "", [], [], 0], trial.err.read_text()


def test_the_default_dispositions_of_signals_are_restored(trial: Trial) -> None:
    """Python ignores SIGPIPE and SIGXFSZ: a program that is not Python must not find them ignored."""
    trial.run("grep", "SigIgn", "/proc/self/status")
    ignored = int(trial.out.read_text().split()[1], 16)
    # 32 and 33 are the C library's own: nobody can set them, and whoever started us may have left them ignored.
    assert [number for number in signal.valid_signals() if ignored >> (number - 1) & 1] == []


@pytest.mark.parametrize("same", [True, False], ids=["one file", "two files"])
def test_output_is_appended_to_its_files(trial: Trial, same: bool) -> None:  # noqa: FBT001
    trial.out.write_text("before\n")
    err = trial.out if same else trial.err
    trial.run("sh", "-c", "echo out; echo err >&2; echo out", stderr=str(err))
    assert trial.out.read_text() == ("before\nout\nerr\nout\n" if same else "before\nout\nout\n")
    assert err.read_text() == ("before\nout\nerr\nout\n" if same else "err\n")


@pytest.mark.parametrize(
    ("says", "told"),
    [
        pytest.param("echo why >&2; exit 1", "why\n", id="what this attempt said"),
        pytest.param("seq 9000 >&2; exit 1", "".join(f"{i}\n" for i in range(9001))[-2048:], id="the end of it"),
        pytest.param("printf '\\377\\n' >&2; kill -9 $$", "\ufffd\n", id="no UTF-8"),
        pytest.param("echo fine >&2", None, id="nothing when it went well"),
    ],
)
def test_the_last_words_of_a_program_that_failed_are_told(trial: Trial, attempt: Attempt, says: str, told: str | None) -> None:
    trial.err.write_text("what an attempt before this one said\n")
    trial.run("sh", "-c", says)
    assert attempt.eof is not None
    assert attempt.eof.get("tail") == told
    assert trial.status.get("tail") == told


def test_output_without_a_file_goes_nowhere(trial: Trial, attempt: Attempt) -> None:
    trial.run("sh", "-c", "echo lost && echo lost >&2", stdout=None, stderr=None)
    assert outcome(attempt) == PLAIN | {"exit_code": 0}
    assert not trial.out.exists()


def test_sigterm_is_handed_on_and_said(trial: Trial, attempt: Attempt) -> None:
    trial.pod(
        "sh", "-c", "trap 'echo {} >> $KUBETUNE_REPORTS; exit 7' TERM; echo {} >> $KUBETUNE_REPORTS; while :; do sleep 0.01; done"
    )
    agent = trial.start()
    wait_until(lambda: attempt.lines)
    agent.terminate()
    assert agent.wait(timeout=20) == 0
    assert outcome(attempt) == PLAIN | {"exit_code": 7, "terminated": True}
    assert len(attempt.lines) == 2, "what it reports after SIGTERM counts too"


def test_a_program_that_ignores_sigterm_is_killed_after_the_grace(trial: Trial, attempt: Attempt) -> None:
    trial.pod("sh", "-c", "trap '' TERM; echo {} >> $KUBETUNE_REPORTS; while :; do sleep 0.01; done", grace=0.2)
    agent = trial.start()
    wait_until(lambda: attempt.lines)
    agent.terminate()
    assert agent.wait(timeout=20) == 0
    assert outcome(attempt) == PLAIN | {"signal": signal.SIGKILL, "terminated": True, "killed": True}


def test_ctrl_c_is_not_for_the_agent(trial: Trial, attempt: Attempt) -> None:
    trial.pod("sh", "-c", "echo {} >> $KUBETUNE_REPORTS; while ! test -e go; do sleep 0.01; done")
    agent = trial.start()
    wait_until(lambda: attempt.lines)
    agent.send_signal(signal.SIGINT)
    agent.send_signal(signal.SIGHUP)
    (trial.folder / "go").touch()
    assert agent.wait(timeout=20) == 0
    assert outcome(attempt) == PLAIN | {"exit_code": 0}


def test_what_the_program_leaves_running_ends_with_it(trial: Trial, attempt: Attempt) -> None:
    trial.run("sh", "-c", "sleep 600 & echo $! > left; exit 0")
    assert outcome(attempt) == PLAIN | {"exit_code": 0}
    left = int((trial.folder / "left").read_text())
    wait_until(lambda: not alive(left))


def test_sigterm_before_hello_was_answered_starts_nothing(trial: Trial, attempt: Attempt) -> None:
    attempt.troubles.extend([lambda handler: handler.answer(503, {})] * 3)
    trial.pod("sh", "-c", "echo {} >> $KUBETUNE_REPORTS")
    agent = trial.start()
    wait_until(lambda: len(attempt.troubles) < 3)
    agent.terminate()
    assert agent.wait(timeout=20) == 0
    assert outcome(attempt) == PLAIN | {"terminated": True, "error": "NotStarted"}
    assert attempt.lines == []


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


LEAVES = """
import os, sys, time
for generation in range(3):  # each its own session, each the child of one that is gone
    if os.fork():
        os._exit(0)
    os.setsid()
open("left", "w").write(str(os.getpid()))
time.sleep(600)
"""


def test_what_it_leaves_running_ends_with_it_in_whichever_session(trial: Trial, attempt: Attempt) -> None:
    waits = "import subprocess, os, time, sys\n"
    waits += f"subprocess.run([sys.executable, '-c', {LEAVES!r}])\n"
    waits += "while not os.path.exists('left'): time.sleep(0.01)\n"
    assert trial.run(sys.executable, "-c", waits) == 0
    assert outcome(attempt) == PLAIN | {"exit_code": 0}
    assert not alive(int((trial.folder / "left").read_text()))


def test_orphans_of_a_program_that_runs_on_are_buried(trial: Trial, attempt: Attempt) -> None:
    trial.pod(
        "sh", "-c", "for i in 1 2 3; do (true &); done; echo {} >> $KUBETUNE_REPORTS; while ! test -e go; do sleep 0.01; done"
    )
    agent = trial.start()
    wait_until(lambda: attempt.lines)
    wait_until(lambda: Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split() == [str(trial.status["pid"])])
    (trial.folder / "go").touch()
    assert agent.wait(timeout=20) == 0
