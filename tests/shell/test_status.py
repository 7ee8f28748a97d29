"""What an experiment looks like from outside: its state in one word, what the CRD's rules read, notices, and the table of trials."""

from __future__ import annotations

from typing import Any

import pytest

from kubetune_operator import status
from kubetune_operator.core.domains import GridSearch
from kubetune_operator.core.history import History
from kubetune_operator.core.records import End, Ended, Interrupted, Outcome, Suggested
from kubetune_operator.core.space import Parameter, Space
from kubetune_operator.core.spec import Failure
from kubetune_operator.core.trials import Mode, Objective
from tests.sim.world import Script, World, spec, steady


def interrupted(world: World) -> World:
    """Tell whoever runs it to stop, and let what runs end."""
    world.suspend = True
    return world.run()


def begun(ticks: int, **changes: Any) -> World:
    """Give an experiment that has run for some seconds."""
    world = World(spec(**changes), steady())
    for _ in range(ticks):
        world.turn()
        world.tick()
    return world


class TestState:
    """One word, from the records alone."""

    @pytest.mark.parametrize("ticks", range(8), ids="after {} s".format)
    def test_interrupted_whenever_it_was_told_to_stop_and_nothing_runs(self, ticks: int) -> None:
        world = begun(ticks)
        assert status.state(world.history) == ("Running" if ticks else "Pending")
        interrupted(world)
        assert status.state(world.history) == "Interrupted"
        assert status.render(world.history, "exp")["state"] == "Interrupted"
        world.restart()
        assert status.state(world.history) == "Interrupted"

    def test_interrupted_while_a_trial_waits_after_a_disruption(self) -> None:
        world = World(spec(num_samples=1), lambda trial, attempt, params: Script([], disrupted="node lost"))
        while not world.history.waiting:
            world.turn()
            world.tick()
        assert status.state(interrupted(world).history) == "Interrupted"

    def test_interrupted_is_said_once_and_only_until_it_goes_on(self) -> None:
        world = interrupted(begun(3))
        assert world.turn() == 0
        world.suspend = False
        world.turn()
        assert status.state(world.history) == "Running"
        assert status.state(world.run().history) == "Completed"
        assert [type(one) for one in world.records].count(Interrupted) == 1

    def test_what_still_ends_is_running_and_what_has_ended_is_not_interrupted(self) -> None:
        world = begun(3)
        world.suspend = True
        world.turn()
        assert world.history.open
        assert status.state(world.history) == "Running"
        finished = begun(1, num_samples=1).run()
        assert status.state(interrupted(finished).history) == "Completed"

    def test_suspended_by_the_resource_is_another_word(self) -> None:
        world = begun(3)
        world.edit(suspend=True)
        assert status.state(interrupted(world).history) == "Suspended"
        assert not world.history.interrupted


class TestWhatTheSchemaReads:
    """The rule on numSamples reads status.gridSize and status.trials.started."""

    def test_they_are_there_before_the_first_trial(self) -> None:
        rendered = status.render(History(spec()), "exp")
        assert (rendered["gridSize"], rendered["trials"]["started"]) == (1, 0)

    def test_and_at_any_time_after_it(self) -> None:
        grid = Space((Parameter("a", GridSearch((1, 2, 3))), Parameter("b", GridSearch((1, 2)))))
        world = World(spec(space=grid, num_samples=2), lambda trial, attempt, params: Script([{"accuracy": params["a"]}]))
        started = []
        while not world.history.finished:
            world.turn()
            world.tick()
            rendered = status.render(world.history, "exp")
            assert rendered["gridSize"] == 6
            started.append(rendered["trials"]["started"])
        assert started == sorted(started)
        assert (started[0], started[-1]) == (2, 12)


class TestNotices:
    """A metric with a name of kubetune's own is overwritten in the files, and never in silence."""

    @staticmethod
    def notices(*reports: dict[str, Any]) -> list[str]:
        world = World(spec(num_samples=3), lambda trial, attempt, params: Script([{"accuracy": 1}, *reports] if trial else []))
        history = world.run().history
        found = status.notices(history, "exp")
        (finished, *_) = status.render(history, "exp")["conditions"]
        assert all(one in finished["message"] for one in found)
        return found

    @pytest.mark.parametrize(
        "name", ["timestamp", "date", "trial_id", "attempt", "number", "reason", "after_stop", "config", "done"]
    )
    def test_it_is_named_once_with_the_first_trial_and_the_remedy(self, name: str) -> None:
        (notice,) = self.notices({name: 7}, {name: 8})
        assert f"metric {name} " in notice
        assert "exp-00001" in notice
        assert f"another name, such as my_{name}" in notice

    def test_each_name_has_its_own_in_the_order_of_the_columns(self) -> None:
        assert [notice.split()[1] for notice in self.notices({"config": {"a": 1}, "number": 2}, {"date": 3})] == [
            "date",
            "number",
            "config",
        ]

    @pytest.mark.parametrize(
        "report",
        [{"done": False}, {"training_iteration": 9, "time_total_s": 1.5, "time_this_iter_s": 2}, {"val": {"number": 1}}],
        ids=["done is Ray's word for through", "what stands as the program said it", "nested"],
    )
    def test_what_is_kept_as_reported_needs_none(self, report: dict[str, Any]) -> None:
        assert self.notices(report) == []


