"""The simulator: equal to a naive loop that goes from second to second, the same each time, exact in its times, and journalled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubetune_operator import api, status
from kubetune_operator.checked import spec_of
from kubetune_operator.core.records import Created, End, Outcome
from kubetune_operator.core.schedulers.asha import Asha
from kubetune_operator.core.spec import Deadlines, Failure, Spec, StopExperiment
from kubetune_operator.core.standing import Phase
from kubetune_operator.core.trials import Decision
from kubetune_operator.curves import Curve, of_values
from kubetune_operator.experiment import load
from kubetune_operator.journal import Journal
from kubetune_operator.simulation import GROUP, Setting, Simulated, simulate
from tests.contract.naive import NaiveAsha, Rules
from tests.shell.conftest import experiment
from tests.sim.world import spec

ACCURACY = "accuracy"


def curve(values: Sequence[float], seconds: float | Sequence[float] = 1, **changes: Any) -> Curve:
    return replace(of_values({}, ACCURACY, values, seconds), **changes)


@dataclass(frozen=True)
class Case:
    """A small experiment, in whole seconds."""

    curves: list[list[float]]
    seconds: list[int]
    workers: int
    start: int
    rules: Rules
    until: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw curves of all lengths, with ties and NaN, and more or fewer workers than trials."""
    trials = draw(st.integers(1, 12))
    value = st.integers(0, 5) | st.sampled_from([math.nan, -math.inf, 0.5])
    return Case(
        curves=[draw(st.lists(value, min_size=1, max_size=10)) for _ in range(trials)],
        seconds=[draw(st.integers(1, 3)) for _ in range(trials)],
        workers=draw(st.integers(1, 5)),
        start=draw(st.integers(0, 2)),
        rules=Rules(max_t=draw(st.sampled_from([4, 9])), reduction_factor=draw(st.sampled_from([2, 3]))),
        until=draw(st.integers(1, 25) | st.just(10_000)),
    )


@dataclass
class Naive:
    """The same once more: every second, look at every trial."""

    case: Case

    def __post_init__(self) -> None:
        self.began: dict[int, int] = {}
        self.reports = [0] * len(self.case.curves)
        self.ends: dict[int, str] = {}
        self.worker_seconds = 0
        self.now = 0
        self.judge = NaiveAsha(self.case.rules, lambda _trial: 0)

    def run(self) -> Naive:
        """Live through it."""
        self.start()
        while self.now < self.case.until and len(self.ends) < len(self.reports):
            self.now += 1
            self.worker_seconds += sum(trial not in self.ends for trial in self.began)
            for trial in range(len(self.reports)):
                if trial in self.began and trial not in self.ends:
                    self.look(trial)
            self.start()
        return self

    def start(self) -> None:
        """Begin trials while there are workers."""
        while len(self.began) < len(self.reports) and len(self.began) - len(self.ends) < self.case.workers:
            self.began[len(self.began)] = self.now

    def look(self, trial: int) -> None:
        """Let a trial report, if it is time."""
        done = self.reports[trial]
        if self.now != self.began[trial] + self.case.start + self.case.seconds[trial] * (done + 1):
            return
        self.reports[trial] = done + 1
        flat = {"t": done + 1, "value": self.case.curves[trial][done]}
        verdict = self.judge.judge(trial, flat, None)
        self.judge.observe(trial, flat, None)
        if verdict.decision is Decision.STOP:
            self.ends[trial] = "Succeeded" if verdict.complete else "Stopped"
        elif done + 1 == len(self.case.curves[trial]):
            self.ends[trial] = "Succeeded"


