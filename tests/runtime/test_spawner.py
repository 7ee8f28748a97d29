"""The process that forks the agents of one runner: agents outlive it, it outlives no runner, and it tells what becomes of them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.conftest import AGENT, Trial
from tests.runtime.intake import Attempt, wait_until

SPAWNER = AGENT.with_name("spawner.py")
COMMAND = [sys.executable, "-I", "-S", str(SPAWNER)]


class Running:
    """A spawner for the folder in which the trial's folder is."""

    def __init__(self, run: Path) -> None:
        self.process = subprocess.Popen([*COMMAND, str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.ask_on, self.heard = self.process.stdin, self.process.stdout

    def ask(self, *requests: tuple[int, Path, bool]) -> None:
        lines = [json.dumps({"id": number, "folder": folder.name, "drain": drain}) for number, folder, drain in requests]
        self.ask_on.write("".join(f"{line}\n" for line in lines))
        self.ask_on.flush()

    def hear(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self.heard.readline())
        return said


def channels(pid: int) -> set[str]:
    """Name the pipes and sockets that a process holds open."""
    links = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            links.add(str(entry.readlink()))
    return {link for link in links if link.startswith(("pipe:", "socket:"))}


@pytest.fixture
def spawner(trial: Trial) -> Iterator[Running]:
    running = Running(trial.folder.parent)
    yield running
    running.process.kill()
    running.process.wait(timeout=20)
    running.ask_on.close()
    running.heard.close()


def test_an_agents_start_and_end_are_told(trial: Trial, attempt: Attempt, spawner: Running) -> None:
    trial.pod("sh", "-c", "echo {} >> $KUBETUNE_REPORTS")
    spawner.ask((7, trial.folder, False))
    started = spawner.hear()
    assert started.keys() == {"id", "pid"}
    assert spawner.hear() == {"id": 7, "code": 0}
    assert attempt.lines == ["{}"]
    assert (trial.folder / "claim").read_text().split() == [str(started["pid"])]


def test_requests_that_come_at_once_are_all_served_and_one_agent_runs(trial: Trial, attempt: Attempt, spawner: Running) -> None:
    trial.pod("sh", "-c", "echo {} >> $KUBETUNE_REPORTS")
    spawner.ask(*((number, trial.folder, False) for number in range(6)))
    said = [spawner.hear() for _ in range(12)]
    assert sorted(one["id"] for one in said if "pid" in one) == list(range(6))
    assert sorted(one["code"] for one in said if "code" in one) == [0, 3, 3, 3, 3, 3]
    assert attempt.lines == ["{}"]


def test_agents_outlive_the_spawner_and_the_spawner_no_runner(trial: Trial, attempt: Attempt, spawner: Running) -> None:
    trial.pod(
        "sh",
        "-c",
        "echo {} >> $KUBETUNE_REPORTS; while ! test -e go; do sleep 0.01; done; echo '{\"a\": 1}' >> $KUBETUNE_REPORTS",
    )
    spawner.ask((0, trial.folder, False))
    wait_until(lambda: attempt.lines)
    spawner.ask_on.close()
    assert spawner.process.wait(timeout=20) == 0
    spawner.heard.read()  # ends: no agent holds the spawner's end of it
    (trial.folder / "go").touch()
    wait_until(lambda: attempt.eof)
    assert attempt.lines == ["{}", '{"a": 1}']


def test_a_killed_agent_is_told_and_what_it_left_can_be_drained(trial: Trial, attempt: Attempt, spawner: Running) -> None:
    trial.pod("sh", "-c", "echo {} >> $KUBETUNE_REPORTS; exec sleep 600")
    spawner.ask((0, trial.folder, False))
    pid = spawner.hear()["pid"]
    wait_until(lambda: attempt.lines)
    os.kill(pid, 9)
    assert spawner.hear() == {"id": 0, "code": -9}
    spawner.ask((1, trial.folder, True))
    assert spawner.hear().keys() == {"id", "pid"}
    assert spawner.hear() == {"id": 1, "code": 0}
    assert attempt.eof is not None


def test_an_agent_leads_a_session_of_its_own_and_has_none_of_the_spawners_descriptors(
    trial: Trial, attempt: Attempt, spawner: Running
) -> None:
    trial.pod("sh", "-c", "echo {} >> $KUBETUNE_REPORTS; exec sleep 600")
    spawner.ask((0, trial.folder, False))
    pid = spawner.hear()["pid"]
    wait_until(lambda: attempt.lines)
    assert os.getsid(pid) == pid
    assert not channels(pid) & channels(spawner.process.pid)
    os.kill(pid, 15)
    assert spawner.hear() == {"id": 0, "code": 0}


def test_what_goes_wrong_in_an_agent_is_in_its_log(trial: Trial, spawner: Running) -> None:
    (trial.folder / "pod.json").write_text("")
    spawner.ask((0, trial.folder, False), (1, trial.folder / "nowhere", False))
    said = [spawner.hear() for _ in range(4)]
    assert {one["id"]: one["code"] for one in said if "code" in one} == {0: 2, 1: 2}
    assert "JSONDecodeError" in (trial.folder / "agent.log").read_text()


def test_an_agent_that_has_nothing_to_say_has_no_log(trial: Trial, spawner: Running) -> None:
    trial.pod("sh", "-c", "echo {} >> $KUBETUNE_REPORTS")
    spawner.ask((0, trial.folder, False))
    assert [spawner.hear() for _ in range(2)][1] == {"id": 0, "code": 0}
    assert not (trial.folder / "agent.log").exists()


def test_how_it_is_called_is_said() -> None:
    asked = subprocess.run(COMMAND, capture_output=True, text=True, check=False)
    assert (asked.returncode, asked.stderr) == (2, "usage: spawner.py RUN\n")


def test_a_runner_that_goes_without_having_read_what_it_was_told_is_no_error(trial: Trial) -> None:
    trial.pod("true")
    mine, its = socket.socketpair()
    with subprocess.Popen(
        [*COMMAND, str(trial.folder.parent)], stdin=its.fileno(), stdout=its.fileno(), stderr=subprocess.PIPE
    ) as spawner:
        its.close()
        mine.sendall(json.dumps({"id": 1, "folder": trial.folder.name, "drain": False}).encode() + b"\n")
        mine.recv(1, socket.MSG_PEEK)  # it was told, and does not read it
        mine.close()
        assert spawner.stderr is not None
        assert spawner.stderr.read() == b""
        assert spawner.wait(timeout=20) == 0
