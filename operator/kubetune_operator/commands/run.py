"""`kubetune run`: wires one experiment to this machine's processes, and says what happens.

The same core, journal, intake and files as in a cluster; here is only the wiring.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shlex
import signal
import sys
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from kubetune_operator import api, checked, status
from kubetune_operator.api import reading
from kubetune_operator.cluster import Wanted
from kubetune_operator.cluster.local import Local
from kubetune_operator.commands import folders, lock, say
from kubetune_operator.commands.machine import Machine
from kubetune_operator.console import summary, words
from kubetune_operator.console.progress import Progress
from kubetune_operator.core.plan import IGNORED_SIGTERM
from kubetune_operator.core.records import Created, Outcome
from kubetune_operator.core.standing import Key
from kubetune_operator.errors import InvalidSpec, KubetuneError, Unauthenticated
from kubetune_operator.experiment import Experiment, Past
from kubetune_operator.files import ExperimentFolder, Files
from kubetune_operator.intake import Intake
from kubetune_operator.publish import Publisher
from kubetune_operator.reconcile import Reconciler

OK, FAILED, REFUSED, TROUBLE, INTERRUPTED = 0, 1, 2, 3, 130
UNBUFFERED = {"PYTHONUNBUFFERED": "1"}  # as in most images: what a program prints is in its log at once, whatever ends it
RUN = ".run"  # in the experiment's folder: what its processes need while they run


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for, read and checked."""

    wanted: api.Experiment
    root: Path  # where results go
    here: Path  # the YAML's folder
    resume: str | bool  # whether to go on with a run, or with which


@dataclass(frozen=True, slots=True)
class Job:
    """One experiment, opened and locked: all that running it needs."""

    wanted: api.Experiment
    experiment: Experiment
    folder: ExperimentFolder
    here: Path  # the YAML's folder
    past: Past | None


def main(options: argparse.Namespace) -> int:
    """Run the command."""
    path = Path(options.file)
    try:
        wanted = checked.check(reading.read(path).body, seed=random.SystemRandom().randrange(2**31), here=True)
    except InvalidSpec as refusal:
        say.refusal(options.file, refusal)
        return REFUSED
    except (KubetuneError, OSError) as error:
        say.error(error)
        return REFUSED
    return asyncio.run(_run(Request(wanted, folders.root(options), path.parent.resolve(), options.resume), options))


async def _run(request: Request, options: argparse.Namespace) -> int:
    signals = _Signals()
    try:
        job = await _resume(request) if request.resume else _create(request)
    except (KubetuneError, OSError) as error:  # nothing has started
        say.error(error)
        return REFUSED
    try:
        return await _work(job, signals, Console(highlight=False, soft_wrap=True), options)
    except (KubetuneError, OSError) as error:
        say.error(error)
        _say_what_is_left(job, options, told=signals.told)
        return FAILED
    except Exception:  # noqa: BLE001 -- a fault of ours: the developer's part is the trace, the user's what can be done now
        traceback.print_exc()
        _say_what_is_left(job, options, told=signals.told)
        return FAILED
    finally:
        await job.experiment.close()


def _create(request: Request) -> Job:
    wanted = request.wanted
    uid = str(uuid.uuid4())
    folder = ExperimentFolder.create(request.root, wanted.namespace, wanted.name, uid)
    lock.take(folder.path)
    created = Created(wanted.name, wanted.namespace, uid, wanted.body, time.time())
    experiment = Experiment.create(folder.path, created, wanted.spec, time.time)
    return Job(wanted, experiment, folder, request.here, None)


async def _resume(request: Request) -> Job:
    wanted = request.wanted
    folder = _to_go_on_with(request)
    lock.take(folder.path)
    experiment, past = Experiment.resume(folder.path, checked.spec_of, time.time)
    created = past.history.created
    if created and (created.namespace, created.name) != (wanted.namespace, wanted.name):
        await experiment.close()
        raise KubetuneError(f"{folder.path}: is a run of {created.name}, not of {wanted.name}; name a run of this experiment")
    before = past.body["spec"]
    now = wanted.seeded(before["search"]["seed"])
    after = now.body["spec"]
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    for name in changed:
        if name not in checked.MUTABLE:
            await experiment.close()
            raise KubetuneError(
                f"spec.{name} is not what this run was started with, and it cannot be changed; put it back, or start a new run "
                "without --resume"
            )
    if changed:
        await experiment.edit(now.body, now.spec)
    return Job(now, experiment, folder, request.here, past)


def _to_go_on_with(request: Request) -> ExperimentFolder:
    wanted, root = request.wanted, request.root
    if isinstance(request.resume, str):
        return ExperimentFolder(folders.find(request.resume, root))
    newest = ExperimentFolder.newest(root, wanted.namespace, wanted.name)
    if newest is None:
        raise KubetuneError(
            f"there is no run of {wanted.name} under {root / wanted.namespace} to go on with; leave out --resume to start one"
        )
    return newest