@given(cases())
@settings(max_examples=100, deadline=None)
def test_it_goes_as_a_naive_loop_from_second_to_second(case: Case) -> None:
    """Reports, ends, time and worker time are those of a second implementation that shares no code with it."""
    asha = Asha(max_t=case.rules.max_t, reduction_factor=case.rules.reduction_factor)
    curves = [curve(values, seconds) for values, seconds in zip(case.curves, case.seconds, strict=True)]
    wanted = spec(scheduler=asha, max_concurrent=case.workers)
    found = simulate(wanted, curves, Setting(start_seconds=case.start, until=case.until))
    naive = Naive(case).run()
    reports = [trial.reports for trial in found.history.trials]
    assert reports + [0] * (len(case.curves) - len(reports)) == naive.reports
    ends = {trial.number: trial.outcome.value for trial in found.history.trials if trial.outcome}
    assert ends == naive.ends
    assert (found.seconds, found.worker_seconds) == (naive.now, naive.worker_seconds)


def ends(found: Simulated) -> list[str]:
    return [trial.outcome.value if trial.outcome else trial.phase.value for trial in found.history.trials]


@pytest.mark.parametrize(
    ("setting", "seconds", "worker_seconds", "reports"),
    [
        pytest.param(Setting(), 12, 24, [3, 3, 3, 3], id="to the end"),
        pytest.param(Setting(start_seconds=5), 22, 44, [3, 3, 3, 3], id="each start costs"),
        pytest.param(Setting(until=7), 7, 14, [3, 3, 0, 0], id="until a time: what is due then is made"),
        pytest.param(Setting(until=8), 8, 16, [3, 3, 1, 1], id="until a time"),
        pytest.param(Setting(budget=16), 8, 16, [3, 3, 1, 1], id="for so many worker seconds"),
        pytest.param(Setting(budget=15), 7.5, 15, [3, 3, 0, 0], id="a budget may end between reports"),
        pytest.param(Setting(budget=0), 0, 0, [0, 0], id="for nothing"),
    ],
)
def test_time_and_worker_time_are_exact(setting: Setting, seconds: float, worker_seconds: float, reports: list[int]) -> None:
    """Four trials of three reports, two seconds each, on two workers."""
    found = simulate(spec(max_concurrent=2), [curve([1, 2, 3], 2)] * 4, setting)
    assert (found.seconds, found.worker_seconds) == (seconds, worker_seconds)
    assert [trial.reports for trial in found.history.trials] == reports
    assert (found.history.finished is None) == (0 in reports or 1 in reports)


def test_a_limit_is_not_missed_for_the_rounding_of_a_sum() -> None:
    """0.1 added up three times is more than 0.3."""
    for setting in (Setting(until=0.3), Setting(budget=0.3)):
        assert simulate(spec(), [curve([1, 2, 3], 0.1)], setting).history.trials[0].reports == 3


def test_a_program_may_end_later_than_it_reports_and_fail() -> None:
    """A failed one is tried again as often as the experiment says, on the same curve."""
    fails = curve([1, 2], 1, closing=3, end=End(exit_code=1))
    found = simulate(spec(max_concurrent=1, failure=Failure(max_failures=1)), [fails, curve([5])])
    failed, other = found.history.trials
    assert (failed.outcome, failed.attempts, failed.reports, failed.ended) == (Outcome.FAILED, 2, 4, 10)
    assert (other.outcome, other.ended) == (Outcome.SUCCEEDED, 11)


def test_a_goal_ends_it_all_and_nothing_reports_after_a_stop() -> None:
    """Whoever runs then is cancelled at that instant; a report due at once after a stop is not made."""
    wanted = spec(max_concurrent=2, stop_experiment=StopExperiment(goal=3))
    found = simulate(wanted, [curve([1, 3, 9], [2, 2, 0]), curve([1] * 9, 1), curve([1])])
    assert ends(found) == ["Succeeded", "Cancelled"]
    assert (found.seconds, [trial.reports for trial in found.history.trials]) == (4, [2, 4])
    assert found.history.finished
    assert found.history.finished.reason == "GoalReached"


