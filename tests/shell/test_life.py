"""What only Kubernetes asks of an experiment: which pods stay, whether anything is left to be done, and what keeps pods waiting."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from kubetune_operator import status
from kubetune_operator.api.status import MAX_MESSAGE
from kubetune_operator.core.history import History
from kubetune_operator.core.records import Close, Closed, Created, Started, Suggested
from kubetune_operator.resource import retained, settled
from tests.sim.world import spec


def closed(*closes: Close | None) -> History:
    """Give a history whose trials' first attempts closed so, one after the other; None: it runs."""
    history = History(spec())
    history.apply(Created("exp", "default", "uid", {}, 1.0))
    for number, close in enumerate(closes):
        history.apply(Suggested(number, {"x": 0.5}, 2.0))
        history.apply(Started(number, 0, 3.0))
        if close is not None:
            history.apply(Closed(number, 0, close, "", "", 10.0 + number))
    return history


EVERY = (Close.SUCCEEDED, Close.INTENDED, Close.FAILED, Close.DISRUPTED, None)


class TestRetained:
    """spec.trial.retainPods, the newest 20."""

    @pytest.mark.parametrize(
        ("policy", "stay"),
        [
            pytest.param("None", set(), id="None"),
            pytest.param("Failed", {2}, id="Failed"),
            pytest.param("All", {0, 1, 2, 3}, id="All"),
        ],
    )
    def test_by_policy(self, policy: str, stay: set[int]) -> None:
        history = closed(*EVERY)
        assert {number for number in range(len(EVERY)) if retained(history, policy, (number, 0))} == stay

    @pytest.mark.parametrize("policy", ["Failed", "All"])
    def test_the_newest_twenty(self, policy: str) -> None:
        history = closed(*[Close.FAILED] * 30)
        assert [number for number in range(30) if retained(history, policy, (number, 0))] == list(range(10, 30))

    def test_what_does_not_count_takes_no_place(self) -> None:
        history = closed(Close.FAILED, *[Close.SUCCEEDED] * 30)
        assert retained(history, "Failed", (0, 0))
        assert not retained(history, "All", (0, 0))

    @pytest.mark.parametrize("policy", ["None", "Failed", "All"])
    def test_a_pod_of_no_trial_goes(self, policy: str) -> None:
        assert not retained(closed(Close.FAILED), policy, (1, 0))


OVER: dict[str, Any] = {
    "metadata": {"uid": "u", "generation": 2},
    "status": {
        "observedGeneration": 2,
        "conditions": [{"type": "Finished", "status": "True"}, {"type": "Stalled", "status": "False"}],
        "journal": {"uid": "u", "volumeID": "ours"},
    },
}


def changed(**parts: Any) -> dict[str, Any]:
    made = copy.deepcopy(OVER)
    made["status"] |= parts
    return {"metadata": made["metadata"], "status": {name: part for name, part in made["status"].items() if part is not None}}


def over(finished: str, stalled: str) -> list[dict[str, Any]]:
    found = {"Finished": finished, "Stalled": stalled}
    return [{"type": kind, "status": "True", "reason": reason} for kind, reason in found.items()]


@pytest.mark.parametrize(
    ("resource", "nothing_left"),
    [
        pytest.param(OVER, True, id="finished"),
        pytest.param(changed(journal=None), True, id="finished without a journal: its spec was wrong"),
        pytest.param(changed(conditions=[{"type": "Finished", "status": "False"}]), False, id="running"),
        pytest.param(changed(conditions=None), False, id="no conditions"),
        pytest.param(changed(observedGeneration=1), False, id="edited since"),
        pytest.param(changed(observedGeneration=None), False, id="never observed"),
        pytest.param(changed(journal={"uid": "u", "volumeID": "another"}), False, id="its journal is on another volume"),
        pytest.param(changed(journal={"uid": "another", "volumeID": "ours"}), False, id="that is another's status"),
        pytest.param(changed(conditions=over("Completed", "JournalMissing")), False, id="its journal could not be had since"),
        pytest.param(changed(conditions=over("AllTrialsFailed", "AllTrialsFailed")), True, id="finished without success"),
        pytest.param({"metadata": {"generation": 1}}, False, id="new"),
        pytest.param({"metadata": {"generation": 1}, "status": None}, False, id="null"),
    ],
)
def test_whether_a_journal_need_not_be_read(resource: dict[str, Any], *, nothing_left: bool) -> None:
    assert settled(resource, "ours") is nothing_left


# --- pods that do not begin ---


NOW = 1000.0


def shown(*troubles: tuple[str, str, float], history: History | None = None, now: float = NOW) -> dict[str, dict[str, Any]]:
    found = status.troubled(status.render(history or closed(None), "exp"), troubles, now)
    return {one["type"]: one for one in found["conditions"]}


