"""Two agents on one trial, and an agent that dies: the program runs at most once, and what it reported is not lost."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.conftest import AGENT, Trial
from tests.runtime.intake import Attempt, Server, wait_until
from tests.runtime.test_program import PLAIN, alive, outcome

ONCE = "echo started >> started; echo {} >> $KUBETUNE_REPORTS; while ! test -e go; do sleep 0.01; done; echo '{\"a\": 1}' >> $KUBETUNE_REPORTS"
LOST = PLAIN | {"error": "AgentLost"}


@pytest.fixture
def running(trial: Trial, attempt: Attempt) -> subprocess.Popen[str]:
    """Give an agent whose program has reported once and waits."""
    trial.pod("sh", "-c", ONCE)
    agent = trial.start()
    wait_until(lambda: attempt.lines)
    return agent


def test_a_second_agent_starts_nothing(trial: Trial, attempt: Attempt, running: subprocess.Popen[str]) -> None:
    assert trial.start().wait(timeout=20) == 3
    assert trial.start("--drain").wait(timeout=20) == 3, "the first one lives"
    (trial.folder / "go").touch()
    assert running.wait(timeout=20) == 0
    assert trial.start().wait(timeout=20) == 3, "also when the first has ended"
    assert (trial.folder / "started").read_text() == "started\n"
    assert len(attempt.lines) == 2


def test_of_agents_started_at_once_one_runs(trial: Trial, attempt: Attempt) -> None:
    trial.pod("sh", "-c", "echo started >> started; echo {} >> $KUBETUNE_REPORTS")
    agents = [trial.start() for _ in range(6)]
    assert sorted(agent.wait(timeout=30) for agent in agents) == [0, 3, 3, 3, 3, 3]
    assert (trial.folder / "started").read_text() == "started\n"
    assert attempt.lines == ["{}"]


def test_an_agent_that_nobody_listens_to_goes_and_leaves_its_place_to_the_next(
    trial: Trial, attempt: Attempt, intake: Server
) -> None:
    trial.pod("sh", "-c", "echo started >> started; echo {} >> $KUBETUNE_REPORTS", flush=0.3)
    intake.stop()
    assert trial.start().wait(timeout=20) == 4
    assert not (trial.folder / "claim").exists()
    assert trial.status == {}, "nothing was started, so nothing has ended"
    again = Server(attempt, intake.port)
    assert trial.start().wait(timeout=20) == 0
    again.stop()
    assert (trial.folder / "started").read_text() == "started\n"
    assert attempt.lines == ["{}"]


def test_an_agent_whose_program_runs_waits_for_a_listener(trial: Trial, attempt: Attempt, intake: Server) -> None:
    trial.pod("sh", "-c", ONCE, flush=0.3)
    agent = trial.start()
    wait_until(lambda: attempt.lines)
    intake.stop()
    time.sleep(1)
    assert agent.poll() is None
    again = Server(attempt, intake.port)
    (trial.folder / "go").touch()
    assert agent.wait(timeout=20) == 0
    again.stop()
    assert len(attempt.lines) == 2


def test_the_claim_is_locked_and_names_who_holds_it(trial: Trial, running: subprocess.Popen[str]) -> None:
    with (trial.folder / "claim").open() as claim:
        assert claim.read().split() == [str(running.pid)]
        with pytest.raises(BlockingIOError, match="temporarily unavailable"):
            fcntl.flock(claim, fcntl.LOCK_SH | fcntl.LOCK_NB)
        running.kill()
        running.wait(timeout=20)
        fcntl.flock(claim, fcntl.LOCK_SH | fcntl.LOCK_NB)  # also gone: no child of the agent holds it
        cleaner = trial.start("--drain")
        time.sleep(0.05)  # whoever only looks is in nobody's way
        fcntl.flock(claim, fcntl.LOCK_UN)
        assert cleaner.wait(timeout=20) == 0
    assert (trial.folder / "claim").read_text().split() == [str(cleaner.pid)]


def test_after_a_killed_agent_its_program_is_ended_and_its_reports_are_sent(
    trial: Trial, attempt: Attempt, running: subprocess.Popen[str]
) -> None:
    program = trial.status["pid"]
    running.kill()
    running.wait(timeout=20)
    with trial.reports.open("a") as reports:
        reports.write('{"unsent": 1}\n{"torn"')
    assert alive(program)
    assert trial.start().wait(timeout=20) == 3, "it is not started again"
    assert trial.start("--drain").wait(timeout=20) == 0
    assert not alive(program)
    assert attempt.lines == ["{}", '{"unsent": 1}', '{"torn"']
    assert attempt.hellos == 2
    assert outcome(attempt) == LOST
    assert {name: trial.status[name] for name in ("state", *PLAIN)} == {"state": "ended"} | LOST


def test_a_pid_that_is_another_process_by_now_is_left_alone(
    trial: Trial, attempt: Attempt, running: subprocess.Popen[str]
) -> None:
    running.kill()
    running.wait(timeout=20)
    stranger = subprocess.Popen(["sleep", "600"], start_new_session=True)
    status = trial.status
    os.killpg(status["pid"], signal.SIGKILL)
    (trial.folder / "status.json").write_text(json.dumps(status | {"pid": stranger.pid}))
    assert trial.start("--drain").wait(timeout=20) == 0
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait(timeout=20)
    assert outcome(attempt) == LOST


@pytest.mark.parametrize(
    ("before", "told"),
    [
        pytest.param({}, LOST, id="nothing was started"),
        pytest.param(
            {"state": "ended", "pid": 1} | PLAIN | {"exit_code": 3, "terminated": True},
            PLAIN | {"exit_code": 3, "terminated": True},
            id="it had ended",
        ),
    ],
)
def test_draining_tells_the_end_that_was_seen(
    trial: Trial, attempt: Attempt, before: dict[str, Any], told: dict[str, Any]
) -> None:
    trial.pod("sh", "-c", "echo started > started")
    (trial.folder / "claim").touch()
    if before:
        (trial.folder / "status.json").write_text(json.dumps(before))
    trial.reports.write_text("{}\n")
    assert trial.start("--drain").wait(timeout=20) == 0
    assert outcome(attempt) == told
    assert attempt.lines == ["{}"]
    assert not (trial.folder / "started").exists()


def test_what_was_drained_without_ever_being_claimed_can_not_start_later(trial: Trial, attempt: Attempt) -> None:
    trial.pod("sh", "-c", "echo started > started")
    assert trial.start("--drain").wait(timeout=20) == 0
    assert trial.start().wait(timeout=20) == 3
    assert outcome(attempt) == LOST
    assert not (trial.folder / "started").exists()


def test_an_agent_killed_before_its_program_was_recorded_has_started_nothing(trial: Trial, attempt: Attempt) -> None:
    """The forked child waits for the record; when its agent is gone it ends instead. Here: no record can be written."""
    trial.pod("sh", "-c", "echo started > started")
    (trial.folder / "status.json").mkdir()
    assert trial.start().wait(timeout=20) == 0
    assert "not started" in outcome(attempt)["error"]
    assert not (trial.folder / "started").exists()


@pytest.mark.parametrize(
    ("pod", "complaint"),
    [
        pytest.param("", "JSONDecodeError", id="empty"),
        pytest.param("[]", "TypeError", id="not an object"),
        pytest.param('{"argv": ["true"]}', "KeyError: 'env'", id="no environment"),
        pytest.param(
            '{"argv": [], "env": {}, "cwd": "/", "stdout": null, "stderr": null, "grace": 1, "flush": 1, "endpoint": ""}',
            "argv",
            id="no command",
        ),
    ],
)
def test_a_folder_that_cannot_be_used_is_said(trial: Trial, pod: str, complaint: str) -> None:
    (trial.folder / "pod.json").write_text(pod)
    agent = trial.start()
    assert complaint in agent.communicate(timeout=20)[1]
    assert agent.returncode == 2


def test_how_it_is_called_is_said() -> None:
    asked = subprocess.run([sys.executable, "-I", "-S", str(AGENT)], capture_output=True, text=True, check=False)
    assert (asked.returncode, asked.stderr) == (2, "usage: agent.py FOLDER [--drain]\n")


def test_no_module_of_the_trials_folder_is_mistaken_for_one_of_ours(trial: Trial, tmp_path: Path, attempt: Attempt) -> None:
    """The agent is isolated: what lies about where it is started, or beside the package, cannot get into it."""
    (tmp_path / "json.py").write_text("raise SystemExit('not this one')")
    trial.pod("true")
    agent = subprocess.Popen([sys.executable, "-I", "-S", str(AGENT), str(trial.folder)], cwd=tmp_path)
    assert agent.wait(timeout=20) == 0
    assert attempt.eof is not None
