"""The one exception tree of the operator, and what a refusal says.

    KubetuneError
    ├── InvalidSpec        an experiment that is refused, with every problem found
    ├── JournalError
    │   ├── JournalDamaged bytes that no crash of ours can have left
    │   ├── JournalTooNew  a record or format that this version does not know
    │   ├── JournalEmpty   its first record never was safe
    │   └── JournalStale   another process has opened the journal after us
    ├── LineRefused        one report line that is not a report; it uses its number
    ├── AttemptClosed      the journal has closed this attempt (410, final)
    ├── AttemptUnbound     no pod has said hello for this attempt yet (409)
    ├── Unauthenticated    a token that does not say who speaks (401)
    ├── Forbidden          a token of something that is no trial's pod (403)
    ├── Unavailable        who speaks cannot be found out now; ask again (503)
    ├── AuthorityError     there is no certificate that sidecars would trust
    └── ClusterError       a trial could not be started or ended; says why

Only classes here: who raises and who catches is said where it happens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class KubetuneError(Exception):
    """Any error that kubetune raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an experiment: where, which rule, what was found, what to do."""

    field: str  # "spec.parameters[2].uniform.high"
    rule: str  # "must be greater than or equal to low (0.5)"
    value: Any = None  # what was found; None prints nothing
    remedy: str = ""  # "swap low and high"

    def __str__(self) -> str:
        """Give the one line a user reads."""
        got = "" if self.value is None else f", got {shown(self.value)}"
        return f"{self.field}: {self.rule}{got}" + (f"; {self.remedy}" if self.remedy else "")


class InvalidSpec(KubetuneError):
    """An experiment that is refused; `problems` has all of them, not only the first."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class JournalError(KubetuneError):
    """The journal cannot be used."""


class JournalDamaged(JournalError):
    """Bytes that no crash of ours can have left: refused, with the place, never guessed at."""

    def __init__(self, path: str, offset: int, why: str) -> None:
        super().__init__(
            f"{path}: damaged at byte {offset}: {why}; nothing was changed. "
            "Restore this file from a copy, or start the experiment anew under another name"
        )
        self.path = path
        self.offset = offset


class JournalTooNew(JournalError):
    """A record or format of a newer kubetune: never skipped."""


class JournalEmpty(JournalError):
    """A journal in which nothing was ever recorded: whoever began it was interrupted."""


class JournalStale(JournalError):
    """Another process has opened this journal after us; nothing more may be acknowledged."""


class LineRefused(KubetuneError):
    """One line is not a report; the reason goes to the journal and back to the trial's sidecar."""


class AttemptClosed(KubetuneError):
    """The journal has closed this attempt; no line of it is taken any more."""


class AttemptUnbound(KubetuneError):
    """No pod has said hello for this attempt yet, so that nobody can say whose lines these are."""


class Unauthenticated(KubetuneError):
    """The token does not say who speaks; the message says which rule it breaks, and never the token."""


class Forbidden(KubetuneError):
    """The token is good, but it is not that of a pod which is a trial's."""


class Unavailable(KubetuneError):
    """What is needed to answer cannot be had now: the API server is away, or the experiment is not loaded yet."""


class AuthorityError(KubetuneError):
    """There is no certificate that sidecars would trust; says which file, which rule, and what to do."""


class ClusterError(KubetuneError):
    """A trial could not be started or ended."""


def shown(value: Any, limit: int = 80) -> str:
    """Print a value as a message quotes it: YAML-like words, cut at `limit` characters."""
    text = {True: "true", False: "false"}.get(value) if isinstance(value, bool) else None
    text = text or repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