def test_a_failed_trial_says_its_last_words_until_it_is_tried_again() -> None:
    tail = "Traceback (most recent call last):\n  File ...\nValueError: lr is too high\n\n"

    def program(trial: int, attempt: int, params: object) -> Script:
        ends = [End(exit_code=1, tail=tail), End(exit_code=2, tail="x" * 999), End(exit_code=0, tail="a warning")]
        return Script([{"accuracy": 1}], ends[min(attempt + trial, 2)])

    world = World(spec(num_samples=2, max_concurrent=1, failure=Failure(max_failures=1)), program).run()
    messages = [status.row(world.history, "exp", trial)["message"] for trial in world.history.trials]
    assert messages == ["exit code 2: " + "x" * 200, ""]
    world = World(spec(num_samples=9), lambda trial, attempt, params: Script([], End(exit_code=1, tail=tail))).run()
    assert status.row(world.history, "exp", world.history.trials[0])["message"] == "exit code 1: ValueError: lr is too high"
    assert world.history.finished
    assert world.history.finished.message == "the first 2 trials all failed alike: exit code 1: ValueError: lr is too high"


@pytest.mark.parametrize("metric", ["accuracy", "state", "reason", "step", "ended", "params/x"])
def test_the_objective_hides_no_column_of_the_table(metric: str) -> None:
    history = History(spec(objective=Objective(metric, Mode.MAXIMIZE)))
    history.apply(Suggested(0, {"x": 0.25}, 1.0))
    history.apply(Ended(0, Outcome.FAILED, "NoReports", "it never reported", 2.0))
    row = status.row(history, "exp", history.trials[0])
    assert (row["trial"], row["state"], row["reason"]) == ("exp-00000", "Failed", "NoReports")
    assert (row["step"], row["ended"], row["params/x"]) == (0, "1970-01-01T00:00:02Z", 0.25)
    assert len(row) == 13
    assert (metric if metric == "accuracy" else f"objective/{metric}") in row


class TestStalled:
    """What is said of one whose history cannot be had; `before` is the status that it has."""

    @staticmethod
    def stalled(before: dict[str, Any], reason: str = "JournalMissing", **changes: Any) -> dict[str, Any]:
        said: dict[str, Any] = {"final": False, "generation": 1, "time": 100.0} | changes
        return status.stalled(before, reason, "bring it back", **said)

    @staticmethod
    def conditions(found: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
        return {one["type"]: (one["status"], one["reason"], one["lastTransitionTime"][14:19]) for one in found["conditions"]}

    def test_one_that_ran_is_not_finished_and_keeps_what_else_it_says(self) -> None:
        suspended = {"type": "Suspended", "status": "True", "reason": "Suspended", "lastTransitionTime": "1970-01-01T00:00:50Z"}
        found = self.stalled({"conditions": [suspended], "journal": {"uid": "u"}})
        assert self.conditions(found) == {
            "Suspended": ("True", "Suspended", "00:50"),
            "Finished": ("False", "JournalMissing", "01:40"),
            "Succeeded": ("Unknown", "JournalMissing", "01:40"),
            "Stalled": ("True", "JournalMissing", "01:40"),
        }
        assert (found["state"], found["observedGeneration"]) == ("JournalMissing", 1)

    def test_once_said_it_changes_nothing(self) -> None:
        before = self.stalled({})
        assert self.stalled(before, time=200.0) == {}
        assert self.stalled(before, time=200.0, generation=2)["observedGeneration"] == 2

    def test_another_reason_is_the_same_transition(self) -> None:
        found = self.stalled(self.stalled({}), "JournalDamaged", time=200.0)
        assert self.conditions(found)["Stalled"] == ("True", "JournalDamaged", "01:40")

    def test_one_whose_spec_is_wrong_has_finished(self) -> None:
        found = self.stalled({}, "InvalidSpec", final=True)
        assert {kind: one[0] for kind, one in self.conditions(found).items()} == {
            "Finished": "True",
            "Succeeded": "False",
            "Stalled": "True",
        }
        assert found["finishTime"] == "1970-01-01T00:01:40Z"
        assert self.stalled(found, "InvalidSpec", final=True, time=200.0) == {}
        mended = self.stalled(found, "VolumeFull", time=200.0)
        assert mended["finishTime"] is None
        assert self.conditions(mended)["Finished"] == ("False", "VolumeFull", "03:20"), "it never began, and will"

    def test_one_that_has_finished_stays_so(self) -> None:
        done = status.render(begun(1, num_samples=1).run().history, "exp", generation=1) | {"journal": {"uid": "u"}}
        found = self.stalled(done)
        assert set(found) == {"conditions"}
        before, after = self.conditions(done), self.conditions(found)
        assert after.pop("Stalled") == ("True", "JournalMissing", "01:40")
        assert before.pop("Stalled")[0] == "False"
        assert after == before
        assert self.stalled(done | found, time=200.0) == {}
