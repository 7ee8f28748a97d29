"""What a trial gets of this machine: the command of its template, an environment, a share of the cores, its log files."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kubetune
from kubetune import wire
from kubetune_operator import pods, status
from kubetune_operator.api import Experiment
from kubetune_operator.cluster import Wanted
from kubetune_operator.cluster.local import Launch
from kubetune_operator.core.space import seed_of
from kubetune_operator.files import PARAMS, ExperimentFolder

SDK = Path(kubetune.__file__).resolve().parent.parent
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
IGNORED = {  # what a template may say and a process of this machine has not: field of the container, what it is called
    "image": "the image",
    "volumeMounts": "volume mounts",
    "resources": "resource limits (the requests decide how many trials run at once)",
    "securityContext": "the security context",
    "livenessProbe": "probes",
}


class Machine:
    """Turns wanted attempts into what an agent is to run."""

    def __init__(self, experiment: Experiment, folder: ExperimentFolder, here: Path, environ: Mapping[str, str]) -> None:
        """Run trials of `experiment` in the folder `here` (its YAML's), with `environ` underneath."""
        self._experiment = experiment
        self._folder = folder
        self.here = here
        self._environ = _underneath(environ)
        self._requests = pods.requests(experiment.template)
        self.gpus = _gpus(environ) if self._requests.gpus else ()

    @property
    def gpus_each(self) -> int:
        """Say how many GPUs an attempt gets."""
        return self._requests.gpus

    def room(self) -> int | None:
        """Say how many attempts fit by what the template requests; None where it requests nothing."""
        bounds = []
        if self._requests.cpu:
            bounds.append(int(_cores() / self._requests.cpu))
        if self._requests.memory:
            bounds.append(int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / self._requests.memory))
        if self._requests.gpus:
            bounds.append(len(self.gpus) // self._requests.gpus)
        return max(1, min(bounds)) if bounds else None

    def launch(self, wanted: Wanted) -> Launch:
        """Say what the agent of this attempt is to run."""
        found = self.program(wanted)
        name = status.trial_name(self._experiment.name, wanted.trial)
        self._folder.make(name)
        logs = self._experiment.logs.files
        paths = [str(self._folder.log(name, log)) for log in logs]
        return Launch(
            argv=found.argv,
            env=self._environ | self._threads() | found.env,
            cwd=str(self.here),
            stdout=paths[0] if paths else None,
            stderr=paths[-1] if paths else None,
            grace=found.grace,
            flush=float(self._experiment.trial.flush_timeout),
        )

    def again(self, wanted: Wanted) -> str:
        """Give the line with which a shell runs an attempt's program once more as it was, reporting to nobody."""
        found = self.program(wanted)
        params = self._folder.trial(status.trial_name(self._experiment.name, wanted.trial)) / PARAMS
        env = {wire.ENV_PARAMS_FILE: str(params)} | {
            name: text for name, text in found.env.items() if name not in found.inherited
        }
        program, *rest = found.argv
        there = None if "/" in program else shutil.which(program, path=self._environ["PATH"])
        words = ["env", *(f"{name}={text}" for name, text in env.items()), there or program, *rest]
        return f"cd {shlex.quote(str(self.here))} && {shlex.join(words)}"

    def program(self, wanted: Wanted) -> pods.Program:
        """Fill in the template for one attempt, as the kubelet would hand it to the container."""
        seed = self._experiment.spec.seed
        name = status.trial_name(self._experiment.name, wanted.trial)
        identity = pods.TrialIdentity(
            self._experiment.name, name, wanted.trial, wanted.attempt, seed_of(seed, wanted.trial, wanted.attempt)
        )
        found = pods.program(self._experiment.template, self._experiment.trial.container, identity, wanted.params)
        return pods.resolve(found, self._environ)

    def ignored(self) -> list[str]:
        """Name what the template says and this machine leaves out."""
        spec: Mapping[str, Any] = self._experiment.template["spec"]
        chosen = next(one for one in spec["containers"] if self._experiment.trial.container in (None, one["name"]))
        words = [word for field, word in IGNORED.items() if chosen.get(field)]
        words += ["volumes"] if spec.get("volumes") else []
        words += ["init containers"] if spec.get("initContainers") else []
        words += ["the other containers"] if len(spec["containers"]) > 1 else []
        words += ["workingDir"] if chosen.get("workingDir") else []
        return words

    def _threads(self) -> dict[str, str]:
        """Share the cores, so that trials side by side do not each start a thread for every core."""
        if self._requests.cpu:
            share = max(1, int(self._requests.cpu))
        else:
            side_by_side = min(self._experiment.spec.max_concurrent, self.room() or self._experiment.spec.max_concurrent)
            share = max(1, _cores() // side_by_side)
        return {name: str(share) for name in THREADS if name not in self._environ}


def _underneath(environ: Mapping[str, str]) -> dict[str, str]:
    """Give the caller's environment, with this Python's programs first and the SDK within reach of every other Python."""
    env = {name: value for name, value in environ.items() if not name.startswith("KUBETUNE_")}
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)])
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [env.get("PYTHONPATH"), str(SDK)]))
    return env


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpus(environ: Mapping[str, str]) -> tuple[str, ...]:
    """List the GPUs: those that CUDA_VISIBLE_DEVICES leaves us, or else the devices that are there."""
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(filter(None, visible.split(",")))
    return tuple(str(number) for number in range(len(list(Path("/dev").glob("nvidia[0-9]*")))))
