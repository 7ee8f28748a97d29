"""spec.suspend: what runs is ended, what was found is kept, and without it the experiment goes on."""

from __future__ import annotations

import time

from tests.e2e.experiments import body, finished, gone, pods, steady
from tests.e2e.followed import watched
from tests.e2e.kubectl import Kubectl
from tests.e2e.product import Figures, Operator, condition

REPORTS = 12
LOOKED_ON = 10  # seconds for which nothing may begin


def test_a_suspended_experiment_keeps_what_it_has_and_goes_on(operator: Operator, kubectl: Kubectl, figures: Figures) -> None:
    folder = f"{kubectl.namespace}/pausing"
    with watched(kubectl, "pausing") as made:
        kubectl.apply(
            body("pausing", steady(REPORTS, 0.7), numSamples=6, maxConcurrentTrials=2, scheduler={}, failure={"maxFailures": 0})
        )
        _until_some_have_ended_and_others_run(operator, folder)
        _suspend(kubectl, "true")
        asked = time.monotonic()
        kubectl.until("tune", "pausing", lambda one: condition(one, "Suspended") == "True", seconds=10)
        gone(kubectl, "pausing", seconds=asked + 45 - time.monotonic())
        figures.say("suspended experiment to pods gone, seconds", time.monotonic() - asked, 10)
        found = kubectl.until("tune", "pausing", lambda one: one["status"]["trials"]["running"] == 0, seconds=10)
        assert condition(found, "Finished") == "False"
        assert kubectl("get", "tune", "pausing", "--no-headers").split()[1] == "Suspended"
        before = operator.reports(folder)
        ended = {trial for trial, rows in before.items() if rows[-1]["done"]}
        assert len(ended) == found["status"]["trials"]["succeeded"]
        time.sleep(LOOKED_ON)
        assert not pods(kubectl, "pausing")
        _suspend(kubectl, "false")
        last = finished(kubectl, "pausing", seconds=180)
    assert last["status"]["state"] == "Completed"
    assert condition(last, "Suspended") == "False"
    assert (last["status"]["trials"]["succeeded"], last["status"]["trials"]["failed"]) == (6, 0)
    assert all(len(uids) == 1 for uids in made.uids.values())
    again = {pod.removesuffix("-1") for pod in made.uids if pod.endswith("-1")}
    assert len(again) == found["status"]["trials"]["started"] - len(ended) > 0, "what was interrupted, and nothing else"
    assert not again & ended
    assert len(made.uids) == 6 + len(again), "each has one attempt more, and no trial two"
    after = operator.reports(folder)
    for trial, rows in after.items():
        assert [row["i"] for row in rows if row["attempt"] == int(trial in again)] == list(range(REPORTS))
    for trial, rows in before.items():
        assert [(row["attempt"], row["i"]) for row in rows] == [(row["attempt"], row["i"]) for row in after[trial]][: len(rows)]


def _until_some_have_ended_and_others_run(operator: Operator, folder: str) -> None:
    until = time.monotonic() + 90
    while True:
        done = [rows[-1]["done"] for rows in operator.reports(folder).values()]
        if done.count(True) >= 1 and done.count(False) == 2:
            return
        assert time.monotonic() < until, operator.log()
        time.sleep(0.5)


def _suspend(kubectl: Kubectl, value: str) -> None:
    kubectl("patch", "tune", "pausing", "--type=merge", "--patch", f'{{"spec": {{"suspend": {value}}}}}')
