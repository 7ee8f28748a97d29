"""All experiments of one operator: one task each, found by name when something happens. What they do is in `life`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection

from kubetune_operator.cluster.kubernetes import ApiAway, ApiRefused, Object
from kubetune_operator.core.standing import Key
from kubetune_operator.errors import AttemptClosed, Forbidden, Unavailable
from kubetune_operator.experiment import Experiment
from kubetune_operator.identity import Verifier
from kubetune_operator.life import Life
from kubetune_operator.opened import Shared
from kubetune_operator.reserved import EXPERIMENT
from kubetune_operator.resource import FIRST_PAUSE, LONGEST_PAUSE

logger = logging.getLogger(__name__)
FIRST_LOOK, LONGEST_LOOK = 0.1, 5.0  # seconds from one look at what is to be heard of to the next


class Experiments:
    """Keeps one life for each TuneExperiment."""

    def __init__(self, shared: Shared, verifier: Verifier, failed: Callable[[BaseException], None]) -> None:
        """`failed` is called with an error that the whole operator is to end with."""
        self._shared = shared
        self._verifier = verifier
        self._failed = failed
        self._lives: dict[tuple[str, str], Life] = {}
        self._tasks: dict[Life, asyncio.Task[None]] = {}
        self._asking: set[asyncio.Task[None]] = set()

    def hear_experiment(self, resource: Object, *, listed: bool) -> None:
        """Take note that a TuneExperiment was seen; `listed`: the watch begins anew, and may have missed something."""
        metadata = resource["metadata"]
        place = metadata["namespace"], metadata["name"]
        life = self._lives.get(place)
        if life is None:
            self._begin(place, metadata["uid"])
        elif listed:
            life.distrust()
        else:
            life.ring()

    def hear_pod(self, pod: Object, *, deleted: bool, listed: bool) -> None:
        """Take note that a pod of an experiment was seen."""
        metadata = pod["metadata"]
        life = self._lives.get((metadata["namespace"], (metadata.get("labels") or {}).get(EXPERIMENT, "")))
        if life is None:
            return
        if listed:
            life.distrust()
        life.hear_pod(pod, deleted=deleted)

    async def heard(self, namespaces: Collection[str]) -> None:
        """Wait until each TuneExperiment that is there has been heard of, in these namespaces or (none) in all."""
        pause = FIRST_LOOK
        while not await self._all_heard(namespaces):
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_LOOK)

    async def identify(self, token: str) -> tuple[Experiment, Key, str]:
        """Say whose reports come with this token.

        Raises Unauthenticated for nobody's, Forbidden for a pod that cannot be a trial's, AttemptClosed for one whose experiment
        is over or that we did not make, and Unavailable while that cannot be known.
        """
        claims = await self._verifier.verify(token)
        name, _, rest = claims.pod_name.rpartition("-")
        name, _, trial = name.rpartition("-")
        if not (trial.isdigit() and rest.isdigit()):
            raise Forbidden(f"pod {claims.pod_name} is not named as a trial's pods are")
        key = int(trial), int(rest)
        try:
            life = await self._life(claims.namespace, name)
            experiment = await life.owner_of(key, claims.pod_uid) if life is not None else None
        except (ApiAway, ApiRefused, LookupError) as error:
            raise Unavailable(str(error)) from error
        if experiment is None:
            raise AttemptClosed(f"pod {claims.pod_name} is not one that is waited for")
        return experiment, key, claims.pod_uid

    async def keep(self, experiment: Experiment, key: Key, stream: str, offset: int, data: bytes) -> tuple[int, bool]:
        """Keep a piece of a trial's output. Raises OSError for want of space, Unavailable where its experiment is closing."""
        created = experiment.history.created
        life = self._lives.get((created.namespace, created.name)) if created else None
        if life is None:
            raise Unavailable("the experiment is not open")
        return await life.keep(experiment, key, stream, offset, data)

    async def close(self) -> None:
        """Let all go; what they know is in their journals."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for asking in self._asking:  # those too that have begun just now
            asking.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    async def _life(self, namespace: str, name: str) -> Life | None:
        """Give an experiment's life; None where there is no such experiment any more, or it is on its way out."""
        life = self._lives.get((namespace, name))
        if life is None:
            found = await self._shared.api.experiment(namespace, name)
            if found is not None and "deletionTimestamp" not in found["metadata"]:
                raise LookupError(f"experiment {name} has not been taken up yet")
        return life

    async def _all_heard(self, namespaces: Collection[str]) -> bool:
        try:
            there = [one["metadata"] for each in namespaces or (None,) for one in await self._shared.api.experiments(each)]
        except (ApiAway, ApiRefused) as error:
            logger.warning("not ready: TuneExperiments cannot be listed: %s", error)
            return False
        return all((one["namespace"], one["name"]) in self._lives or "deletionTimestamp" in one for one in there)

    def _begin(self, place: tuple[str, str], uid: str) -> None:
        life = self._lives[place] = Life(self._shared, *place, uid)
        task = asyncio.create_task(life.run(), name=f"experiment {place[0]}/{place[1]}")
        self._tasks[life] = task
        task.add_done_callback(lambda _: self._ended(place, life))

    def _ended(self, place: tuple[str, str], life: Life) -> None:
        task = self._tasks.pop(life)
        if self._lives.get(place) is life:
            del self._lives[place]
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            self._failed(error)
            return
        asking = asyncio.get_running_loop().create_task(self._again(place), name=f"whether {place[0]}/{place[1]} is there anew")
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)

    async def _again(self, place: tuple[str, str]) -> None:
        """Look for another one of that name: it may have come while the bell that it rang was still heard by the one before."""
        pause = FIRST_PAUSE
        while place not in self._lives:
            try:
                found = await self._shared.api.experiment(*place)
            except (ApiAway, ApiRefused) as error:
                logger.warning("%s/%s: cannot be looked for: %s", *place, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            if found is not None and "deletionTimestamp" not in found["metadata"] and place not in self._lives:
                self._begin(place, found["metadata"]["uid"])
            return
