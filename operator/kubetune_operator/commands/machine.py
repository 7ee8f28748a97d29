"""What a trial gets of this machine: the command of its template, an environment, a share of the cores, its log files."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import kubetune
from kubetune import wire
from kubetune_operator import pods, status
from kubetune_operator.api import Experiment, results
from kubetune_operator.api.trial import Trial
from kubetune_operator.cluster import Wanted
from kubetune_operator.cluster.local import Launch
from kubetune_operator.core.space import seed_of
from kubetune_operator.files import PARAMS, ExperimentFolder

SDK = Path(kubetune.__file__).resolve().parent.parent
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# What is used of a template here. All the rest that it may say is not, and is named: by a word, or as the field is.
USED_OF_TEMPLATE = frozenset({"spec"})
USED_OF_POD = frozenset({"containers", "restartPolicy", "terminationGracePeriodSeconds"})
USED_OF_CONTAINER = frozenset({"name", "command", "args", "env"})
WORDS = {
    "image": "the image",
    "volumeMounts": "volume mounts",
    "resources": "resource limits (the requests decide how many trials run at once)",
    "securityContext": "the security context",
    "livenessProbe": "probes",
    "readinessProbe": "probes",
    "startupProbe": "probes",
    "initContainers": "init containers",
    "metadata": "the pod's labels and annotations",
}
GIB = 2**30


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
        bounds = [bound for bound, _ in self._bounds()]
        return max(1, min(bounds)) if bounds else None

    def _bounds(self) -> Iterator[tuple[int, str]]:
        """Give how many attempts fit by each thing that the template requests, and why."""
        asked = self._requests
        if asked.cpu:
            yield int(_cores() / asked.cpu), f"the template requests {asked.cpu:g} cpu, this machine has {_cores()}"
        if asked.memory:
            memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
            words = f"the template requests {asked.memory / GIB:.3g}Gi of memory, this machine has {memory / GIB:.3g}Gi"
            yield int(memory / asked.memory), words
        if asked.gpus:
            words = f"the template requests {_gpu(asked.gpus)}, this machine has {len(self.gpus) or 'none'}"
            yield len(self.gpus) // asked.gpus, words

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
        """Name what the experiment says and this machine leaves out."""
        template = self._experiment.template
        spec: Mapping[str, Any] = template["spec"]
        chosen = next(one for one in spec["containers"] if self._experiment.trial.container in (None, one["name"]))
        limited = USED_OF_CONTAINER | (set() if (chosen.get("resources") or {}).get("limits") else {"resources"})
        words = [*_rest(chosen, limited), *_rest(spec, USED_OF_POD), *_rest(template, USED_OF_TEMPLATE)]
        words += ["the other containers"] if len(spec["containers"]) > 1 else []
        return [*dict.fromkeys(words), *self._settings(), *self._fewer()]

    def _settings(self) -> Iterator[str]:
        """Name what is set beside the template, unless it is as it would be anyway, and means nothing here."""
        wanted, logs, defaults = self._experiment, self._experiment.logs, results.Logs()
        if wanted.ttl_seconds is not None:
            yield "ttlSecondsAfterFinished"
        if wanted.trial.retain_pods != Trial.model_fields["retain_pods"].default:
            yield "trial.retainPods"
        if logs.spool_bytes != results.size(defaults.spool_bytes):
            yield "logs.spoolBytes"
        if logs.max_bytes_per_trial != results.size(defaults.max_bytes_per_trial):
            yield "logs.maxBytesPerTrial"

    def _fewer(self) -> Iterator[str]:
        """Say what keeps trials from running as many at once as was asked for, and that they have no GPU."""
        wanted = min(self._experiment.spec.max_concurrent, self._experiment.spec.total)
        room = self.room()
        if room is not None and (short := [words for bound, words in self._bounds() if max(1, bound) == room and bound < wanted]):
            yield f"maxConcurrentTrials {self._experiment.spec.max_concurrent} ({room} at once: {'; '.join(short)})"
        if len(self.gpus) < self._requests.gpus:
            found = f"has {_gpu(len(self.gpus))}" if self.gpus else "has no GPU"
            yield f"the request for {_gpu(self._requests.gpus)} (this machine {found}: trials run all the same)"

    def _threads(self) -> dict[str, str]:
        """Share the cores, so that trials side by side do not each start a thread for every core."""
        if self._requests.cpu:
            share = max(1, int(self._requests.cpu))
        else:
            side_by_side = min(self._experiment.spec.max_concurrent, self.room() or self._experiment.spec.max_concurrent)
            share = max(1, _cores() // side_by_side)
        return {name: str(share) for name in THREADS if name not in self._environ}


def _rest(said: Mapping[str, Any], used: Collection[str]) -> Iterator[str]:
    """Name what is said and not used."""
    return (WORDS.get(name, name) for name, value in said.items() if name not in used and value not in (None, "", [], {}))


def _gpu(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"


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
