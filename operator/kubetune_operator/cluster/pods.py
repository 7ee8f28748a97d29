"""One experiment's pods in Kubernetes: created, deleted, and seen through a trimmed cache.

The cache is fed by events and replaced by a LIST at the start, when the watch has listed anew, and from time to time. That a
pod is gone is believed after a GET alone. While the API server is away what was seen last stands, and what could not be done
is asked for again by the next turn.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from kubetune_operator import observed, status
from kubetune_operator.cluster import Wanted, refusals
from kubetune_operator.cluster.home import Home
from kubetune_operator.cluster.kubernetes import Api, ApiAway, ApiRefused, Object
from kubetune_operator.cluster.pauses import FIRST_PAUSE, Pauses
from kubetune_operator.cluster.troubles import Troubles
from kubetune_operator.core.plan import Pod, PodPhase
from kubetune_operator.core.standing import Key
from kubetune_operator.reserved import EXPERIMENT_UID

logger = logging.getLogger(__name__)
FRESH = 300.0  # seconds after which the cache is replaced though nothing was heard
OVERDUE = 60.0  # seconds beyond its deletionTimestamp after which a pod holds no slot any more: its node may be dead
LONGEST_PAUSE = 60.0  # seconds before the API server is asked again
SOON = 5.0  # seconds at most before what may pass at any moment is tried again; what is condemned may hold a GPU
# The same for pods that are refused, by the reason: a full quota costs one request for all of them, a policy one for each.
CREATION_PAUSE = {status.QUOTA_EXCEEDED: SOON, status.NAME_TAKEN: SOON, status.POD_REFUSED: 30.0, "": SOON}
# What only a change of the experiment mends, and how many seconds it is looked on: a registry may be away for a moment.
HOPELESS = {
    "InvalidImageName": 0.0,
    "ErrImageNeverPull": 0.0,
    "ErrImagePull": 30.0,
    "CreateContainerConfigError": 30.0,
    "CreateContainerError": 30.0,
    "RunContainerError": 30.0,
}


@dataclass(frozen=True, slots=True)
class Program:
    """A program that has begun, as it was last seen."""

    pod: str
    container: str
    ended: bool
    deleting: bool  # its pod is


@dataclass(frozen=True, slots=True)
class _Seen:
    """A pod as it was last seen."""

    pod: Object  # trimmed
    there: bool = True  # False: an event or a GET said that it is gone


class Manifest(Protocol):
    """Makes pods."""

    def __call__(self, wanted: Wanted, /, *, restricted: bool) -> Object:
        """Give an attempt's pod; `restricted`: with the defaults that Pod Security asks for, where the template is silent."""
        ...


