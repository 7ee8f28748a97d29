"""Metrics that are misspelt, late or no numbers: what the user is told and when, and what ends an experiment for it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubetune_operator import status
from kubetune_operator.core.records import End
from kubetune_operator.core.schedulers.asha import Asha
from kubetune_operator.core.spec import Failure, StopExperiment
from tests.sim.world import Line, Script, World, spec

LATE: list[Line] = [{"loss": 3}, {"loss": 2}, {"loss": 1, "accuracy": 0.5}]  # the objective comes last


def reporting(*lines: Line, **changes: Any) -> World:
    """Give an experiment all of whose trials report these lines."""
    return World(spec(**changes), lambda trial, attempt, params: Script(lines))


def notices(world: World) -> list[str]:
    """Give the notices, after a crash as before it."""
    found = status.notices(world.history, "sim")
    world.restart()
    assert status.notices(world.history, "sim") == found
    return found


def told(world: World) -> list[str]:
    """Run to the end; give every notice that there was at any time, in order, each once."""
    found: dict[str, None] = {}
    while not world.history.finished:
        world.turn()
        found.update(dict.fromkeys(status.notices(world.history, "sim")))
        world.tick()
    return list(found)


def ended(world: World) -> tuple[str, str]:
    """Run to the end; give its reason and message."""
    finished = world.run().history.finished
    assert finished
    return finished.reason, finished.message


class TestTheExperimentEnds:
    """MetricMissing: only trials that had their whole budget show that the objective is not reported."""

    def test_and_names_what_was_seen_and_the_nearest(self) -> None:
        world = reporting({"acc": 1, "loss": 2}, num_samples=50, max_concurrent=4)
        assert ended(world) == (
            "MetricMissing",
            "4 trials had their whole budget without reporting the objective's metric accuracy; seen: acc, loss; did you mean acc?",
        )
        assert len(world.history.trials) == 4
        assert status.notices(world.history, "sim") == [], "the end says it"

    @pytest.mark.parametrize(
        ("changes", "count"),
        [
            ({"max_concurrent": 1}, "1 trial had its"),
            ({"max_concurrent": 2}, "2 trials had their"),
            ({"max_concurrent": 3, "num_samples": 1}, "1 trial had its"),
            ({"max_concurrent": 3, "num_samples": 2}, "2 trials had their"),
        ],
        ids=["one at a time", "two at once", "of one", "of two"],
    )
    def test_after_so_many(self, changes: dict[str, Any], count: str) -> None:
        reason, message = ended(reporting({"acc": 1}, {"acc": 1}, **({"num_samples": 50} | changes)))
        assert reason == "MetricMissing"
        assert message.startswith(f"{count} whole budget without reporting")

    @pytest.mark.parametrize(("limit", "count"), [(3, 3), (4, 4), (8, 8)], ids="{} at once".format)
    def test_with_no_more_attempts_than_ran_when_the_first_came_to_its_end(self, limit: int, count: int) -> None:
        program = lambda trial, attempt, params: Script([{"acc": 1}] * (1 + 3 * trial))  # noqa: E731
        world = World(spec(num_samples=50, max_concurrent=limit), program)
        assert ended(world)[0] == "MetricMissing"
        assert len(world.created) == count

    def test_with_others_in_the_place_of_those_that_failed(self) -> None:
        program = lambda trial, attempt, params: Script([{"acc": 1}] * (trial + 1), End(exit_code=trial % 2))  # noqa: E731
        world = World(spec(num_samples=50, max_concurrent=3), program)
        assert ended(world)[0] == "MetricMissing"
        assert len(world.history.without_metric) == 3
        assert len(world.created) <= 6

    @pytest.mark.parametrize("changes", [{"stop": {"training_iteration": 2}}, {}], ids=["by a criterion of stop", "done"])
    def test_also_where_trials_are_stopped_with_their_budget_spent(self, changes: dict[str, Any]) -> None:
        assert ended(reporting({"acc": 1}, {"acc": 1, "done": True}, *[{"acc": 2}] * 90, **changes))[0] == "MetricMissing"

    @pytest.mark.parametrize("value", ["abc", True], ids=["text", "truth"])
    def test_for_what_is_no_number(self, value: Any) -> None:
        reason, message = ended(reporting({"accuracy": value, "loss": 1}))
        assert reason == "MetricMissing"
        shown = {"abc": "'abc'", True: "true"}[value]
        assert message.endswith(f"accuracy; accuracy must be a number, got {shown} in trial sim-00000")

    def test_without_kubetunes_own_names(self) -> None:
        own = {"training_iteration": 1, "date": 2, "config": {"a": 1}, "time_total_s": 3.0}
        assert ended(reporting(own))[1].endswith("metric accuracy; no other was seen")

    def test_not_before_what_still_runs_has_ended_and_not_if_that_reports_it(self) -> None:
        lines: dict[int, Sequence[Line]] = {2: [{"loss": 1}] * 9 + [{"accuracy": 1}]}
        program = lambda trial, attempt, params: Script(lines.get(trial, [{"loss": 1}]))  # noqa: E731
        world = World(spec(max_concurrent=3, num_samples=9), program)
        for _ in range(8):
            world.turn()
            world.tick()
        assert len(world.history.open) >= 1
        assert ended(world) == ("Completed", "")
        assert len(world.history.trials) == 9

    def test_for_good(self) -> None:
        """No field that may be changed names another metric; one more trial would only be burnt."""
        world = reporting({"acc": 1}, max_concurrent=1, num_samples=9)
        assert ended(world)[0] == "MetricMissing"
        world.edit(max_concurrent=3, num_samples=50)
        assert world.turn() == 0
        assert len(world.created) == 1
        assert "start a new run" in status.nothing_to_do(world.history)


class TestTheExperimentGoesOn:
    """A program may report its objective last."""

    def test_when_max_concurrent_is_lowered_meanwhile(self) -> None:
        def program(trial: int, attempt: int, params: object) -> Script:
            return Script([{"loss": 1}], End(exit_code=trial)) if trial < 3 else Script(LATE)

        world = World(spec(num_samples=9, max_concurrent=3), program)
        for _ in range(2):
            world.turn()
            world.tick()
        world.suspend = True
        world.turn()
        assert (world.history.ended, len(world.history.trials)) == (3, 3)
        world.edit(max_concurrent=1)
        world.suspend = False
        assert ended(world) == ("Completed", "")

    @pytest.mark.parametrize("end", ["evicted", End(exit_code=1)], ids=["evicted", "failed and to be tried again"])
    def test_when_the_only_one_that_would_report_it_is_to_be_tried_again(self, end: Any) -> None:
        taken = end if isinstance(end, str) else ""

        def program(trial: int, attempt: int, params: object) -> Script:
            if trial < 3:
                return Script([{"loss": 1}])
            return Script(LATE) if attempt else Script(LATE[:1], End() if taken else end, disrupted=taken)

        world = World(spec(num_samples=6, max_concurrent=4, failure=Failure(max_failures=2)), program)
        assert ended(world) == ("Completed", "")

    def test_whatever_ends_first_trials_before_it(self) -> None:
        assert ended(reporting(*LATE)) == ("Completed", "")

    @pytest.mark.parametrize("ticks", range(5), ids="after {} s".format)
    def test_when_it_was_interrupted_before_it(self, ticks: int) -> None:
        world = reporting(*LATE)
        for _ in range(ticks):
            world.turn()
            world.tick()
        world.suspend = True
        assert not world.run().history.finished
        world.suspend = False
        assert ended(world) == ("Completed", "")

    @pytest.mark.parametrize("end", [End(exit_code=1), End(signal=9), "evicted"], ids=["raises", "is killed", "is evicted"])
    def test_when_its_first_attempts_end_before_it(self, end: Any) -> None:
        taken = end if isinstance(end, str) else ""

        def program(trial: int, attempt: int, params: object) -> Script:
            return Script(LATE) if attempt else Script(LATE[:1], End() if taken else end, disrupted=taken)

        world = World(spec(num_samples=3, max_concurrent=1, failure=Failure(max_failures=2)), program)
        assert ended(world) == ("Completed", "")
        assert world.outcomes() == ["Succeeded/Completed"] * 3

    def test_when_its_first_trials_fail_for_good_before_it(self) -> None:
        program = lambda trial, attempt, params: Script(LATE) if trial else Script(LATE[:1], End(exit_code=1))  # noqa: E731
        world = World(spec(num_samples=3, max_concurrent=1), program)
        assert ended(world) == ("Completed", "")
        assert world.outcomes() == ["Failed/ExitCode", "Succeeded/Completed", "Succeeded/Completed"]
        assert status.notices(world.history, "sim") == []

    @given(
        fails=st.sets(st.tuples(st.integers(0, 5), st.integers(0, 1))),
        suspensions=st.sets(st.integers(0, 30), max_size=4),
        limit=st.integers(1, 4),
    )
    @settings(max_examples=60, deadline=None)
    def test_whatever_fails_and_is_suspended_it_never_stalls(
        self, fails: set[tuple[int, int]], suspensions: set[int], limit: int
    ) -> None:
        def program(trial: int, attempt: int, params: object) -> Script:
            return Script(LATE[:2], End(exit_code=1)) if (trial, attempt) in fails else Script(LATE)

        wanted = spec(
            max_concurrent=limit,
            failure=Failure(max_failures=2),
            stop_experiment=StopExperiment(max_failed_trials=6),
            scheduler=Asha(max_t=9, time_attr="training_iteration"),
        )
        world = World(wanted, program)
        for second in range(40):
            world.suspend = second in suspensions
            with contextlib.suppress(AssertionError):
                world.run(1)
        world.suspend = False
        assert ended(world) == ("Completed", "")
        assert all(outcome.startswith("Succeeded") for outcome in world.outcomes())


class TestNotices:
    """A metric that decides something and is not reported is named at once, once, and only as long as that is true."""

    def test_the_time_of_asha(self) -> None:
        wanted = {"scheduler": Asha(time_attr="epoch")}
        world = reporting({"accuracy": 1, "loss": 2, "epochs": 1}, {"accuracy": 1}, **wanted)
        notice = (
            "no trial has reported epoch yet (scheduler.asha.timeAttr); "
            "seen: accuracy, epochs, loss, training_iteration; did you mean epochs?"
        )
        world.turn()
        assert notices(world) == []
        world.tick()
        assert notices(world) == [notice], "after the first report"
        assert told(world) == [notice], "once"
        assert notices(world) == [notice]

    @pytest.mark.parametrize(
        ("written", "meant"),
        [("los", "loss"), ("training_iterations", "training_iteration"), ("time_total", "time_total_s"), ("epoch", "")],
    )
    def test_a_threshold(self, written: str, meant: str) -> None:
        (notice,) = told(reporting({"accuracy": 1, "loss": 2}, stop={written: 100}))
        assert notice.startswith(f"no trial has reported {written} yet (stop.metrics); seen: accuracy, loss, training_iteration")
        assert notice.partition("did you mean ")[2] == (f"{meant}?" if meant else "")

    def test_the_objective_long_before_a_trial_ends(self) -> None:
        world = reporting(*[{"acc": 1}] * 50)
        for _ in range(3):
            world.turn()
            world.tick()
        assert notices(world) == ["no trial has reported accuracy yet (objective.metric); seen: acc; did you mean acc?"]

    def test_each_name_has_its_own_the_objective_first(self) -> None:
        wanted = {"scheduler": Asha(time_attr="epoch"), "stop": {"los": 1, "accuracy": 2}}
        found = told(reporting({"loss": 1}, **wanted))
        assert [notice.split()[4] for notice in found] == ["accuracy", "epoch", "los"]

    @pytest.mark.parametrize("name", ["training_iteration", "time_total_s", "time_this_iter_s", "accuracy", "val/loss"])
    def test_none_for_what_is_there(self, name: str) -> None:
        line: Line = {"accuracy": 1, "val": {"loss": 1}}
        assert told(reporting(line, stop={name: 99}, scheduler=Asha(time_attr=name))) == []

    def test_one_that_comes_later_withdraws_it(self) -> None:
        world = reporting(*LATE)
        assert len(told(world)) == 1
        assert notices(world) == []

    @pytest.mark.parametrize(
        ("wanted", "field"),
        [({"scheduler": Asha(time_attr="t")}, "scheduler.asha.timeAttr"), ({"stop": {"t": 9}}, "stop.metrics")],
    )
    def test_what_is_no_number_is_named_with_its_trial(self, wanted: dict[str, Any], field: str) -> None:
        assert told(reporting({"accuracy": 1}, {"accuracy": 1, "t": "3"}, **wanted))[-1] == (
            f"t must be a number, got '3' in trial sim-00000 ({field})"
        )

    def test_a_truth_value_is_as_good_as_a_number_for_a_threshold(self) -> None:
        assert told(reporting({"accuracy": 1, "converged": False}, stop={"converged": 1})) == []

    def test_a_trial_that_never_reports_what_others_do(self) -> None:
        program = lambda trial, attempt, params: Script([{"accuracy": 1} if trial != 2 else {"acuracy": 1}])  # noqa: E731
        assert told(World(spec(), program)) == [
            "trial sim-00002 had its whole budget and never reported accuracy (objective.metric), as others have"
        ]

    def test_however_much_was_reported_it_stays_short(self) -> None:
        (notice,) = told(
            reporting({f"{number:03}".rjust(120, "x"): 1 for number in range(255)} | {"accuracy": 1}, stop={"los": 1})
        )
        assert " and 247 more" in notice
        assert len(notice) < 2000
