"""A whole experiment on a virtual clock: the real plan, fold, schedulers and journal; learning curves in place of pods.

An attempt's pod is there as soon as it is created; its program begins `start_seconds` later and reports as its curve says.
A STOP ends it at that report. Deterministic: what happens at one instant happens in the order of the trials, and a turn follows.
Where curves come from, and what is said of it all, is not known here.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kubetune_operator import status
from kubetune_operator.core.history import History
from kubetune_operator.core.plan import Act, Create, Pod, PodPhase, Room, plan
from kubetune_operator.core.records import Created, Drained, End, Record, Reported, encode
from kubetune_operator.core.space import Draw, Space
from kubetune_operator.core.spec import Spec
from kubetune_operator.core.standing import Key, Trial
from kubetune_operator.core.trials import Params
from kubetune_operator.curves import Curve
from kubetune_operator.journal import Journal

GROUP = 1_000  # records that share an fsync: as in an experiment it is all that has come meanwhile, and here time stands still
UNNAMED = Created("simulated", "default", "", {}, 0.0)
TERMINATED = End(signal=15, terminated=True)
_ROUNDING = 1e-9  # of a limit: what is due at it, but for the rounding of a sum of seconds, still happens


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a simulation is told beside the experiment and the curves."""

    start_seconds: float = 0.0  # from the creation of a pod to the start of its program
    until: float = math.inf  # virtual seconds: whatever runs then has made the reports that it has made
    budget: float = math.inf  # worker seconds, likewise; a worker is used from a pod's creation to its end
    created: Created = UNNAMED  # the journal's first record; the clock begins at its time


@dataclass(frozen=True, slots=True)
class Given:
    """The searcher whose trials have the curves' parameters, in their order."""

    curves: Sequence[Curve] = field(repr=False)

    def begin(self, space: Space, seed: int) -> Given:
        """Know everything from the start."""
        return self

    def suggest(self, number: int) -> Draw:
        """Give the parameters of the curve of that number."""
        return Draw(dict(self.curves[number].params))

    def suggested(self, trial: int, params: Params) -> None:
        """Remember nothing: no suggestion depends on another."""

    def told(self, trial: int, loss: float | None, *, complete: bool) -> None:
        """Learn nothing."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """How it went."""

    history: History  # each trial's state, value and number of reports
    seconds: float  # on the virtual clock
    worker_seconds: float
    past_end: tuple[int, ...]  # trials that would have gone on past the end of a curve that is cut: all after that is a guess

    @property
    def best(self) -> Trial | None:
        """Give the trial that the objective names best, if any has a finite value."""
        return status.best(self.history)


def simulate(
    spec: Spec,
    curves: Sequence[Curve],
    setting: Setting | None = None,
    *,
    journal: Journal | None = None,
    watch: Callable[[History], None] | None = None,
) -> Simulated:
    """Run an experiment in which trial number i goes as `curves[i]`; there are as many trials as curves.

    Of the spec everything counts but the search space, the searcher and the number of trials. `journal`, which must be new, gets
    every record; `watch` is called every now and then. Raises OSError where the journal cannot be written.
    """
    wanted = replace(spec, searcher=Given(curves), space=Space(), num_samples=len(curves), suspend=False)
    world = _World(wanted, curves, setting or Setting(), journal, watch)
    world.run()
    return Simulated(world.history, world.now - world.setting.created.time, world.worker_seconds, tuple(sorted(world.past_end)))


class _World:
    """The state of one simulation."""

    def __init__(
        self,
        spec: Spec,
        curves: Sequence[Curve],
        setting: Setting,
        journal: Journal | None,
        watch: Callable[[History], None] | None,
    ) -> None:
        self.history = History(spec)
        self.setting = setting
        self.now = setting.created.time
        self.worker_seconds = 0.0
        self.past_end: set[int] = set()
        self._curves = curves
        self._journal = journal
        self._watch = watch
        self._unwritten: list[dict[str, Any]] = []
        self._records = 0
        self._pods: dict[Key, Pod] = {}  # of open attempts
        self._due: list[tuple[float, int, int, int]] = []  # a heap: when, trial, attempt, which report (or its end)

    def run(self) -> None:
        """Go from instant to instant, until nothing more happens or a limit is reached."""
        until = self.setting.created.time + self.setting.until
        self._record([self.setting.created])
        wake = self._turn()
        while not self.history.finished:
            at = min(self._due[0][0] if self._due else math.inf, math.inf if wake is None else wake)
            if math.isinf(at):
                break
            last = min(until, self.now + self._left() / len(self._pods) if self._pods else math.inf)
            if at > last + abs(last) * _ROUNDING:
                self._pass(last)
                break
            self._pass(at)
            while self._due and self._due[0][0] <= self.now:
                self._happen(*heapq.heappop(self._due)[1:])
            wake = self._turn()
        self._write()

    def _left(self) -> float:
        return max(0.0, self.setting.budget - self.worker_seconds)

    def _pass(self, at: float) -> None:
        """Let time pass."""
        self.worker_seconds += (at - self.now) * len(self._pods)
        self.now = at

    def _turn(self) -> float | None:
        """Turn until there is nothing to record and nothing to do."""
        while True:
            step = plan(self.history, self._pods, Room(), self.now)
            self._record(step.records)
            done = [self._act(act) for act in step.acts]
            if not step.records and not any(done):
                return step.wake

    def _act(self, act: Act) -> bool:
        """Create or delete a pod; say whether that has changed anything."""
        key = (act.trial, act.attempt)
        if isinstance(act, Create):
            if key in self._pods:
                return False
            begun = self.now + self.setting.start_seconds
            self._pods[key] = Pod(f"{act.trial}-{act.attempt}", PodPhase.RUNNING, begun=begun)
            self._next(key, 0, begun)
        else:
            self._end(key, TERMINATED)
        return True

    def _next(self, key: Key, report: int, since: float) -> None:
        """Have a report, or the end behind the last one, happen when it is due."""
        curve = self._curves[key[0]]
        wait = curve.seconds[report] if report < len(curve.reports) else curve.closing
        heapq.heappush(self._due, (since + wait, *key, report))

    def _happen(self, trial: int, attempt: int, report: int) -> None:
        """Let a program report, or end."""
        key, curve = (trial, attempt), self._curves[trial]
        if key not in self._pods:
            return  # it was stopped before
        if report == len(curve.reports):
            if curve.cut:
                self.past_end.add(trial)
            self._end(key, curve.end)
            return
        # Lines are numbered as in a pod; no line is ever sent again, so that none needs a digest.
        self._record([Reported(trial, attempt, report, "", curve.reports[report], self.now)])
        if self.history.open[key].intent is not None:
            return  # its pod is deleted at the turn that follows
        self._next(key, report + 1, self.now)

    def _end(self, key: Key, end: End) -> None:
        del self._pods[key]
        self._record([Drained(*key, self.history.open[key].next, end, self.now)])

    def _record(self, records: Iterable[Record]) -> None:
        """Fold records, and the decisions that they lead to, and write them down."""
        for record in records:
            self._fold(record)
        for decided in list(self.history.undecided.values()):
            self._fold(decided)

    def _fold(self, record: Record) -> None:
        self.history.apply(record)
        self._records += 1
        if self._journal:
            self._unwritten.append(encode(record))
        if self._records % GROUP == 0:
            self._write()
            if self._watch:
                self._watch(self.history)

    def _write(self) -> None:
        if self._journal and self._unwritten:
            self._journal.append(self._unwritten)
            self._unwritten.clear()