async def _work(job: Job, signals: _Signals, out: Console, options: argparse.Namespace) -> int:
    history = job.experiment.history
    machine = Machine(job.wanted, job.folder, job.here, UNBUFFERED | os.environ)
    cluster = Local(job.folder.path / RUN, machine.launch, open_attempts=history.open, gpus=machine.gpus, each=machine.gpus_each)
    cluster.allow(machine.room())
    progress = Progress(history, job.wanted.name, job.folder.path, out, quiet=options.quiet)
    publisher = Publisher(history, job.wanted.name, Files(job.folder, events=job.wanted.tensorboard), progress)
    reconciler = Reconciler(job.experiment, cluster, publisher)
    signals.tell(reconciler, cluster, progress)
    if job.past is not None:
        await reconciler.level(job.past)
    _say_what_is_left_out(machine, progress)
    _say_that_it_is_over(job, progress)

    async def identity(token: str) -> tuple[Experiment, Key, str]:
        found = cluster.attempt(token)
        if found is None:
            raise Unauthenticated("not a token of an attempt that is known here")
        return job.experiment, *found

    intake = Intake(identity)
    cluster.serve_at(await intake.open())
    try:
        with progress:
            await reconciler.run()
        signals.over()
        publisher.tables()
        await cluster.close()
    finally:
        await intake.close()
    return _summary(job, machine, out, options)


class _Signals:
    """Ctrl-C: the first ends what runs and keeps what is known; the second kills, or gives up where nothing can be recorded.

    Minded from the start: what an earlier run has left running is to end too, however early the signal comes.
    """

    NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.told = False  # what runs was told to end
        self._early = 0  # signals that came before there was anybody to tell
        self._interrupt: Callable[[], None] | None = None
        loop = asyncio.get_running_loop()
        for number in self.NUMBERS:
            loop.add_signal_handler(number, self._came)

    def tell(self, reconciler: Reconciler, cluster: Local, progress: Progress) -> None:
        """Tell these from now on, also of what came before."""

        def interrupt() -> None:
            note = "ending at once" if self.told else "stopping: running trials are told to end (once more to kill them)"
            progress.note(note)
            self.told = True
            reconciler.interrupt(cluster.kill)

        self._interrupt = interrupt
        for _ in range(self._early):
            interrupt()

    def over(self) -> None:
        """Take no more notice: nothing runs, and the tables and the summary, which are still to come, take a moment."""
        self._interrupt = lambda: None

    def _came(self) -> None:
        if self._interrupt is None:
            self._early += 1
        else:
            self._interrupt()


def _say_what_is_left_out(machine: Machine, progress: Progress) -> None:
    left_out = machine.ignored()
    if left_out:
        progress.note(f"not used on this machine: {', '.join(left_out)}; commands run in {machine.here}, with {sys.executable}")


def _say_that_it_is_over(job: Job, progress: Progress) -> None:
    if words := status.nothing_to_do(job.experiment.history):
        progress.note(words)


def _summary(job: Job, machine: Machine, out: Console, options: argparse.Namespace) -> int:
    history, name = job.experiment.history, job.wanted.name

    def tell(text: str) -> None:
        out.print(text, markup=False)

    summary.summarise(history, name, tell)
    best = status.best(history)
    if best is not None:
        tell(f"run again   {machine.again(Wanted(best.number, best.attempts - 1, best.params))}")
        tell(f"its files   {job.folder.trial(status.trial_name(name, best.number))}")
    tell(f"all files   {job.folder.path}")
    if history.finished is None:
        tell(f"interrupted; go on with: {_go_on(job, options)}")
        return INTERRUPTED
    if not status.succeeded(history):
        return FAILED
    trouble = [trial for trial in history.trials if trial.outcome is Outcome.FAILED or trial.message == IGNORED_SIGTERM]
    for trial in trouble[:10]:
        where = job.folder.trial(status.trial_name(name, trial.number)) / "error.txt"
        tell(f"trouble     {status.trial_name(name, trial.number)}: {words.why(trial)}  ({where})")
    if len(trouble) > 10:
        tell(f"trouble     and {len(trouble) - 10} more; see trials.csv")
    return TROUBLE if trouble else OK


def _say_what_is_left(job: Job, options: argparse.Namespace, *, told: bool) -> None:
    running = len(job.experiment.history.open)
    if running and told:
        left = f"{words.counted(running, 'trial')} told to end, and killed when the grace period is over"
    else:
        left = f"{words.counted(running, 'trial')} may still run, and will to the end" if running else "no trial runs any more"
    say.error(f"{left}; nothing that was recorded is lost; go on with: {_go_on(job, options)}")


def _go_on(job: Job, options: argparse.Namespace) -> str:
    return f"kubetune run {shlex.quote(options.file)} --resume{_where(job, options)}"


def _where(job: Job, options: argparse.Namespace) -> str:
    """Give the words with which --resume finds this run: its folder, if another run of the experiment is newer."""
    spaces = job.folder.path.parents[1]
    newest = ExperimentFolder.newest(spaces, job.wanted.namespace, job.wanted.name)
    if newest is None or newest.path != job.folder.path:
        return f" {shlex.quote(str(job.folder.path))}"
    return f" --results {shlex.quote(options.results)}" if options.results else ""
