"""What this machine does not use of an experiment, and how many trials fit on it: named, never left out in silence."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kubetune_operator import api
from kubetune_operator.commands.machine import Machine
from kubetune_operator.files import ExperimentFolder
from tests.shell.experiments import VALID, Body, both, drop, put

POD = "spec.trial.template.spec"
TRIAL = f"{POD}.containers[0]"
CORES = len(os.sched_getaffinity(0))
MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def machine(change: Callable[[Body], None], tmp_path: Path, gpus: str = "") -> Machine:
    """Give the machine for an experiment without an image, changed so."""
    body = copy.deepcopy(VALID)
    both(drop(f"{TRIAL}.image"), change)(body)
    folder = ExperimentFolder.create(tmp_path, "default", "digits", "01234567-89ab")
    return Machine(api.parse(body), folder, tmp_path, {"PATH": os.environ["PATH"], "CUDA_VISIBLE_DEVICES": gpus})


def nothing(body: Body) -> None:
    """Leave it as it is."""


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param(nothing, [], id="nothing"),
        pytest.param(put(f"{TRIAL}.image", "python"), ["the image"], id="image"),
        pytest.param(put(f"{TRIAL}.ports", [{"containerPort": 80}]), ["ports"], id="ports"),
        pytest.param(put(f"{TRIAL}.lifecycle", {"preStop": {}}), ["lifecycle"], id="lifecycle"),
        pytest.param(put(f"{TRIAL}.workingDir", "/src"), ["workingDir"], id="workingDir"),
        pytest.param(put(f"{TRIAL}.imagePullPolicy", "Always"), ["imagePullPolicy"], id="imagePullPolicy"),
        pytest.param(put(f"{TRIAL}.field-of-tomorrow", value=False), ["field-of-tomorrow"], id="any other field"),
        pytest.param(
            both(put(f"{TRIAL}.livenessProbe", {"exec": {}}), put(f"{TRIAL}.startupProbe", {"exec": {}})), ["probes"], id="probes"
        ),
        pytest.param(put(f"{POD}.nodeSelector", {"a": "b"}), ["nodeSelector"], id="nodeSelector"),
        pytest.param(put(f"{POD}.tolerations", [{"operator": "Exists"}]), ["tolerations"], id="tolerations"),
        pytest.param(put(f"{POD}.tolerations", []), [], id="an empty list"),
        pytest.param(put(f"{POD}.serviceAccountName", "a"), ["serviceAccountName"], id="serviceAccountName"),
        pytest.param(put(f"{POD}.initContainers", [{"name": "a"}]), ["init containers"], id="init containers"),
        pytest.param(put(f"{POD}.volumes", [{"name": "a"}]), ["volumes"], id="volumes"),
        pytest.param(put(f"{POD}.terminationGracePeriodSeconds", 3), [], id="the grace period is used"),
        pytest.param(put(f"{POD}.restartPolicy", "Never"), [], id="restartPolicy says what is done"),
        pytest.param(
            both(put(f"{POD}.containers[1]", {"name": "other"}), put("spec.trial.container", "trial")),
            ["the other containers"],
            id="another container",
        ),
        pytest.param(
            put("spec.trial.template.metadata", {"labels": {"a": "b"}}), ["the pod's labels and annotations"], id="labels"
        ),
        pytest.param(put("spec.ttlSecondsAfterFinished", 0), ["ttlSecondsAfterFinished"], id="ttlSecondsAfterFinished"),
        pytest.param(put("spec.trial.retainPods", "All"), ["trial.retainPods"], id="retainPods"),
        pytest.param(put("spec.trial.retainPods", "Failed"), [], id="retainPods as it is anyway"),
        pytest.param(put("spec.logs", {"spoolBytes": "1Mi"}), ["logs.spoolBytes"], id="spoolBytes"),
        pytest.param(put("spec.logs", {"maxBytesPerTrial": 1024}), ["logs.maxBytesPerTrial"], id="maxBytesPerTrial"),
        pytest.param(put("spec.logs", {"maxBytesPerTrial": 2**28}), [], id="maxBytesPerTrial as it is anyway"),
        pytest.param(put(f"{TRIAL}.resources", {"requests": {"cpu": "1m"}}), [], id="requests are used"),
        pytest.param(
            put(f"{TRIAL}.resources", {"limits": {"cpu": "1m"}}),
            ["resource limits (the requests decide how many trials run at once)"],
            id="limits",
        ),
    ],
)
def test_what_is_not_used_is_named(change: Callable[[Body], None], named: list[str], tmp_path: Path) -> None:
    assert machine(change, tmp_path).ignored() == named


def requests(**amounts: str) -> Callable[[Body], None]:
    """Request so much."""
    return put(
        f"{TRIAL}.resources", {"requests": {name.replace("gpu", "nvidia.com/gpu"): text for name, text in amounts.items()}}
    )


CPU = f"the template requests 64000 cpu, this machine has {CORES}"
LARGE = f"the template requests 1e+03Gi of memory, this machine has {MEMORY:.3g}Gi"
MOST = put("spec.maxConcurrentTrials", 10_000)


@pytest.mark.parametrize(
    ("change", "gpus", "room", "said"),
    [
        pytest.param(requests(cpu="1m", memory="1Ki"), "", None, [], id="enough"),
        pytest.param(requests(cpu="64000"), "", 1, [f"maxConcurrentTrials 4 (1 at once: {CPU})"], id="cpu"),
        pytest.param(
            both(MOST, requests(cpu="1"), put("spec.numSamples", 9999)),
            "",
            CORES,
            [f"maxConcurrentTrials 10000 ({CORES} at once: the template requests 1 cpu, this machine has {CORES})"],
            id="fewer than wanted",
        ),
        pytest.param(requests(memory="1000Gi"), "", 1, [f"maxConcurrentTrials 4 (1 at once: {LARGE})"], id="memory"),
        pytest.param(
            requests(cpu="64000", memory="1000Gi"), "", 1, [f"maxConcurrentTrials 4 (1 at once: {CPU}; {LARGE})"], id="both"
        ),
        pytest.param(
            requests(gpu="1"),
            "",
            1,
            [
                "maxConcurrentTrials 4 (1 at once: the template requests 1 GPU, this machine has none)",
                "the request for 1 GPU (this machine has no GPU: trials run all the same)",
            ],
            id="no GPU",
        ),
        pytest.param(
            both(requests(gpu="1"), put("spec.maxConcurrentTrials", 1)),
            "",
            1,
            [
                "maxConcurrentTrials 1 (1 at once: the template requests 1 GPU, this machine has none)",
                "the request for 1 GPU (this machine has no GPU: trials run all the same)",
            ],
            id="no GPU, one at a time",
        ),
        pytest.param(
            requests(gpu="2"),
            "0",
            1,
            [
                "maxConcurrentTrials 4 (1 at once: the template requests 2 GPUs, this machine has 1)",
                "the request for 2 GPUs (this machine has 1 GPU: trials run all the same)",
            ],
            id="too few GPUs",
        ),
        pytest.param(
            requests(gpu="1"),
            "0,1",
            2,
            ["maxConcurrentTrials 4 (2 at once: the template requests 1 GPU, this machine has 2)"],
            id="GPUs for two",
        ),
        pytest.param(requests(gpu="1"), "0,1,2,3", 4, [], id="GPUs for all"),
    ],
)
def test_how_many_fit_and_why_not_more(
    change: Callable[[Body], None], gpus: str, room: int | None, said: list[str], tmp_path: Path
) -> None:
    made = machine(change, tmp_path, gpus)
    assert made.room() == room or (room is None and (made.room() or 0) >= 4)
    assert made.ignored() == said
