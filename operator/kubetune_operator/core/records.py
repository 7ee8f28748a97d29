"""The events of an experiment, as the journal keeps them: one frozen class a kind, and their JSON form.

Facts only: what they add up to is in `history`. Where and how they are stored is the journal's business.
A kind or a field that this version does not know is JournalTooNew, never skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any

from kubetune.wire import unspell
from kubetune_operator.core.reports import flatten, spelled
from kubetune_operator.core.trials import Decision, Flat, Metrics, Params
from kubetune_operator.errors import JournalTooNew


class Intent(Enum):
    """Why we end an attempt ourselves."""

    STOP = "Stop"  # a decision on one of its reports
    CANCEL = "Cancel"  # the experiment ends
    SUSPEND = "Suspend"  # it will be started anew
    FAIL = "Fail"  # it broke a rule, such as a report file that was rewritten


class Outcome(Enum):
    """How a trial ended."""

    SUCCEEDED = "Succeeded"  # it had its whole budget: it ran to its end, or met a criterion of `stop`
    STOPPED = "Stopped"  # early, by the scheduler
    FAILED = "Failed"
    CANCELLED = "Cancelled"  # the experiment ended before it


class Close(Enum):
    """How an attempt closed: what becomes of the trial follows from it."""

    SUCCEEDED = "Succeeded"
    INTENDED = "Intended"
    DISRUPTED = "Disrupted"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class End:
    """How a program ended, as far as its parent could see."""

    exit_code: int | None = None
    signal: int | None = None
    terminated: bool = False  # a SIGTERM from us came before its end
    killed: bool = False  # it needed a SIGKILL after the grace period
    error: str | None = None  # it could not be started, or was lost: why
    oom: bool = False
    tail: str = ""  # the last it said on stderr


@dataclass(frozen=True, slots=True)
class Created:
    """The experiment exists; `body` is the fully defaulted resource, our truth about the spec from now on."""

    name: str
    namespace: str
    uid: str
    body: Mapping[str, Any]
    time: float


@dataclass(frozen=True, slots=True)
class Edited:
    """A mutable field was changed; `body` is the whole resource after it."""

    body: Mapping[str, Any]
    time: float


@dataclass(frozen=True, slots=True)
class Suggested:
    """A trial exists, with these parameters."""

    trial: int
    params: Params
    time: float
    note: str = ""  # an expression of the search space that could not be evaluated, and why


@dataclass(frozen=True, slots=True)
class Skipped:
    """Draw number `number` gives no trial: no try met the constraints."""

    number: int
    reason: str
    time: float


@dataclass(frozen=True, slots=True)
class Started:
    """An attempt of a trial is wanted; its pod is created after this is durable."""

    trial: int
    attempt: int
    time: float


@dataclass(frozen=True, slots=True)
class Bound:
    """The attempt has its pod, this one and no other."""

    trial: int
    attempt: int
    uid: str
    time: float


@dataclass(frozen=True, slots=True)
class Reported:
    """One accepted line."""

    trial: int
    attempt: int
    number: int
    digest: str  # of the line's bytes, so that a known number with another content is noticed
    metrics: Metrics
    time: float
    flat: Flat = field(init=False, compare=False, repr=False)  # the same by "a/b" names; not written, since it follows

    def __post_init__(self) -> None:
        """Join the nested names, once for all who ask."""
        object.__setattr__(self, "flat", flatten(self.metrics))


@dataclass(frozen=True, slots=True)
class Refused:
    """One line that is not a report; it has used its number."""

    trial: int
    attempt: int
    number: int
    digest: str
    reason: str
    time: float


@dataclass(frozen=True, slots=True)
class Decided:
    """What a report led to. It counts as it stands, whatever a later version would decide."""

    trial: int
    attempt: int
    number: int
    decision: Decision
    reason: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Condemned:
    """We end this attempt, for a reason other than a decision on its report."""

    trial: int
    attempt: int
    intent: Intent
    reason: str
    message: str
    time: float


@dataclass(frozen=True, slots=True)
class Drained:
    """The sidecar has sent everything: the last number wanted, and how the program ended."""

    trial: int
    attempt: int
    next: int
    end: End
    time: float


@dataclass(frozen=True, slots=True)
class Closed:
    """No line of this attempt is taken any more."""

    trial: int
    attempt: int
    close: Close
    reason: str
    message: str
    time: float
    tail: str = ""  # of a failed one: the last it said on stderr


@dataclass(frozen=True, slots=True)
class Ended:
    """The trial will not be started again."""

    trial: int
    outcome: Outcome
    reason: str
    message: str
    time: float


@dataclass(frozen=True, slots=True)
class Charged:
    """So many seconds of the time budget are spent in all, up to this moment."""

    seconds: float
    time: float


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Whoever ran the experiment was told to stop, and nothing of it runs any more; the next attempt goes on with it."""

    time: float


