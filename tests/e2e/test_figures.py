"""What it costs to have kubetune between a user and the pods: figures, printed at the end of the run and never asserted."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e import manifests
from tests.e2e.experiments import PROGRAM, body, finished
from tests.e2e.kubectl import Kubectl, Refused
from tests.e2e.product import MEMORY, Figures, Operator

WAITING = """
import time, kubetune
for step in range(30):
    started = time.monotonic()
    kubetune.report(accuracy=step, wait=True)
    print(time.monotonic() - started)
    time.sleep(0.1)
time.sleep(20)
"""
STEADY = """
import os, time
reports = os.environ.get("KUBETUNE_REPORTS", "/dev/null")
for step in range(20):
    with open(reports, "a") as file:
        file.write('{"accuracy": %d}\\n' % step)
    time.sleep(1)
"""
TRIALS, AT_ONCE = 4, 2


def test_from_apply_to_the_first_pod(operator: Operator, kubectl: Kubectl, figures: Figures) -> None:
    seconds = []
    for turn in range(5):
        name = f"first-{turn}"
        with _pods(kubectl, ":.metadata.name") as made:
            started = time.monotonic()
            kubectl.apply(body(name, PROGRAM, numSamples=1))
            while not next(made).startswith(name):
                pass
            seconds.append(time.monotonic() - started)
        finished(kubectl, name, seconds=90)
    figures.say("apply to the first pod, seconds", statistics.median(seconds), 2)


def test_from_a_report_to_its_decision_and_what_the_sidecar_takes(operator: Operator, kubectl: Kubectl, figures: Figures) -> None:
    kubectl.apply(
        body("waiting", WAITING, numSamples=2, maxConcurrentTrials=2, scheduler={"asha": {"maxT": 99, "gracePeriod": 99}})
    )
    pod = "waiting-00000-0"
    deadline = time.monotonic() + 90
    while len(said := _said(kubectl, pod)) < 30:
        assert time.monotonic() < deadline, said
        time.sleep(0.5)
    figures.say("report to decision, median milliseconds", 1000 * statistics.median(map(float, said)), 300)
    command = ("exec", pod, "--container", "kubetune-sidecar", "--", "python", "-c", MEMORY)
    figures.say("peak memory of a sidecar, MiB", int(kubectl(*command).split()[1]) / 1024, 20)
    finished(kubectl, "waiting", seconds=90)


def test_what_a_trial_takes_longer_than_a_bare_pod(operator: Operator, kubectl: Kubectl, figures: Figures) -> None:
    experiment = body("steady", STEADY, numSamples=TRIALS, maxConcurrentTrials=AT_ONCE, scheduler={})
    bare = _bare(kubectl)
    started = time.monotonic()
    kubectl.apply(experiment)
    found = finished(kubectl, "steady", seconds=300)
    ours = time.monotonic() - started
    assert found["status"]["trials"]["succeeded"] == TRIALS
    what = f"time added to {TRIALS} trials of 20 s, {AT_ONCE} at once, which take bare pods {bare:.1f} s, per cent"
    figures.say(what, 100 * (ours / bare - 1), 10)


def test_what_the_operator_takes_when_it_has_nothing_to_do(operator: Operator, figures: Figures) -> None:
    operator.restart()
    time.sleep(5)
    held, peak = operator.memory()
    assert 0 < held <= peak
    figures.say("memory of the operator when idle, MiB", held, 128)


@contextmanager
def _pods(kubectl: Kubectl, column: str) -> Iterator[Iterator[str]]:
    """Give a column of the namespace's pods, line by line, as they are made or change."""
    command = ["kubectl", "--namespace", kubectl.namespace, "get", "pods", "--watch", "--no-headers"]
    with subprocess.Popen([*command, "--output", f"custom-columns={column}"], stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        time.sleep(2)  # until it watches
        try:
            yield (line.strip() for line in watch.stdout)
        finally:
            watch.terminate()


def _said(kubectl: Kubectl, pod: str) -> list[str]:
    try:
        return kubectl("logs", pod, "--container", "trial").splitlines()
    except Refused:  # it has not begun
        return []


def _bare(kubectl: Kubectl) -> float:
    """Run as many pods of the same program, as many at once, with nothing of kubetune; give the seconds."""
    made, over = 0, set[str]()
    with _pods(kubectl, ":.metadata.name,:.status.phase") as changes:
        started = time.monotonic()
        while len(over) < TRIALS:
            while made < TRIALS and made - len(over) < AT_ONCE:
                pod = manifests.pod(f"bare-{made}", manifests.python(STEADY))
                kubectl("create", "--filename", "-", given=json.dumps(pod))
                made += 1
            name, phase = next(changes).split()
            over |= {name} if phase == "Succeeded" else set()
        return time.monotonic() - started
