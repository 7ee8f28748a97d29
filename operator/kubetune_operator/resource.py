"""The resource of one experiment: read however long the API server is away, waited for, and deleted once its time is over.

What its spec asks for is not read here, nor is its status written (`herald`); what an experiment does with it is its `life`.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import math
import time

from kubetune_operator import status
from kubetune_operator.cluster.kubernetes import Api, ApiAway, ApiRefused, Object
from kubetune_operator.core.history import History
from kubetune_operator.core.records import Close
from kubetune_operator.core.standing import Key, Trial

logger = logging.getLogger(__name__)
RESYNC = 30.0  # seconds after which the resource is read though no bell rang
AT_REST = 600.0  # the same for one that has finished: there may be thousands
DEBOUNCE = 0.05
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
RETAINED = 20  # pods


class Gone(Exception):
    """The resource is no more, or is another one by now."""


class Resource:
    """One TuneExperiment, by its uid."""

    def __init__(self, api: Api, place: tuple[str, str], uid: str) -> None:
        """`place` is namespace and name."""
        self.bell = asyncio.Event()  # rung when it may have changed
        self._api = api
        self._place = place
        self._uid = uid

    async def read(self) -> Object:
        """Give it as it is now. Raises Gone."""
        pause = FIRST_PAUSE
        while True:
            try:
                found = await self._api.experiment(*self._place)
            except (ApiAway, ApiRefused) as error:
                logger.warning("%s/%s: cannot be read: %s", *self._place, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            if found is None or found["metadata"]["uid"] != self._uid or "deletionTimestamp" in found["metadata"]:
                raise Gone
            return found

    async def namespace_uid(self, name: str) -> str:
        """Give the uid of its namespace. Raises Gone where there is none."""
        pause = FIRST_PAUSE
        while True:
            try:
                found = await self._api.namespace(name)
            except (ApiAway, ApiRefused) as error:
                logger.warning("namespace %s cannot be read: %s", name, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            if found is None:
                raise Gone
            return str(found["metadata"]["uid"])

    async def ring(self, patience: float | None = None) -> bool:
        """Wait for the bell, or for long enough; say whether it rang."""
        with contextlib.suppress(TimeoutError):
            # wait_for loses a cancellation that comes with the bell
            async with asyncio.timeout(RESYNC if patience is None else patience):
                await self.bell.wait()
        await asyncio.sleep(DEBOUNCE)
        rang = self.bell.is_set()
        self.bell.clear()
        return rang

    async def expire(self, resource: Object) -> float:
        """Delete a finished experiment whose time is over, its results never; give the seconds until then, or infinity."""
        limit = resource["spec"].get("ttlSecondsAfterFinished")
        ended = (resource.get("status") or {}).get("finishTime")
        if limit is None or not ended:
            return math.inf
        left: float = status.seconds(ended) + limit - time.time()
        if left > 0:
            return left
        try:
            await self._api.delete_experiment(*self._place, self._uid)
        except (ApiAway, ApiRefused) as error:
            logger.warning("%s/%s: was not deleted, and will be: %s", *self._place, error)
        return RESYNC


def retained(history: History, policy: str, key: Key) -> bool:
    """Say whether the pod of a closed attempt stays for its user to look at: by spec.trial.retainPods, the newest 20."""
    if policy == "None" or key[0] >= len(history.trials):
        return False

    def counts(trial: Trial) -> bool:
        return trial.close is not None and (policy == "All" or trial.close is Close.FAILED)

    if not counts(history.trials[key[0]]):
        return False
    newest = heapq.nlargest(RETAINED, (trial.closed for trial in history.trials if counts(trial)))
    return history.trials[key[0]].closed >= newest[-1]


def shows_end(resource: Object, history: History) -> bool:
    """Say whether its status shows the end that it has by now, and not one after which it went on."""
    found = (resource.get("status") or {}).get("finishTime")
    return history.finished is not None and found == status.stamp(history.finished.time)


def settled(resource: Object, volume: str) -> bool:
    """Say whether nothing is left to be done for it, so that its journal need not be read.

    Where Stalled has another reason than Finished, its journal was asked for since, and could not be had. Where the journal is
    another's, so is all of the status: that of one of the same name, which was on its way when that was deleted.
    """
    found = resource.get("status") or {}
    uid = resource["metadata"].get("uid")
    if (found.get("journal") or {}).get("uid", uid) != uid:
        return False
    why = {one["type"]: one.get("reason") for one in found.get("conditions") or () if one["status"] == "True"}
    if "Finished" not in why or why.get("Stalled", why["Finished"]) != why["Finished"]:
        return False
    if found.get("observedGeneration") != resource["metadata"].get("generation"):
        return False
    return bool((found.get("journal") or {}).get("volumeID", volume) == volume)