def test_who_would_have_gone_on_past_the_end_of_a_cut_curve_is_named() -> None:
    """One that is stopped at the last report that is known asks for no more."""
    wanted = spec(max_concurrent=1, scheduler=Asha(max_t=9, grace_period=2, reduction_factor=3))
    cut = [curve([9, 9, 9], cut=True), curve([1, 1], cut=True), curve([8, 8, 8]), curve([], cut=True), curve([7], cut=True)]
    assert simulate(wanted, cut).past_end == (0, 3, 4)


def test_what_is_best_is_what_the_status_says() -> None:
    """Trials with a whole budget come before those that were cut short; NaN is never best; of nothing nothing is best."""
    wanted = spec(scheduler=Asha(max_t=2, reduction_factor=2), max_concurrent=1)
    found = simulate(wanted, [curve([5, math.nan]), curve([6, 1]), curve([5.2, 9])])
    assert found.best is status.best(found.history)
    assert found.best
    assert found.best.number == 1
    assert simulate(wanted, [curve([math.nan])]).best is None
    assert simulate(wanted, []).best is None


def journalled(folder: Path, wanted: Spec, curves: Sequence[Curve], created: Created) -> Simulated:
    folder.mkdir()
    journal, _ = Journal.open(folder)
    try:
        return simulate(wanted, curves, Setting(created=created), journal=journal)
    finally:
        journal.close()


def test_the_same_twice_is_the_same_to_the_byte_and_the_journal_is_that_of_an_experiment(tmp_path: Path) -> None:
    """What `show` and `explain` would read from it is what has been simulated."""
    body = experiment(["python"], scheduler={"asha": {"maxT": 9, "reductionFactor": 3, "brackets": 2}}, maxConcurrentTrials=7)
    parsed = api.parse(body)
    created = Created(parsed.name, parsed.namespace, "uid", parsed.body, 1000.0)
    curves = [curve([(trial * step) % 11 for step in range(9)], 1 + trial % 5) for trial in range(300)]
    first, second = (journalled(tmp_path / name, parsed.spec, curves, created) for name in ("first", "second"))
    files = [(tmp_path / name / "journal.1.jsonl").read_bytes() for name in ("first", "second")]
    assert files[0] == files[1]
    assert files[0].count(b"\n") > GROUP
    assert first.seconds == second.seconds
    read = load(tmp_path / "first", spec_of).history
    assert read.trials == first.history.trials == second.history.trials
    assert read.finished == first.history.finished
    assert {trial.phase for trial in read.trials} == {Phase.ENDED}
    assert len({trial.outcome for trial in read.trials}) == 2


def test_it_can_be_watched() -> None:
    """A bar for thousands of trials moves; the last call need not be at the end."""
    seen: list[int] = []
    simulate(spec(), [curve([1])] * 1000, watch=lambda history: seen.append(history.ended))
    assert len(seen) > 3
    assert seen == sorted(seen)


def test_a_time_budget_ends_it_on_the_virtual_clock() -> None:
    """The clock begins at 0, which is a time like any other."""
    made = simulate(
        spec(max_concurrent=2, stop_experiment=StopExperiment(time_budget=25)),
        [curve([1, 2, 3, 4], 5)] * 9,
        Setting(start_seconds=3),
    )
    assert made.history.finished is not None
    assert (made.history.finished.reason, made.seconds) == ("TimeBudget", 25)
    assert [trial.reports for trial in made.history.trials] == [4, 4, 0, 0]


def test_deadlines_are_kept_on_the_virtual_clock() -> None:
    """A program begins when its start is over; the second one is silent for too long."""
    limits = Deadlines(start=5, progress=10)
    made = simulate(spec(deadlines=limits), [curve([1, 2], 9), curve([1, 2], [9, 11])], Setting(start_seconds=8))
    assert [(trial.outcome, trial.reason, trial.ended) for trial in made.history.trials] == [
        (Outcome.SUCCEEDED, "Completed", 26),
        (Outcome.FAILED, "ProgressDeadline", 27),
    ]