class Pods:
    """The cluster, as one experiment has it."""

    def __init__(
        self,
        api: Api,
        home: Home,
        manifest: Manifest,
        bound: Callable[[], Mapping[Key, str]],
        kept: Callable[[Key], bool],
        tell: Callable[[str, str], None],
    ) -> None:
        """Begin to look after one experiment's pods.

        `bound` gives the open attempts with their pods' uids, `kept` says whether the pod of a closed
        one is left for its user to look at, `tell` takes a reason and a message.
        """
        self.woke = asyncio.Event()
        self._api = api
        self._home = home
        self._manifest = manifest
        self._restricted = False  # whether pods are: the namespace asks for it
        self._bound = bound
        self._kept = kept
        self._seen: dict[Key, _Seen] = {}
        self._left: dict[Key, _Seen] = {}  # for their user to look at, as long as they are kept
        self._troubles = Troubles(home.name, tell)
        self._listed_at: float | None = None
        self._pause = FIRST_PAUSE
        self._creating, self._deleting = Pauses(), Pauses()

    @property
    def troubles(self) -> Mapping[Key, observed.Trouble]:
        """What keeps pods from beginning, as last seen."""
        return self._troubles.known()

    @property
    def cleared(self) -> bool:
        """Say whether `clear` has nothing left to do, as far as is known."""
        return not self._seen

    def capacity(self) -> int | None:
        """Set no bound: the scheduler of the cluster does."""
        return None

    def hear(self, pod: Object, *, deleted: bool) -> None:
        """Take note of an event on one of the experiment's pods."""
        key = self._home.key(pod)
        if key is None:
            return
        known = self._seen.get(key)
        if known is None or known.pod["metadata"]["uid"] == pod["metadata"]["uid"] or not deleted:
            self._keep(key, pod, there=not deleted)
        self.woke.set()

    def distrust(self) -> None:
        """Take note that events may have been missed."""
        self._listed_at = None
        self.woke.set()

    async def observe(self) -> Mapping[Key, Pod]:
        """Give the pods of all open attempts."""
        if self._listed_at is None or time.monotonic() - self._listed_at > FRESH:
            await self._list()
        pods: dict[Key, Pod] = {}
        troubles: dict[Key, observed.Trouble] = {}
        bound = self._bound()
        await self._clear(key for key in self._seen if key not in bound)
        for key, said in bound.items():
            seen = self._seen.get(key)
            uid = said or (seen.pod["metadata"]["uid"] if seen is not None else "")
            if uid and (seen is None or not seen.there or seen.pod["metadata"]["uid"] != uid):
                seen = await self._confirm(key, uid, seen)
            if seen is not None:
                pods[key] = self._look(key, seen, troubles)
        wanted = bound.keys() - pods.keys()
        self._creating.keep({*wanted, status.QUOTA_EXCEEDED})
        self._troubles.observe(troubles, wanted=wanted)
        return pods

    async def rehearse(self, wanted: Wanted) -> float:
        """Ask whether the first pod would be taken; give the seconds after which to ask again, and 0 where that is not needed.

        One that would be refused for now is trouble, as with `create`. Raises ApiRefused where the refusal stays.
        """
        key = (wanted.trial, wanted.attempt)
        if left := self._creating.left(key):
            return left
        try:
            await self._ask(wanted, dry_run=True)
        except (ApiAway, ApiRefused) as error:
            if refusals.stays(error):
                self._troubles.none_refused()
                raise
            if not refusals.says_nothing(error):
                self._refuse(key, refusals.reason(error), str(error))
                return self._creating.left(key)
        self._creating.end(key)
        self._troubles.none_refused()
        return 0.0

    async def create(self, wanted: Wanted) -> None:
        """Create the pod of this attempt. One that cannot be had is trouble, and is asked for again, but not at every turn."""
        key = (wanted.trial, wanted.attempt)
        if self._creating.left(key):
            return
        if (full := self._troubles.full) is not None and self._creating.left(status.QUOTA_EXCEEDED):
            self._troubles.share(key, full)
            return
        try:
            made = await self._make(wanted)
        except (ApiAway, ApiRefused) as error:
            self._refuse(key, refusals.reason(error), str(error))
            return
        if made is None:
            self._refuse(key, status.NAME_TAKEN, "another pod has that name, which is not this experiment's")
            return
        self._creating.end(key)
        self._creating.end(status.QUOTA_EXCEEDED)
        self._troubles.have(key)
        self._keep(key, made)
        self.woke.set()

    async def delete(self, key: Key) -> None:
        """Delete the pod of this attempt."""
        if (seen := self._seen.get(key)) is not None and seen.there:
            await self._delete(key, seen)

    async def forget(self, key: Key) -> None:
        """Take note that an attempt is closed."""
        await self._clear({key} & self._seen.keys())

    async def clear(self) -> None:
        """Once the experiment has ended: delete what is left of it, for as long as this runs; no turn does any more."""
        while True:
            self.woke.clear()
            await self._clear(self._seen)
            await self.woke.wait()

    async def owns(self, key: Key, uid: str) -> bool:
        """Say whether this pod is one that we made for that attempt. Raises ApiAway where that cannot be known."""
        seen = self._seen.get(key)
        if seen is None or seen.pod["metadata"]["uid"] != uid:
            pod = await self._api.pod(self._home.namespace, self._home.name(key))
            if pod is None or pod["metadata"]["uid"] != uid or self._home.key(pod) != key:
                return False
            self._keep(key, pod)
        return True

    def program(self, key: Key) -> Program | None:
        """Give an attempt's program; None before it has begun, and when nothing is known of its pod any more."""
        seen = self._seen.get(key)
        container = observed.begun(seen.pod) if seen is not None else ""
        if seen is None or not container:
            return None
        found = observed.see(seen.pod)
        ended = not seen.there or found.end is not None or found.phase is not PodPhase.RUNNING
        return Program(self._home.name(key), container, ended, found.deleting)

    async def _delete(self, key: Key, seen: _Seen) -> bool:
        """Delete a pod, unless that has failed just now; say whether it is on its way out."""
        metadata = seen.pod["metadata"]
        if self._deleting.left(key):
            return False
        try:
            await self._api.delete_pod(self._home.namespace, metadata["name"], metadata["uid"])
        except (ApiAway, ApiRefused) as error:
            logger.warning("%s: pod %s was not deleted, and will be: %s", self._home.experiment, metadata["name"], error)
            asyncio.get_running_loop().call_later(self._deleting.extend(key, longest=SOON), self.woke.set)
            return False
        self._deleting.end(key)
        if self._seen.get(key) is seen and "deletionTimestamp" not in metadata:  # until the event comes, where it has not yet
            marked = {**seen.pod, "metadata": {**metadata, "deletionTimestamp": status.stamp(time.time())}}
            self._seen[key] = replace(seen, pod=marked)
        return True

    async def _clear(self, keys: Iterable[Key]) -> None:
        """Let go of the pods of closed attempts: each is deleted, unless it is on its way out, or kept."""
        for key in list(keys):
            seen = self._seen[key]
            goes = seen.there and "deletionTimestamp" not in seen.pod["metadata"]
            if goes and self._kept(key):
                self._leave(key, seen)
                goes = False
            elif self._left:
                self._left.pop(key, None)
            if not goes or await self._delete(key, seen):
                self._seen.pop(key, None)
                self._deleting.end(key)

    def _leave(self, key: Key, seen: _Seen) -> None:
        """Leave the pod of a closed attempt to its user; older ones that are not kept any more, as this one is, go then."""
        self._left[key] = seen
        while not self._kept(oldest := next(iter(self._left))):
            self._seen.setdefault(oldest, self._left.pop(oldest))
            self.woke.set()

    async def _list(self) -> None:
        """Replace the cache; where nothing was ever listed, wait for the API server however long it is away."""
        selector = f"{EXPERIMENT_UID}={self._home.uid}"
        pods: Sequence[Object] | None = None
        while pods is None:
            try:
                pods = await self._api.pods(self._home.namespace, selector)
            except (ApiAway, ApiRefused) as error:
                logger.warning("%s: its pods cannot be listed: %s", self._home.experiment, error)
                if self._listed_at is not None or self._seen:
                    self._later()
                    return
                await asyncio.sleep(self._pause)
                self._pause = min(self._pause * 2, LONGEST_PAUSE)
        self._pause = FIRST_PAUSE
        self._listed_at = time.monotonic()
        found = {key: pod for pod in pods if (key := self._home.key(pod)) is not None}
        self._seen = {key: seen if key in found else replace(seen, there=False) for key, seen in self._seen.items()}
        for key, pod in found.items():
            self._keep(key, pod)

    async def _confirm(self, key: Key, uid: str, seen: _Seen | None) -> _Seen | None:
        """Ask for a pod that seems to be gone; None if it is and was never seen."""
        try:
            pod = await self._api.pod(self._home.namespace, self._home.name(key))
        except (ApiAway, ApiRefused) as error:
            logger.warning("%s: pod %s cannot be looked at: %s", self._home.experiment, self._home.name(key), error)
            self._later()
            return replace(seen, there=True) if seen else _Seen({"metadata": {"uid": uid, "name": self._home.name(key)}})
        if pod is not None and pod["metadata"]["uid"] == uid:
            self._keep(key, pod)
        elif seen is not None and seen.pod["metadata"]["uid"] != uid:
            self._seen.pop(key, None)
            return None
        return self._seen.get(key)

    async def _make(self, wanted: Wanted) -> Object | None:
        """Create a pod, or give the one that we made before; None where another has its name."""
        try:
            return await self._ask(wanted)
        except ApiRefused as refused:
            if refused.reason != "AlreadyExists":
                raise
            pod = await self._api.pod(self._home.namespace, self._home.name((wanted.trial, wanted.attempt)))
            if pod is None:  # it is gone by now
                raise
            return pod if self._home.key(pod) is not None else None

    async def _ask(self, wanted: Wanted, *, dry_run: bool = False) -> Object:
        """Ask for a pod as it was written; where Pod Security refuses that, restricted, and then so for all that follow."""
        if not self._restricted:
            try:
                return await self._api.create_pod(self._home.namespace, self._manifest(wanted, restricted=False), dry_run=dry_run)
            except ApiRefused as refused:
                if not refusals.by_pod_security(refused):
                    raise
        made = await self._api.create_pod(self._home.namespace, self._manifest(wanted, restricted=True), dry_run=dry_run)
        self._restricted = True
        return made

    def _refuse(self, key: Key, reason: str, message: str) -> None:
        """Take note that a pod is not to be had now; without a reason it is the moment, and nobody is told."""
        full = reason == status.QUOTA_EXCEEDED
        pause = self._creating.extend(reason if full else key, longest=CREATION_PAUSE[reason])
        asyncio.get_running_loop().call_later(pause, self.woke.set)
        if not reason:
            logger.warning("%s: pod %s was not created, and will be: %s", self._home.experiment, self._home.name(key), message)
            return
        self._troubles.refuse(key, reason, message)

    def _keep(self, key: Key, pod: Object, *, there: bool = True) -> None:
        """Take note of a pod as it was seen; an answer that is older than the event which came before it says nothing new."""
        seen = self._seen.get(key)
        if seen is not None and observed.older(pod, seen.pod):
            return
        before = seen.pod if seen is not None and seen.pod["metadata"]["uid"] == pod["metadata"]["uid"] else None
        self._seen[key] = _Seen(observed.trim(pod, before=before), there)

    def _look(self, key: Key, seen: _Seen, troubles: dict[Key, observed.Trouble]) -> Pod:
        found = observed.see(seen.pod)
        if not seen.there:
            return replace(found, phase=PodPhase.GONE, deleting=True)
        if found.phase is not PodPhase.RUNNING:
            return found
        if observed.overdue(seen.pod, time.time(), OVERDUE):
            return replace(found, phase=PodPhase.GONE, deleting=True)
        due = observed.due(seen.pod, OVERDUE)
        if due is not None:
            asyncio.get_running_loop().call_later(max(0.1, due - time.time()), self.woke.set)
        trouble = observed.trouble(seen.pod, time.time())
        if found.begun is None:
            found = replace(found, waits_for=observed.waits_for(seen.pod, trouble))
        if trouble is None:
            return found
        troubles[key] = trouble
        patience = HOPELESS.get(trouble.reason)
        if patience is None or time.time() < trouble.since + patience:
            return found
        return replace(found, failure=(trouble.reason, trouble.message))

    def _later(self) -> None:
        """Make another turn when it may be worth it."""
        asyncio.get_running_loop().call_later(self._pause, self.woke.set)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
