"""The life of one TuneExperiment in the cluster: taken up, run, edited, finished, gone.

Journal, files and reconcile loop are the same as on this machine; here is what only Kubernetes has: the resource, which is
read again whenever the bell rings, and its status, which says where the journal is before the first pod exists.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from typing import Any

from kubetune_operator import status
from kubetune_operator.checked import MUTABLE, check, spec_of
from kubetune_operator.cluster import Wanted
from kubetune_operator.cluster.home import Home
from kubetune_operator.cluster.kubernetes import ApiAway, ApiRefused, Object
from kubetune_operator.core.endings import goes_on
from kubetune_operator.core.plan import likely_params
from kubetune_operator.core.records import Ending
from kubetune_operator.core.standing import Key
from kubetune_operator.errors import InvalidSpec, KubetuneError, Unavailable
from kubetune_operator.experiment import NO_SPACE, Experiment
from kubetune_operator.herald import Herald
from kubetune_operator.opened import Opened, Shared, put_together
from kubetune_operator.opening import Stall, open_journal
from kubetune_operator.resource import AT_REST, FIRST_PAUSE, LONGEST_PAUSE, RESYNC, Gone, Resource, settled, shows_end
from kubetune_operator.shown import Shown

logger = logging.getLogger(__name__)
MAX_FAULT = 500  # characters
IN_THE_WAY = (KubetuneError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)  # of one folder alone


class Life:
    """One experiment, by the uid of its resource."""

    def __init__(self, shared: Shared, namespace: str, name: str, uid: str) -> None:
        self.uid = uid
        self._shared = shared
        self._place = (namespace, name)
        self._resource = Resource(shared.api, self._place, uid)
        self._shown = Shown(shared.volume, shared.settings.endpoint, self._place, uid)
        about = {
            "apiVersion": "kubetune.dev/v1alpha1",
            "kind": "TuneExperiment",
            "namespace": namespace,
            "name": name,
            "uid": uid,
        }
        self._herald = Herald(shared.events, about, self._offer)
        self._open: Opened | None = None
        self._generation = 0  # of the spec that was taken over
        self._patience = FIRST_PAUSE  # seconds until it is tried again to take it up
        self._told_stall = ("", "")  # reason and message
        self._answered = -1  # the generation whose edit was answered
        self._full_since = 0.0  # since when nothing can be recorded; 0: it can
        self._over = False  # for good, so that its trials are told 410 and not to wait

    async def run(self) -> None:
        """Live until the resource is gone. Raises what the whole operator is to end with: OSError of its volume."""
        pause = FIRST_PAUSE
        try:
            while True:
                try:
                    await self._live()
                except (Gone, OSError):
                    raise
                except Exception as error:
                    # A fault of ours that this experiment brings out: others are not to end with it. All that it knows is read
                    # again from its journal, as after a restart.
                    logger.exception("%s/%s: a fault of kubetune's; it is begun anew in %.0f s", *self._place, pause)
                    with contextlib.suppress(Exception):  # what failed may fail once more in the last that is written
                        await self._let_go()
                    await self._say_fault(error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        except Gone:
            logger.info("%s/%s: is gone", *self._place)
        finally:
            await self._let_go()

    async def _live(self) -> None:
        """Take it up, work on it, wait for what may come of it: for ever. Raises Gone."""
        while True:
            resource = await self._resource.read()
            if self._open is None:
                self._over = settled(resource, self._shared.volume.identity)
                if not self._over:
                    await self._take_up(resource)
            if self._open is not None:
                if await self._work(self._open):
                    self._over = True
                    await self._let_go()
                continue  # the resource is another by now: by what it was, its time may be over long since
            left = await self._resource.expire(resource)
            if not await self._resource.ring(min(left, AT_REST if self._over else self._patience)):
                self._patience = min(2 * self._patience, RESYNC)

    async def _say_fault(self, error: Exception) -> None:
        said = f"{type(error).__name__}: {error}"[:MAX_FAULT]
        stall = Stall("InternalError", f"a fault of kubetune's, which is tried again; its log has more, please report it: {said}")
        self._stall(await self._resource.read(), stall)

    async def _let_go(self) -> None:
        """Hold nothing of it in memory any more; should it go on, its journal is read again."""
        opened, self._open = self._open, None
        self._shared.statuses.forget(self._place)
        if opened is not None:
            await opened.close()

    def hear_pod(self, pod: Object, *, deleted: bool) -> None:
        """Take note of an event on one of its pods."""
        if self._open is not None:
            self._open.pods.hear(pod, deleted=deleted)

    def ring(self) -> None:
        """Take note that the resource may have changed."""
        self._resource.bell.set()

    def distrust(self) -> None:
        """Take note that events may have been missed."""
        self.ring()
        if self._open is not None:
            self._open.pods.distrust()

    async def keep(self, experiment: Experiment, key: Key, stream: str, offset: int, data: bytes) -> tuple[int, bool]:
        """Keep a piece of a trial's output; give the offset wanted next, and whether no more is.

        Raises OSError, and Unavailable where another experiment has come to this place since the piece was announced.
        """
        opened = self._open
        if opened is None or opened.experiment is not experiment:
            raise Unavailable("the experiment is not open")
        return await opened.copies.keep(key, stream, offset, data)

    async def owner_of(self, key: Key, uid: str) -> Experiment | None:
        """Give the experiment that this pod's reports go to; None where the pod is not one that we made.

        Raises ApiAway while that cannot be known, LookupError while the experiment is not open (yet).
        """
        if self._open is None:
            if self._over:
                return None
            raise LookupError(f"experiment {self._place[1]} is not open yet")
        return self._open.experiment if await self._open.pods.owns(key, uid) else None

    # --- taking it up ---

    async def _take_up(self, resource: Object) -> None:
        """Open its journal, or begin one; where that cannot be, say so in its status."""
        try:
            await self._shared.volume.settle(self._place[0], self._resource.namespace_uid)
            async with self._shared.replaying.turn():
                await self._begin(resource)
        except Stall as stall:
            self._over, self._patience = stall.final, RESYNC
            self._stall(resource, stall)
            return
        except IN_THE_WAY as error:
            remedy = "move away what is there: it goes on by itself"
            self._stall(resource, Stall("FolderUnusable", f"its folder on the volume cannot be had: {error}; {remedy}"))
            return
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            self._stall(resource, Stall("VolumeFull", self._shown.full(error)))
            return
        await self._declare()

    async def _begin(self, resource: Object) -> None:
        """Open its journal and bring the files level, in a thread: a long one takes seconds. Raises Stall or OSError.

        Until that is done nothing is taken of its trials: the thread reads what a report would change.
        """
        found = await asyncio.to_thread(open_journal, self._shared.volume, resource)
        self._generation = (resource.get("status") or {}).get("observedGeneration", 0)
        opened = put_together(self._shared, Home(*self._place, self.uid), found, self._herald)
        try:
            if found.past is not None:
                await opened.reconciler.level(found.past)
        except BaseException:
            await opened.experiment.close()
            raise
        self._open = opened

    async def _declare(self) -> None:
        """Say in the status where the journal is, and have the first pod approved: before there is any."""
        opened = self._open
        assert opened is not None  # noqa: S101 - just set
        pause = FIRST_PAUSE
        while True:
            try:
                await self._shared.statuses.write(self._place, {"journal": self._shown.journal()})
                await self._edit(await self._resource.read())
                await self._rehearse(opened)
            except (ApiAway, ApiRefused) as error:
                if isinstance(error, ApiRefused) and error.status == 404:
                    raise Gone from error
                logger.warning("%s/%s: cannot be begun: %s", *self._place, error)
            except OSError as error:
                self._hold(error)
            else:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _rehearse(self, opened: Opened) -> None:
        """Have the first pod approved. A refusal that stays ends the experiment; any other is waited for, edits and all.

        One that has trials is past that: a policy that came in between refuses its pods, and that is said of them.
        """
        history = opened.experiment.history
        if history.trials or history.ending:
            return
        first = Wanted(0, 0, likely_params(history))
        try:
            while pause := await opened.pods.rehearse(first):
                self._offer()
                await self._resource.ring(pause)
                await self._edit(await self._resource.read())
        except ApiRefused as refused:
            message = f"the API server refuses the pod of spec.trial.template: {refused}"
            await opened.experiment.record([Ending("TemplateRejected", message, time.time())])
            self._herald.warn("TemplateRejected", str(refused))
            return
        self._herald.say("ExperimentStarted", f"{opened.wanted.spec.total} trials are to be run")

    def _stall(self, resource: Object, stall: Stall) -> None:
        """Say in status and an Event why nothing can be done, unless that is said."""
        changed = status.stalled(
            resource.get("status") or {},
            stall.reason,
            str(stall),
            final=stall.final,
            generation=resource["metadata"]["generation"],
            time=time.time(),
        )
        told, self._told_stall = self._told_stall, (stall.reason, str(stall))
        if changed and told != self._told_stall:
            self._herald.warn(stall.reason, str(stall))
        if changed:
            self._shared.statuses.offer(self._place, lambda: changed)

    # --- at work ---

    async def _work(self, opened: Opened) -> bool:
        """Turn until it is finished, taking over edits meanwhile; say whether nothing is left to be done: else it goes on."""
        history = opened.experiment.history
        while history.finished is None or goes_on(history):  # the second: we were killed before we could record that it does
            turning = asyncio.create_task(opened.reconciler.run())
            rung = asyncio.create_task(self._resource.ring())
            try:
                while not turning.done():
                    await asyncio.wait({turning, rung}, return_when=asyncio.FIRST_COMPLETED)
                    if rung.done():
                        rung = asyncio.create_task(self._resource.ring())
                        await self._take_over(await self._resource.read())
                await turning  # raises what it ended with
            finally:
                turning.cancel()
                rung.cancel()
                await asyncio.gather(turning, rung, return_exceptions=True)
        self._offer()
        clearing = asyncio.create_task(opened.pods.clear())
        written = over = False
        left = RESYNC
        try:
            while history.finished is not None:  # an edit may have it go on
                written = written or self._tables(opened)
                rang = await self._resource.ring(left)
                resource = await self._resource.read()
                await self._take_over(resource)
                due = await self._resource.expire(resource) if shows_end(resource, history) else RESYNC
                left = min(due, RESYNC)
                if not rang and written and opened.pods.cleared and settled(resource, self._shared.volume.identity):
                    over = True
                    break
        finally:
            clearing.cancel()
            await asyncio.gather(clearing, return_exceptions=True)
        return over

    def _tables(self, opened: Opened) -> bool:
        """Write the last tables; where they cannot be, that is tried again."""
        try:
            opened.publisher.tables()
        except OSError as error:
            logger.warning("%s/%s: its tables cannot be written now, and will be: %s", *self._place, error)
            return False
        return True

    def _hold(self, error: OSError) -> None:
        """Say that nothing can be recorded, where that may pass; raise what ends the operator otherwise."""
        if error.errno not in NO_SPACE:
            raise error
        self._offer()

    async def _take_over(self, resource: Object) -> None:
        """Take over an edit, or try that again at the next bell."""
        try:
            await self._edit(resource)
        except OSError as error:
            self._hold(error)

    async def _edit(self, resource: Object) -> None:
        """Take over what may be edited; what may not changes nothing, and that is said. Raises OSError for want of space."""
        opened = self._open
        assert opened is not None  # noqa: S101 - called while it is
        body = opened.experiment.body
        ignored = []  # and why
        try:
            wanted = check(resource, seed=body["spec"]["search"]["seed"], here=False)
        except InvalidSpec as refusal:
            ignored.append(f"the experiment goes on as it was: {refusal}")
        else:
            before, after = body["spec"], wanted.body["spec"]
            changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
            if names := sorted(changed - set(MUTABLE)):
                ignored.append(f"cannot be changed once it runs, and stays as it was: {', '.join(names)}")
            if changed & set(MUTABLE):
                body = {**body, "spec": {**before, **{name: after[name] for name in MUTABLE if name in after}}}
                try:
                    await opened.experiment.edit(body, spec_of(body))
                except InvalidSpec as refusal:  # the API server judged by a status that was not new enough
                    ignored.append(f"the experiment goes on as it was: {refusal}")
        self._generation = resource["metadata"].get("generation", 0)
        if ignored and self._answered != self._generation:
            self._herald.warn("EditIgnored", "; ".join(ignored))
        self._answered = self._generation
        self._offer()

    def _offer(self) -> None:
        """Have the status written as it will be then."""
        if self._open is not None:
            full = self._open.experiment.full
            if full is not None and not self._full_since:
                self._herald.trouble("VolumeFull", self._shown.full(full))
            self._full_since = 0.0 if full is None else self._full_since or time.time()
            self._shared.statuses.offer(self._place, self._status)

    def _status(self) -> Mapping[str, Any]:
        opened = self._open
        assert opened is not None  # noqa: S101 - offered only then
        history, error = opened.experiment.history, opened.experiment.full
        full = None if error is None else (error, self._full_since)
        troubles = opened.pods.troubles.values()
        return self._shown.status(history, troubles, full, generation=self._generation, now=time.time())
