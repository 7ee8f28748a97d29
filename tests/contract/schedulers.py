"""What every scheduler keeps; the test of a scheduler inherits `SchedulerContract` and says which one it is.

Losses are made by `Objective.loss`, as they are in an experiment, so a NaN arrives as the worst of all.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubetune_operator import status
from kubetune_operator.core.records import End
from kubetune_operator.core.spec import Failure
from kubetune_operator.core.trials import Decision, Flat, Mode, Objective, Scheduler, SchedulerState, Verdict
from tests.sim.world import WELL, Script, World, refold, spec

MISSING = object()
NO_TIMES = [MISSING, None, "7", "", True, math.nan, math.inf, -math.inf, [1], {}]
NO_VALUES = [MISSING, None, "0.5", True, [0.5], {}]
TIMES = [0, -1, 1, 1.0, 2, 3, 4, 5.5, 16, 20, 64, 99.99, 100, 101, 10**400, -(10**400), 5e-324, 1e308]
VALUES = [0.0, -0.0, 0.25, 0.5, 1, 2, -3.5, math.nan, math.inf, -math.inf, 10**400, -(10**400), 1e308, 5e-324]
OBJECTIVE = Objective("score", Mode.MAXIMIZE)

# A suite that is inherited runs each of its tests on several classes, which is what this check warns of.
inherited = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.differing_executors])


@dataclass(frozen=True)
class Step:
    """A report, or (with `ends`) the end of a trial."""

    trial: int
    time: Any = MISSING
    value: Any = MISSING
    ends: bool = False

    def flat(self, time_attr: str) -> Flat:
        """Give the report as a scheduler sees it."""
        named = {time_attr: self.time, OBJECTIVE.metric: self.value}
        return {name: value for name, value in named.items() if value is not MISSING}

    @property
    def loss(self) -> float | None:
        """Give the objective's loss."""
        return OBJECTIVE.loss(None if self.value is MISSING else self.value)


def steps() -> st.SearchStrategy[list[Step]]:
    """Draw what may happen, in any order: times that go back, repeated and missing ones, reports of ended trials."""
    trials = st.integers(0, 5)
    times = st.sampled_from(TIMES) | st.sampled_from(NO_TIMES) | st.integers(0, 110)
    values = st.sampled_from(VALUES) | st.sampled_from(NO_VALUES) | st.integers(0, 9)
    report = st.builds(Step, trials, times, values)
    return st.lists(st.one_of(report, report, report, st.builds(Step, trials, ends=st.booleans())), max_size=40)


def programs(time_attr: str) -> st.SearchStrategy[dict[tuple[int, int], Script]]:
    """Draw what the attempts of an experiment's trials do; one that is not drawn ends without a word."""
    line = st.fixed_dictionaries(
        {},
        optional={
            time_attr: st.sampled_from(TIMES) | st.integers(0, 9),
            OBJECTIVE.metric: st.sampled_from(VALUES),
            "note": st.just("x"),
        },
    ).filter(bool)
    end = st.sampled_from([WELL, WELL, End(exit_code=3), End(signal=9)])
    script = st.builds(Script, st.lists(line, max_size=6), end, st.sampled_from(["", "", "evicted"]), st.booleans())
    return st.dictionaries(st.tuples(st.integers(0, 5), st.integers(0, 1)), script, min_size=6, max_size=12)


