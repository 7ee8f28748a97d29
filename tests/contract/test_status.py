"""The status of every state that the simulation comes through is one that the API server takes as it is, and replays as it was."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kubetune_operator import status
from kubetune_operator.core.domains import Choice, GridSearch
from kubetune_operator.core.history import History
from kubetune_operator.core.records import End
from kubetune_operator.core.schedulers.asha import Asha
from kubetune_operator.core.space import Parameter, Space
from kubetune_operator.core.spec import Failure, StopExperiment
from kubetune_operator.core.trials import Mode, Objective, Params
from tests.crdcheck import checker
from tests.shell.experiments import VALID
from tests.sim.world import Program, Script, World, spec, steady

LARGE = 12345 * 10**300
ODD = {
    "accuracy": LARGE,
    "text": "x" * 500,
    "nan": float("nan"),
    "yes": True,
    "huge": 10**4000,
    **{f"m{number}": number for number in range(200)},
}
SPACE = Space((Parameter("a.b", GridSearch((1, "b", None))), Parameter("c", Choice(({"d": [1, None]}, 0.5)))))


def failing(trial: int, attempt: int, params: object) -> Script:
    """Fail each second trial."""
    return Script([{"accuracy": trial}], End(exit_code=trial % 2 * trial))


RUNS: dict[str, Callable[[], World]] = {
    "completed": lambda: World(spec(), steady()),
    "asha": lambda: World(spec(num_samples=9, scheduler=Asha(max_t=4, reduction_factor=2)), steady(6)),
    "goal": lambda: World(spec(stop_experiment=StopExperiment(goal=0.0)), steady()),
    "failed": lambda: World(spec(num_samples=9, stop_experiment=StopExperiment(max_failed_trials=1)), failing),
    "failed alike": lambda: World(spec(), lambda *_: Script([], End(error="no such file", exit_code=127))),
    "fail fast": lambda: World(spec(failure=Failure(fail_fast=True)), failing),
    "metric missing": lambda: World(spec(stop={f"m{n}" * 60: n for n in range(64)}), lambda *_: Script([{"acc": 1}])),
    "disrupted": lambda: World(spec(num_samples=2), lambda *one: Script([{"accuracy": 1}], disrupted="" if one[1] else "gone")),
    "odd values": lambda: World(spec(space=SPACE, num_samples=4), lambda *_: Script([ODD])),
    "not finite": lambda: World(spec(objective=Objective("l", Mode.MINIMIZE)), lambda *_: Script([{"l": float("inf")}])),
    "large steps": lambda: World(spec(), lambda *_: Script([{"accuracy": 1, "training_iteration": LARGE}])),
}
EDITS: dict[str, list[dict[str, Any]]] = {
    "completed": [{"num_samples": 8}, {"suspend": True}, {"suspend": False}],
    "failed": [{"stop_experiment": StopExperiment(max_failed_trials=9)}, {"num_samples": 12}],
    "goal": [{"stop_experiment": StopExperiment()}, {"num_samples": 7}],
}


def states(name: str) -> Iterator[World]:
    """Run to the end, and on after each edit; give the world after every turn."""
    world = RUNS[name]()
    yield world
    for edit in [{}, *EDITS.get(name, [])]:
        if edit:
            world.now += 1
            world.edit(**edit)
            yield world
        for _ in range(100):
            world.turn()
            yield world
            if world.history.finished:
                break
            world.tick()


def rendered(world: World) -> dict[str, Any]:
    """Give the status as it goes over the wire."""
    made: dict[str, Any] = json.loads(json.dumps(status.render(world.history, "digits", generation=3), allow_nan=False))
    return made


@pytest.mark.parametrize("name", RUNS)
def test_the_api_server_takes_it_and_leaves_nothing_out(name: str) -> None:
    found = [rendered(world) for world in states(name)]
    objects = [copy.deepcopy(VALID) | {"status": one} for one in found]
    for one, answer in zip(found, checker.judge(objects), strict=True):
        assert (answer.errors, answer.unknown) == ((), ())
        assert answer.stored["status"] == one


@pytest.mark.parametrize("name", RUNS)
def test_a_replay_renders_the_same(name: str) -> None:
    for world in states(name):
        before = rendered(world)
        world.restart()
        assert rendered(world) == before


@pytest.mark.parametrize("name", RUNS)
def test_a_condition_has_another_time_exactly_when_it_flips(name: str) -> None:
    """And at that time, to the second: never the time at which somebody looked."""
    before: dict[str, dict[str, Any]] = {}
    for world in states(name):
        conditions = {one["type"]: one for one in rendered(world)["conditions"]}
        assert set(conditions) == {"Finished", "Succeeded", "Suspended", "Stalled"}
        assert {one["observedGeneration"] for one in conditions.values()} == {3}
        for kind, one in conditions.items():
            same = kind in before and before[kind]["status"] == one["status"]
            expected = before[kind]["lastTransitionTime"] if same else status.stamp(world.now)
            assert one["lastTransitionTime"] == expected, (kind, one)
        before = conditions


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("completed", {"Finished": "True", "Succeeded": "True", "Suspended": "False", "Stalled": "False"}),
        ("asha", {"Finished": "True", "Succeeded": "True", "Suspended": "False", "Stalled": "False"}),
        ("failed alike", {"Finished": "True", "Succeeded": "False", "Suspended": "False", "Stalled": "True"}),
        ("metric missing", {"Finished": "True", "Succeeded": "False", "Suspended": "False", "Stalled": "True"}),
    ],
)
def test_how_it_ends(name: str, expected: dict[str, str]) -> None:
    (*_, last) = states(name)
    made = rendered(last)
    assert {one["type"]: one["status"] for one in made["conditions"]} == expected
    assert {one["reason"] for one in made["conditions"] if one["type"] != "Suspended"} == {made["state"]}


def test_nothing_is_known_but_the_spec() -> None:
    made = status.render(History(spec()), "digits")
    assert (made["progress"], made["gridSize"], made["trials"]["started"]) == ("0/6", 1, 0)
    assert "observedGeneration" not in made["conditions"][0]


def test_the_best_trial_is_shown_with_what_it_reported() -> None:
    program: Program = lambda trial, attempt, params: Script([{"accuracy": 0.1 + trial, "loss": float("nan")}])  # noqa: E731
    world = World(spec(num_samples=2, scheduler=Asha()), program).run()
    made = rendered(world)
    assert made["bestTrial"]["name"] == "digits-00001"
    assert (made["bestTrial"]["value"], made["bestTrial"]["step"], made["bestTrial"]["complete"]) == ("1.1", "1", True)
    assert (made["bestTrial"]["metrics"]["loss"], made["bestTrial"]["metrics"]["training_iteration"]) == ("NaN", "1")
    assert [one["name"] for one in made["topTrials"]] == ["digits-00001", "digits-00000"]
    assert made["algorithm"] == "random + asha"
    assert made["trials"] == {
        "total": 2,
        "started": 2,
        "waiting": 0,
        "running": 0,
        "succeeded": 2,
        "stopped": 0,
        "failed": 0,
        "cancelled": 0,
        "skipped": 0,
    }
    assert made["lastReportTime"] < made["finishTime"]


def test_of_the_trials_that_ended_last_it_is_said_why() -> None:
    """Ten at most, the latest first."""

    def program(trial: int, attempt: int, params: Params) -> Script:
        tail = "Traceback ...\nValueError: too large" + "!" * 300
        return Script([{"accuracy": trial}], End(exit_code=1, tail=tail) if trial == 10 else End(exit_code=0))

    made = rendered(World(spec(num_samples=12, max_concurrent=1, stop={"accuracy": 11}), program).run())["lastTrials"]
    assert [one["name"] for one in made] == [f"digits-{number:05d}" for number in range(11, 1, -1)]
    assert (made[0]["state"], made[0]["reason"]) == ("Succeeded", "StopMetrics")
    assert (made[1]["state"], made[1]["reason"]) == ("Failed", "ExitCode")
    assert made[1]["message"].startswith("exit code 1: ValueError: too large!!!")
    assert made[1]["message"].endswith("…") == (len(made[1]["message"]) == 256)
    assert made[2]["name"] == "digits-00009"
    assert (made[2]["state"], made[2]["reason"]) == ("Succeeded", "Completed")


@pytest.mark.parametrize("final", [True, False])
def test_one_that_never_got_a_history(*, final: bool) -> None:
    made = status.stalled({}, "InvalidSpec", "x" * 40_000, final=final, generation=1, time=1764000000.0)
    (answer,) = checker.judge([copy.deepcopy(VALID) | {"status": made}])
    assert (answer.errors, answer.unknown) == ((), ())
    assert {one["lastTransitionTime"] for one in made["conditions"]} == {"2025-11-24T16:00:00Z"}