@dataclass(frozen=True, slots=True)
class Ending:
    """Nothing new starts, and what runs is cancelled."""

    reason: str
    message: str
    time: float


@dataclass(frozen=True, slots=True)
class Finished:
    """The experiment is over."""

    reason: str
    message: str
    time: float


@dataclass(frozen=True, slots=True)
class Reopened:
    """It goes on after all: what ended it does not hold any more, since the spec was changed."""

    time: float


Record = (
    Created
    | Edited
    | Suggested
    | Skipped
    | Started
    | Bound
    | Reported
    | Refused
    | Decided
    | Condemned
    | Drained
    | Closed
    | Ended
    | Charged
    | Interrupted
    | Ending
    | Finished
    | Reopened
)
KINDS: dict[str, type[Record]] = {
    kind.__name__.lower(): kind
    for kind in (
        Created,
        Edited,
        Suggested,
        Skipped,
        Started,
        Bound,
        Reported,
        Refused,
        Decided,
        Condemned,
        Drained,
        Closed,
        Ended,
        Charged,
        Interrupted,
        Ending,
        Finished,
        Reopened,
    )
}
_ENUMS: dict[str, type[Enum]] = {"decision": Decision, "intent": Intent, "outcome": Outcome, "close": Close}
_SPELLED = frozenset({"metrics", "facts"})  # the fields that may hold what JSON has no number for


def encode(record: Record) -> dict[str, Any]:
    """Give a record as JSON can hold it, its kind first."""
    encoded: dict[str, Any] = {"kind": type(record).__name__.lower()}
    for name in _names(type(record)):
        value = getattr(record, name)
        if isinstance(value, Enum):
            value = value.value
        elif isinstance(value, End):
            value = {part: getattr(value, part) for part in _names(End)}
        elif name in _SPELLED:
            value = spelled(value)
        encoded[name] = value
    return encoded


def decode(encoded: Mapping[str, Any]) -> Record:
    """Give back what `encode` was given. Raises JournalTooNew for a kind, field or word this version does not know."""
    values = dict(encoded)
    name = values.pop("kind", None)
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise JournalTooNew(f"a record of kind {name!r} is not known to this version; run it with the kubetune that wrote it")
    try:
        for key, enum in _ENUMS.items():
            if key in values:
                values[key] = enum(values[key])
        if "end" in values:
            values["end"] = End(**values["end"])
        for key in _SPELLED & values.keys():
            values[key] = _unspell(values[key])
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise JournalTooNew(f"a record of kind {name!r} is not as this version writes it: {error}") from error


def _names(kind: type) -> tuple[str, ...]:
    names = _FIELDS.get(kind)
    if names is None:
        names = _FIELDS[kind] = tuple(one.name for one in fields(kind) if one.init)
    return names


_FIELDS: dict[type, tuple[str, ...]] = {}


def _unspell(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _unspell(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_unspell(inner) for inner in value]
    return unspell(value)
