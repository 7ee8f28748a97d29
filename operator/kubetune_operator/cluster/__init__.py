"""Where trials run: the interface between an experiment and a cluster.

Two things implement it: this machine's processes (`local`) and Kubernetes (`pods`). Both create, delete and observe pods by
trial and attempt; neither knows what a trial is for. Everything is idempotent: a turn repeated after a crash does no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from kubetune_operator.core.plan import Pod
from kubetune_operator.core.standing import Key
from kubetune_operator.core.trials import Params


@dataclass(frozen=True, slots=True)
class Wanted:
    """The pod of one attempt, as it is to be."""

    trial: int
    attempt: int
    params: Params


class Cluster(Protocol):
    """Runs the attempts of one experiment."""

    woke: asyncio.Event  # set when a pod has changed

    def capacity(self) -> int | None:
        """Say how many attempts fit at once; None where the cluster sets no bound of its own."""
        ...

    async def observe(self) -> Mapping[Key, Pod]:
        """Give the pods of all open attempts, as seen now."""
        ...

    async def create(self, wanted: Wanted) -> None:
        """Create this pod, if there is none of that trial and attempt."""
        ...

    async def delete(self, key: Key) -> None:
        """Delete this pod: SIGTERM, then its grace period, then SIGKILL."""
        ...

    async def forget(self, key: Key) -> None:
        """Take note that the attempt is closed; what was kept for it may go."""
        ...
