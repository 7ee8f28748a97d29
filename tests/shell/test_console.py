"""What stands on the screen: the words for each end, a table that fits, a picture never taller than the terminal."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from kubetune_operator import status
from kubetune_operator.console import summary, table, words
from kubetune_operator.console.progress import Progress
from kubetune_operator.core.domains import Choice, Uniform
from kubetune_operator.core.history import History
from kubetune_operator.core.plan import IGNORED_SIGTERM
from kubetune_operator.core.records import End, Outcome, Refused
from kubetune_operator.core.schedulers.asha import Asha
from kubetune_operator.core.space import Parameter, Space
from kubetune_operator.core.spec import StopExperiment
from kubetune_operator.core.standing import Phase, Trial
from kubetune_operator.core.trials import Mode, Objective
from tests.sim.world import Program, Script, World, spec, steady

SIZES = [(80, 24), (100, 30), (120, 40), (80, 12)]
LONG = "a-very-long-name-of-an-experiment-or-of-a-parameter"
PARAMETERS = [Parameter("x", Uniform(low=0.0, high=1.0)), Parameter(LONG, Choice((LONG, "short"))), *(Parameter(f"p{n}", Uniform(low=0.0, high=1.0)) for n in range(4))]  # fmt: skip


def world(program: Program = steady(), **changes: Any) -> World:  # noqa: B008 - a function, and never changed
    return World(spec(space=Space(tuple(PARAMETERS)), **changes), program)


def cut_short(trial: int, attempt: int, params: Any) -> Script:
    """Be the worse the later the trial."""
    return Script([{"accuracy": 1 - trial / 100 + step / 1000} for step in range(6)])


def ended(outcome: Outcome, reason: str, message: str = "", tail: str = "") -> Trial:
    return Trial(0, {}, phase=Phase.ENDED, outcome=outcome, reason=reason, message=message, words=tail)


@pytest.mark.parametrize(
    ("trial", "says"),
    [
        (ended(Outcome.STOPPED, "Asha"), "ASHA"),
        (ended(Outcome.SUCCEEDED, "MaxT"), "full budget"),
        (ended(Outcome.SUCCEEDED, "StopMetrics"), "stop.metrics"),
        (ended(Outcome.SUCCEEDED, "GoalReached"), "reached the goal"),
        (ended(Outcome.SUCCEEDED, "Plateau"), "plateau"),
        (ended(Outcome.CANCELLED, "Plateau", "the 10 best values"), "the experiment ended (plateau)"),
        (ended(Outcome.CANCELLED, "TimeBudget", "60 s are spent"), "the experiment ended (time budget)"),
        (ended(Outcome.FAILED, "StartDeadline", "not begun for 9 s"), "StartDeadline: not begun for 9 s"),
        (ended(Outcome.SUCCEEDED, "Done"), "reported done"),
        (ended(Outcome.SUCCEEDED, "StopMetrics", IGNORED_SIGTERM), f"stop.metrics: {IGNORED_SIGTERM}"),
        (ended(Outcome.FAILED, "ExitCode", "exit code 1", "ValueError: no"), "ExitCode: exit code 1: ValueError: no"),
        (ended(Outcome.CANCELLED, "GoalReached", "trial 3 reported 9"), "the experiment ended (reached the goal)"),
        (ended(Outcome.CANCELLED, "FailFast", IGNORED_SIGTERM), f"the experiment ended (FailFast): {IGNORED_SIGTERM}"),
        (replace(ended(Outcome.FAILED, "", "exit code 1", "no"), phase=Phase.RUNNING), "exit code 1: no"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_why_a_trial_ended(trial: Trial, says: str) -> None:
    assert words.why(trial) == says


class TestTable:
    """It fits the terminal, and the parameters make room for the rest."""

    @given(width=st.integers(20, 200), ticks=st.integers(0, 12))
    def test_no_line_is_wider_than_the_terminal(self, width: int, ticks: int) -> None:
        started = world(scheduler=Asha(max_t=4, reduction_factor=2), objective=Objective(f"{LONG}/accuracy", Mode.MAXIMIZE))
        for _ in range(ticks):
            started.turn()
            started.tick()
        drawn = table.table(started.history, started.history.trials, width)
        assert len(drawn.lines) == 1 + len(started.history.trials)
        assert max(cell_len(line.plain) for line in drawn.lines) <= width
        assert "\n" not in "".join(line.plain for line in drawn.lines)

    @pytest.mark.parametrize("width", [60, 80, 100, 120, None])
    def test_state_step_and_reason_stay_and_parameters_go(self, width: int | None) -> None:
        history = world(cut_short, scheduler=Asha(max_t=4, reduction_factor=2)).run().history
        drawn = table.table(history, history.trials, width)
        header, *rows = (line.plain for line in drawn.lines)
        titles = header.split()
        assert titles[:4] == ["trial", "state", "accuracy", "step"]
        assert titles[-1] == "why"
        assert len(titles) - 5 + drawn.hidden == len(PARAMETERS)
        assert rows[0].startswith("00000*  Succeeded")
        assert rows[0].endswith("full budget")
        assert rows[-1].endswith("ASHA")
        assert sum("*" in row for row in rows) == 1

    def test_where_nothing_bounds_it_every_cell_is_whole(self) -> None:
        failing = steady(1, End(exit_code=1, tail="ValueError: " + "words " * 20))
        history = world(failing, stop_experiment=StopExperiment(max_failed_trials=99)).run().history
        drawn = table.table(history, history.trials, None)
        assert drawn.hidden == 0
        assert "…" not in "".join(line.plain for line in drawn.lines)
        assert all(name in drawn.lines[0].plain for name in (LONG, "p0", "p3"))
        assert all(line.plain.endswith("words") for line in drawn.lines[1:])


class Screen:
    """What Progress leaves on a terminal of this size, as the text of its last frame."""

    def __init__(self, history: History, width: int, height: int) -> None:
        self.file = io.StringIO()
        console = Console(
            file=self.file, width=width, height=height, force_terminal=True, soft_wrap=True, _environ={"TERM": "xterm"}
        )
        self.progress = Progress(history, LONG, Path("results/default/exp.01234567"), console)

    def frame(self) -> list[str]:
        with self.progress:
            pass
        last = re.split(r"\x1b\[2K", self.file.getvalue())[-1]
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", last).rstrip("\n").split("\n")


class TestPicture:
    """The live table."""

    @pytest.mark.parametrize(("width", "height"), SIZES)
    @pytest.mark.parametrize("ticks", [0, 3, 20, 70])
    def test_it_fits_the_terminal_and_counts_what_it_leaves_out(self, width: int, height: int, ticks: int) -> None:
        running = world(num_samples=60, max_concurrent=4)
        for _ in range(ticks):
            running.turn()
            running.tick()
        frame = Screen(running.history, width, height).frame()
        assert len(frame) < height
        assert all(cell_len(line) <= width for line in frame)
        rows = [line for line in frame if re.match(r"\d{5}[* ]", line)]
        hidden = re.search(r"^(\d+) more", "\n".join(frame), re.MULTILINE)
        assert len(rows) + (int(hidden[1]) if hidden else 0) == len(running.history.trials)
        assert "kubetune show results/default/exp.01234567" in "".join(frame) or not hidden

    def test_the_best_and_what_runs_are_in_it_however_small(self) -> None:
        running = world(cut_short, num_samples=60, max_concurrent=3)
        for _ in range(40):
            running.turn()
            running.tick()
        frame = "\n".join(Screen(running.history, 80, 12).frame())
        assert {f"{number:05d}" for number, _ in running.history.open} <= set(re.findall(r"^\d{5}", frame, re.MULTILINE))
        assert "00000*" in frame

    def test_the_best_stands_first_and_alone(self) -> None:
        history = world(cut_short).run().history
        first, second, *_ = Screen(history, 80, 24).frame()
        assert first == "best accuracy=1.005 at training_iteration 6 · 00000"
        assert second.startswith("Completed · 6/6 trials · 0 running")
        assert Screen(world().history, 80, 24).frame()[0] == "no accuracy yet"


def lines(history: History) -> tuple[Progress, io.StringIO]:
    out = io.StringIO()
    return Progress(history, "exp", Path("exp"), Console(file=out, soft_wrap=True)), out


def test_an_event_is_a_line_however_long() -> None:
    stopped = world(cut_short, scheduler=Asha(max_t=4, reduction_factor=2)).run()
    progress, out = lines(stopped.history)
    progress.update(stopped.records)
    said = out.getvalue().splitlines()
    assert all(re.match(r" *\d+:\d\d  (started|succeeded|stopped|best) ", line) for line in said)
    assert [line for line in said if " stopped " in line and line.endswith(" at training_iteration 1  by ASHA")]
    assert [line for line in said if " succeeded " in line and line.endswith(" at training_iteration 4  full budget")]


def test_a_refused_line_is_told_once_for_each_kind_and_trial() -> None:
    history = world().run().history
    progress, out = lines(history)
    reasons = ["not JSON: 'a'", "not JSON: 'b'", "loss must be a number, got [1]", "loss must be a number, got [2]"]
    progress.refused([Refused(trial, 0, number, "", why, 0.0) for trial in (0, 1) for number, why in enumerate(reasons)])
    assert out.getvalue().splitlines() == [
        f"exp-{trial:05d}: line {number} refused: {why}"
        for trial in (0, 1)
        for number, why in ((1, "not JSON: 'a'"), (3, "loss must be a number, got [1]"))
    ]


class TestSummary:
    """The last lines."""

    def said(self, history: History) -> str:
        told: list[str] = []
        summary.summarise(history, "exp", told.append)
        return "\n".join(told)

    def test_a_criterion_is_not_a_whole_budget(self) -> None:
        whole = world(num_samples=4).run().history
        third = sorted(trial.value for trial in whole.trials)[2]
        some = world(num_samples=4, stop={"accuracy": third}).run().history
        assert "4 of 4 started: 2 had their whole budget, 2 met stop.metrics" in self.said(some)
        goal = world(num_samples=4, stop_experiment=StopExperiment(goal=0)).run().history
        reached = sum(trial.reason == "GoalReached" for trial in goal.trials)
        assert f": {reached} reached the goal" in self.said(goal)
        assert "whole budget" not in self.said(goal)
        done = world(lambda *_: Script([{"accuracy": 1, "done": True}, {"accuracy": 2}])).run().history
        assert "6 of 6 started: 6 reported done" in self.said(done)

    def test_the_best_trial_is_said_to_run_while_it_runs(self) -> None:
        running = world(steady(9), num_samples=1)
        for _ in range(5):
            running.turn()
            running.tick()
        assert re.search(
            r"best trial  exp-00000  accuracy=\S+ at training_iteration \d  \(still running\)", self.said(running.history)
        )
        running.suspend = True
        assert "(to be started anew)" in self.said(running.run().history)

    def test_a_best_trial_that_was_cut_short_or_failed_is_said_to_be(self) -> None:
        short = world(steady(4), num_samples=3, max_concurrent=1, scheduler=Asha(max_t=9, reduction_factor=2)).run().history
        cut = replace(short.trials[0], outcome=Outcome.STOPPED, complete=False)
        short.trials[:] = [cut]
        assert "(it was stopped early: no trial that was not has a value)" in self.said(short)
        short.trials[:] = [replace(cut, outcome=Outcome.CANCELLED)]
        assert "(it ended with the experiment, before its whole budget)" in self.said(short)
        failing = (
            world(steady(2, End(exit_code=1)), stop_experiment=StopExperiment(max_failed_trials=9), num_samples=1).run().history
        )
        assert "(it failed: no other trial has a value)" in self.said(failing)
        assert status.best(failing) is not None

    def test_refused_reports_are_counted(self) -> None:
        history = world().run().history
        assert "refused" not in self.said(history)
        history.trials[0] = replace(history.trials[0], refused=7)
        history.trials[1] = replace(history.trials[1], refused=1)
        assert "8 reports refused (column refused of trials.csv)" in self.said(history)
