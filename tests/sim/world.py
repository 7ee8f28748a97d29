"""A whole experiment on virtual time: the real plan, fold, schedulers and journal form; scripted programs in place of pods.

Records pass through their JSON form on the way into the fold, as they do in the journal. `restart` throws everything away
but the records and the pods, as a crash does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kubetune_operator.core.domains import Uniform
from kubetune_operator.core.history import History
from kubetune_operator.core.plan import Create, Pod, PodPhase, Room, plan
from kubetune_operator.core.records import Created, Drained, Edited, End, Record, Reported, decode, encode
from kubetune_operator.core.schedulers.fifo import Fifo
from kubetune_operator.core.searchers.random import Random
from kubetune_operator.core.space import Parameter, Space
from kubetune_operator.core.spec import Spec
from kubetune_operator.core.standing import Key
from kubetune_operator.core.trials import Mode, Objective, Params
from kubetune_operator.experiment import fold

Line = Mapping[str, Any] | None  # None: it says nothing for a tick
WELL = End(exit_code=0)


@dataclass(frozen=True)
class Script:
    """What one attempt's program does: report these lines, one a tick, then end so."""

    lines: Sequence[Line]
    end: End = WELL
    disrupted: str = ""  # it is taken away instead of ending
    ignores_sigterm: bool = False
    begins_after: float = 0.0  # seconds after its pod was created; until then that is Pending
    waits_for: str = ""  # what it is Pending for


Program = Callable[[int, int, Params], Script]


def spec(**changes: Any) -> Spec:
    """Give a small valid spec: one uniform parameter x, maximise accuracy."""
    start = Spec(
        objective=Objective("accuracy", Mode.MAXIMIZE),
        space=Space((Parameter("x", Uniform(low=0.0, high=1.0)),)),
        searcher=Random(),
        scheduler=Fifo(),
        seed=7,
        num_samples=6,
        max_concurrent=2,
    )
    return replace(start, **changes)


def steady(lines: int = 3, end: End = WELL) -> Program:
    """Give a program whose accuracy is its x at each of `lines` steps."""
    return lambda trial, attempt, params: Script([{"accuracy": params["x"] + step / 100} for step in range(lines)], end)


@dataclass
class World:
    """One experiment and everything around it."""

    spec: Spec
    program: Program
    now: float = 1000.0
    suspend: bool = False  # whoever runs it was told to stop
    records: list[Record] = field(default_factory=list)
    pods: dict[Key, Pod] = field(default_factory=dict)
    begins: dict[Key, float] = field(default_factory=dict)  # when each program begins
    sent: dict[Key, int] = field(default_factory=dict)  # lines that each program has written
    created: list[Key] = field(default_factory=list)  # every pod ever created, in order
    edits: list[Spec] = field(default_factory=list)  # what `spec` became, in order

    def __post_init__(self) -> None:
        self.history = History(self.spec)
        self.since = self.now  # when this process took it up
        self.wake: float | None = None  # when time alone asks for another turn
        if not self.records:
            self.record([Created("sim", "default", "uid", {}, self.now)])

    def record(self, records: Sequence[Record]) -> None:
        """Fold records, and the decisions that they lead to, as the experiment does."""
        for given in records:
            one = decode(json.loads(json.dumps(encode(given))))
            self.records.append(one)
            self.history.apply(one)
        decided = list(self.history.undecided.values())
        if decided:
            self.record(decided)

    def restart(self) -> None:
        """Forget all but what is durable."""
        self.since = self.now
        self.history = refold(self.spec, self.records, self.edits)
        if self.history.undecided:
            self.record([])

    def edit(self, **changes: Any) -> None:
        """Change mutable fields, as somebody may at any time."""
        self.edits.append(replace(self.history.spec, **changes))
        self.records.append(Edited({}, self.now))
        self.history.apply(self.records[-1], spec=self.edits[-1])

    def turn(self) -> int:
        """Turn until nothing is to be recorded; give the number of records."""
        count = 0
        while True:
            room = Room(suspend=self.suspend or self.history.spec.suspend, since=self.since)
            step = plan(self.history, self.pods, room, self.now)
            self.wake = step.wake
            self.record(step.records)
            count += len(step.records)
            for act in step.acts:
                self.act(act)
            if not step.records:
                return count

    def act(self, act: Any) -> None:
        """Create or delete, idempotently, as a cluster does."""
        key = (act.trial, act.attempt)
        if isinstance(act, Create):
            if key not in self.pods:
                self.created.append(key)
                script = self.script(key)
                self.begins[key] = self.now + script.begins_after
                self.pods[key] = Pod(f"uid-{key[0]}-{key[1]}", PodPhase.RUNNING, waits_for=script.waits_for)
                self.begin(key)
        elif key in self.pods:
            self.pods[key] = replace(self.pods[key], deleting=True)

    def script(self, key: Key) -> Script:
        """Give what the program of an attempt does."""
        return self.program(*key, self.history.trials[key[0]].params)

    def begin(self, key: Key) -> None:
        """Let a program begin whose time has come."""
        if self.pods[key].begun is None and self.begins[key] <= self.now:
            self.pods[key] = replace(self.pods[key], begun=self.begins[key], waits_for="")

    def tick(self) -> None:
        """Let a second pass in every pod: each program writes a line, or ends."""
        self.now += 1.0
        for key, pod in list(self.pods.items()):
            attempt = self.history.open.get(key)
            if attempt is None or attempt.end is not None:
                self.pods.pop(key)  # closed: nobody asks for it any more
                continue
            self.begin(key)
            if pod.phase is not PodPhase.RUNNING or not attempt.uid:
                continue
            if self.pods[key].begun is not None or pod.deleting:
                self.step(key, self.pods[key])

    def step(self, key: Key, pod: Pod) -> None:
        """Let one program write its next line, or end."""
        script = self.script(key)
        sent = self.sent.get(key, 0)
        if pod.deleting:
            end = End(signal=9, terminated=True, killed=True) if script.ignores_sigterm else End(signal=15, terminated=True)
            self.record([Drained(*key, self.history.open[key].next, end, self.now)])
        elif sent < len(script.lines):
            self.sent[key] = sent + 1
            line = script.lines[sent]
            if line is not None:
                self.record([Reported(*key, self.history.open[key].next, f"{sent:016x}", line, self.now)])
        elif script.disrupted:
            self.pods[key] = replace(pod, phase=PodPhase.ENDED, disrupted=script.disrupted)
        else:
            self.record([Drained(*key, self.history.open[key].next, script.end, self.now)])

    def run(self, ticks: int = 2000) -> World:
        """Run to the end; raise if there is none within `ticks` seconds."""
        for _ in range(ticks):
            self.turn()
            if self.history.finished or (self.suspend and not self.history.open):
                return self
            self.tick()
        raise AssertionError(f"no end after {ticks} virtual seconds: {self.history.open}")

    def outcomes(self) -> list[str]:
        """Give each trial's end as "Outcome/Reason"."""
        return [f"{trial.outcome.value if trial.outcome else trial.phase.value}/{trial.reason}" for trial in self.history.trials]


def refold(wanted: Spec, records: Sequence[Record], edits: Sequence[Spec] = ()) -> History:
    """Fold records from nothing, as a process does that starts again; `edits` is what the spec became, in order."""
    specs = iter([wanted, *edits])
    return fold(records, lambda _body: next(specs)).history


def kinds(records: Sequence[Record]) -> Iterator[str]:
    """Name the records' kinds."""
    return (type(one).__name__ for one in records)