class SchedulerContract:
    """The rules of the SchedulerState protocol, as tests."""

    time_attr = "training_iteration"

    def scheduler(self) -> Scheduler:
        """Give the scheduler under test."""
        raise NotImplementedError

    def judge(self, state: SchedulerState, step: Step) -> Verdict:
        """Ask about a report."""
        return state.judge(step.trial, step.flat(self.time_attr), step.loss)

    def take(self, state: SchedulerState, step: Step) -> None:
        """Let a step happen, without asking."""
        if step.ends:
            state.ended(step.trial)
        else:
            state.observe(step.trial, step.flat(self.time_attr), step.loss)

    def probe(self, state: SchedulerState) -> list[Verdict]:
        """Ask about many reports: two states that answer all of them alike are alike."""
        trials, times, values = (0, 3, 6, 7, 8), (1, 3, 5, 30, 70, 100), (-1.0, 0.25, 1.5, 4.5, math.nan)
        return [self.judge(state, Step(trial, time, value)) for trial in trials for time in times for value in values]

    @given(steps(), st.integers())
    @inherited
    def test_judging_leaves_no_trace(self, events: list[Step], seed: int) -> None:
        """A question asked twice has one answer, and a state that was asked is like one that never was."""
        asked, silent = self.scheduler().begin(seed), self.scheduler().begin(seed)
        for step in events:
            if not step.ends:
                assert self.judge(asked, step) == self.judge(asked, step)
            self.take(asked, step)
            self.take(silent, step)
        assert self.probe(asked) == self.probe(silent)

    @given(steps(), st.integers())
    @inherited
    def test_the_same_steps_lead_to_the_same_verdicts(self, events: list[Step], seed: int) -> None:
        """What was remembered is fixed by the seed and the steps in their order: a journal can be replayed."""
        runs: list[list[Verdict]] = []
        for _ in range(2):
            state = self.scheduler().begin(seed)
            runs.append([])
            for step in events:
                runs[-1].append(self.judge(state, step))
                self.take(state, step)
        assert runs[0] == runs[1]

    @given(steps())
    @inherited
    def test_what_comes_after_the_end_of_a_trial_changes_nothing(self, events: list[Step]) -> None:
        """A pod goes on reporting until it is gone, and may be said to have ended twice."""
        strict, late = self.scheduler().begin(7), self.scheduler().begin(7)
        ended: set[int] = set()
        for step in events:
            if step.trial in ended:
                assert self.judge(late, step).decision is Decision.CONTINUE
            else:
                self.take(strict, step)
            self.take(late, step)
            if step.ends:
                ended.add(step.trial)
        assert self.probe(strict) == self.probe(late)

    @given(steps())
    @inherited
    def test_a_verdict_says_what_it_is_built_on_in_plain_values(self, events: list[Step]) -> None:
        """The facts go to the journal: names, numbers, words, null; and whoever is stopped learns the reason."""
        state = self.scheduler().begin(7)
        for step in events:
            verdict = self.judge(state, step)
            assert all(value is None or type(value) in (int, float, str, bool) for value in verdict.facts.values())
            assert json.loads(json.dumps(list(verdict.facts))) == list(verdict.facts)
            assert verdict.reason or verdict.decision is Decision.CONTINUE
            self.take(state, step)

    @given(steps())
    @inherited
    def test_peers_are_others_that_have_reported_and_as_many_as_the_facts_say(self, events: list[Step]) -> None:
        """What `explain` finds again right after a report is folded is what the verdict was built on."""
        state = self.scheduler().begin(7)
        reported: set[int] = set()
        for step in events:
            flat = step.flat(self.time_attr)
            peers, facts = state.compared_with(step.trial, flat), self.judge(state, step).facts
            assert set(peers) <= reported - {step.trial}
            assert len(peers) == facts.get("peers", len(peers))
            assert not any(math.isnan(loss) for loss in peers.values())
            self.take(state, step)
            if not step.ends:
                assert state.compared_with(step.trial, flat) == peers
                reported.add(step.trial)

    @given(steps(), st.integers(0, 5), st.sampled_from(TIMES), st.sampled_from([math.nan, math.inf, -math.inf, 10**400]))
    @inherited
    def test_what_is_not_finite_fares_no_better_than_anything_finite(
        self, events: list[Step], trial: int, time: float, worst: float
    ) -> None:
        """Where a finite value is stopped, so is one that is not."""
        state = self.scheduler().begin(7)
        for step in events:
            self.take(state, step)
        finite = {self.judge(state, Step(trial, time, value)).decision for value in VALUES if abs(value) < math.inf}
        if finite != {Decision.CONTINUE}:
            assert self.judge(state, Step(trial, time, worst)).decision is not Decision.CONTINUE

    @given(steps(), st.integers(0, 40))
    @inherited
    def test_a_trial_that_ends_in_silence_is_as_good_as_none(self, events: list[Step], when: int) -> None:
        """Its program never began, or never reported: nobody else is judged by it."""
        with_it, without = self.scheduler().begin(7), self.scheduler().begin(7)
        for place, step in enumerate(events):
            if place == when:
                with_it.ended(99)
            self.take(with_it, step)
            self.take(without, step)
        assert self.probe(with_it) == self.probe(without)

    @given(data=st.data())
    @settings(inherited, max_examples=15)
    def test_whatever_programs_do_the_experiment_ends_and_its_best_is_finite(self, data: st.DataObject) -> None:
        """No crash, no stall, never the best; and its journal, read again, leads to the same.

        Not finite and missing values, times that go back or are missing, retries, reports after a stop, no report at all.
        """
        scripts = data.draw(programs(self.time_attr))
        wanted = spec(objective=OBJECTIVE, scheduler=self.scheduler(), max_concurrent=3, failure=Failure(max_failures=1))
        world = World(wanted, lambda trial, attempt, params: scripts.get((trial, attempt), Script([]))).run()
        trials, best = world.history.trials, status.best(world.history)
        assert all(trial.outcome for trial in trials)
        worth = [trial.loss for trial in trials if trial.loss is not None and math.isfinite(trial.loss)]
        assert (best is None) == (not worth)
        assert best is None or best.loss in worth
        assert refold(wanted, world.records).trials == trials

    @pytest.mark.parametrize("time", TIMES, ids=lambda time: f"t={time:.4g}" if abs(time) < 2**1000 else "t=huge")
    def test_any_number_is_taken(self, time: float) -> None:
        """No time and no value that a program can report raises."""
        state = self.scheduler().begin(7)
        for trial, value in enumerate(VALUES):
            step = Step(trial, time, value)
            assert isinstance(self.judge(state, step), Verdict)
            self.take(state, step)

    @pytest.mark.parametrize("time", NO_TIMES, ids=lambda time: "missing" if time is MISSING else repr(time))
    def test_what_is_no_time_continues_and_leaves_no_trace(self, time: Any) -> None:
        """A report is not lost on the experiment because its time is; it just does not count."""
        self.ignored(Step(3, time, 1.0))

    @pytest.mark.parametrize("value", NO_VALUES, ids=lambda value: "missing" if value is MISSING else repr(value))
    def test_what_is_no_value_continues_and_leaves_no_trace(self, value: Any) -> None:
        """Nor because its metric is, be it at the end of the budget."""
        self.ignored(Step(3, 3, value))
        self.ignored(Step(3, 100, value))

    def ignored(self, step: Step) -> None:
        """Check that a report is as good as none."""
        told, untold = self.scheduler().begin(7), self.scheduler().begin(7)
        for trial, value in enumerate([0.0, 1.0]):
            self.take(told, Step(trial, 3, value))
            self.take(untold, Step(trial, 3, value))
        assert self.judge(told, step).decision is Decision.CONTINUE
        self.take(told, step)
        assert self.probe(told) == self.probe(untold)