UNSCHEDULABLE = ("Unschedulable", "0/3 nodes are available", 100.0)
UNREACHABLE = ("ReporterUnreachable", "no answer", 200.0)


def test_without_trouble_the_status_is_as_it_was() -> None:
    rendered = status.render(closed(None), "exp")
    assert status.troubled(rendered, [], NOW) == rendered


def test_what_time_may_mend_is_told_and_stalls_nothing() -> None:
    conditions = shown(UNSCHEDULABLE, ("ErrImagePull", "not found", 150.0))
    assert conditions["Finished"]["message"] == "2 pods cannot begin: Unschedulable: 0/3 nodes are available"
    assert conditions["Finished"]["status"] == conditions["Stalled"]["status"] == "False"


def test_what_only_a_human_mends_comes_first_and_stalls() -> None:
    conditions = shown(UNSCHEDULABLE, UNREACHABLE)
    assert conditions["Finished"]["message"] == "2 pods cannot begin: ReporterUnreachable: no answer"
    stalled = conditions["Stalled"]
    assert (stalled["status"], stalled["reason"], stalled["message"]) == ("True", "ReporterUnreachable", "no answer")
    assert stalled["lastTransitionTime"] == "1970-01-01T00:03:20Z"


FULL = ("QuotaExceeded", "exceeded quota: none", 100.0)


def test_trials_whose_pods_are_not_to_be_had_wait_and_do_not_run() -> None:
    rendered = status.render(closed(Close.SUCCEEDED, None, None, None), "exp")
    assert (rendered["trials"]["waiting"], rendered["trials"]["running"]) == (1, 3), "the first is about to end"
    found = status.troubled(rendered, [FULL, FULL, UNSCHEDULABLE], NOW)
    assert (found["trials"]["waiting"], found["trials"]["running"]) == (3, 1)
    assert found["state"] == "Running"
    (finished, *_) = found["conditions"]
    assert finished["message"] == "3 pods cannot begin: QuotaExceeded: exceeded quota: none"
    assert finished["reason"] == "Running"


@pytest.mark.parametrize("history", [closed(None, None), closed()], ids=["trials", "none yet"])
def test_where_no_trial_has_a_pod_the_state_says_why(history: History) -> None:
    rendered = status.render(history, "exp")
    found = status.troubled(rendered, [FULL] * max(1, len(history.trials)), NOW)
    assert found["state"] == "QuotaExceeded"
    assert found["trials"]["running"] == 0
    conditions = {one["type"]: one for one in found["conditions"]}
    assert {one["reason"] for kind, one in conditions.items() if kind != "Suspended"} == {"QuotaExceeded"}
    assert {kind: one["status"] for kind, one in conditions.items()} == {
        "Finished": "False",
        "Succeeded": "Unknown",
        "Suspended": "False",
        "Stalled": "False",
    }
    assert [one["lastTransitionTime"] for one in found["conditions"]] == [
        one["lastTransitionTime"] for one in rendered["conditions"]
    ]


@pytest.mark.parametrize(
    ("reason", "ago", "trials", "stalls"),
    [
        pytest.param("PodRefused", 59.0, 1, False, id="may pass yet"),
        pytest.param("PodRefused", 60.0, 1, True, id="does not pass"),
        pytest.param("PodNameTaken", 60.0, 1, True, id="a taken name"),
        pytest.param("QuotaExceeded", 9999.0, 1, False, id="a quota is a queue"),
        pytest.param("PodRefused", 9999.0, 2, False, id="another trial runs"),
    ],
)
def test_a_refusal_that_does_not_pass_stalls_what_has_no_pod_at_all(
    reason: str, ago: float, trials: int, *, stalls: bool
) -> None:
    conditions = shown((reason, "no", 5000.0 - ago), history=closed(*[None] * trials), now=5000.0)
    assert (conditions["Stalled"]["status"] == "True") is stalls
    if stalls:
        assert (conditions["Stalled"]["reason"], conditions["Stalled"]["message"]) == (reason, "no")
        assert status.seconds(conditions["Stalled"]["lastTransitionTime"]) == 5000.0


def test_trouble_changes_nothing_of_what_it_is_added_to() -> None:
    rendered = status.render(closed(None), "exp")
    before = copy.deepcopy(rendered)
    status.troubled(rendered, [UNREACHABLE, FULL], NOW)
    assert rendered == before


def test_a_message_is_never_longer_than_the_api_takes() -> None:
    conditions = shown(("ReporterUnreachable", "x" * 100_000, 1.0))
    assert len(conditions["Finished"]["message"]) <= MAX_MESSAGE
    assert len(conditions["Stalled"]["message"]) <= MAX_MESSAGE


@pytest.mark.parametrize("time", [0.0, 1.0, 1795478400.0])
def test_a_time_is_read_as_it_was_spelled(time: float) -> None:
    assert status.seconds(status.stamp(time)) == time
