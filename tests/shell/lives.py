"""A namespace with TuneExperiments behind real HTTP, and an operator's experiments over it: what tests of their lives share.

As an API server does, it rings at each change, also at those that the operator itself makes. No pod of it ever runs.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import os
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from kubetune_operator import manifests
from kubetune_operator.cluster.kubernetes import EVENTS, EXPERIMENTS, Api
from kubetune_operator.core.records import End
from kubetune_operator.errors import AttemptClosed, Unavailable
from kubetune_operator.experiments import Experiments
from kubetune_operator.files import ExperimentFolder
from kubetune_operator.herald import Events, Statuses
from kubetune_operator.identity import Claims, Verifier
from kubetune_operator.opened import Shared
from kubetune_operator.replaying import Replaying
from kubetune_operator.settings import Settings
from kubetune_operator.volume import Volume
from tests.shell.conftest import experiment
from tests.shell.standin import PODS, StandIn, api_of

NAMESPACE = "/api/v1/namespaces/team"
TUNES = f"{EXPERIMENTS}/namespaces/team/tuneexperiments"
PATIENCE = 20.0
Json = dict[str, Any]
SETTINGS = Settings.read({"KUBETUNE_NAMESPACE": "kubetune", "KUBETUNE_RUNTIME_IMAGE": "registry.example/kubetune/runtime:0.1.0"})
RUNTIME = manifests.Runtime(
    image=SETTINGS.runtime_image,
    pull_policy="IfNotPresent",
    endpoint=SETTINGS.endpoint,
    ca_pem="-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    resources=SETTINGS.sidecar_resources,
)


def body(name: str = "exp", **spec: Any) -> Json:
    """Give a TuneExperiment of the namespace as its user writes it."""
    made = experiment(["python", "train.py"], **spec)
    return {**made, "metadata": {"name": name, "namespace": "team"}}


def merged(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch as RFC 7396 says: what is in an object stays unless it is named, and null removes."""
    if not isinstance(patch, dict):
        return patch
    here = dict(target) if isinstance(target, dict) else {}
    changed = {name: merged(here.get(name), value) for name, value in patch.items() if value is not None}
    return {name: value for name, value in here.items() if name not in patch} | changed


class Server(StandIn):
    """Keeps TuneExperiments, pods and Events of one namespace."""

    def __init__(self) -> None:
        self.namespace_uid = str(uuid.UUID(int=7 << 96))
        self.tunes: dict[str, Json] = {}
        self.pods: dict[str, Json] = {}
        self.events: list[Json] = []
        self.patches: list[Json] = []  # of statuses
        self.answers: list[int] = []  # with which the next reads of TuneExperiments are answered
        self.read = 0  # how often they were
        self.rings: Callable[[Json], None] = lambda _tune: None
        self.on_create: Callable[[], None] = lambda: None  # is called before a pod is created
        self.refusal: Callable[[Json], tuple[int, str] | None] = lambda _pod: None  # code and words for a pod, dry run or not
        self.rehearsed = 0  # dry runs
        self.refused_deletions = 0  # that many to come, with 429
        self._uids = itertools.count(1)
        super().__init__(
            [
                web.get(NAMESPACE, self._namespace),
                web.get(TUNES + "/{name}", self._tune),
                web.delete(TUNES + "/{name}", self._delete_tune),
                web.patch(TUNES + "/{name}/status", self._patch),
                web.post(EVENTS + "/namespaces/team/events", self._event),
                web.get(PODS, self._pods),
                web.post(PODS, self._create),
                web.get(PODS + "/{name}", self._pod),
                web.delete(PODS + "/{name}", self._delete),
            ]
        )

    def apply(self, tune: Json) -> Json:
        """Create a resource, or change the spec of the one that there is."""
        name = tune["metadata"]["name"]
        known = self.tunes.get(name)
        if known is None:
            made = copy.deepcopy(tune)
            made["metadata"] |= {"uid": str(uuid.UUID(int=next(self._uids) << 96)), "generation": 1}
            self.tunes[name] = made
        else:
            self.tunes[name] = {**known, "spec": copy.deepcopy(tune["spec"])}
            self.tunes[name]["metadata"] = {**known["metadata"], "generation": known["metadata"]["generation"] + 1}
        self.rings(self.tunes[name])
        return self.tunes[name]

    def delete(self, name: str = "exp") -> None:
        """Delete a resource."""
        self.rings(self.tunes.pop(name))

    def condition(self, kind: str, name: str = "exp") -> Json:
        """Give a condition of a resource; an empty one where it has none yet."""
        found = (self.tunes[name].get("status") or {}).get("conditions", [])
        return next((one for one in found if one["type"] == kind), {})

    def reasons(self) -> list[str]:
        """Give the reasons of all Events so far."""
        return [event["reason"] for event in self.events]

    def _refusal(self, code: int, reason: str, message: str = "so it is") -> web.Response:
        return web.json_response({"kind": "Status", "reason": reason, "message": message}, status=code)

    async def _namespace(self, _: web.Request) -> web.Response:
        return web.json_response({"metadata": {"name": "team", "uid": self.namespace_uid}})

    async def _tune(self, request: web.Request) -> web.Response:
        self.read += 1
        code = self.answers.pop(0) if self.answers else 200
        if code != 200:
            return self._refusal(code, "Trouble")
        found = self.tunes.get(request.match_info["name"])
        return web.json_response(found) if found else self._refusal(404, "NotFound")

    async def _delete_tune(self, request: web.Request) -> web.Response:
        found = self.tunes.get(request.match_info["name"])
        if found is None:
            return self._refusal(404, "NotFound")
        if (await request.json())["preconditions"]["uid"] != found["metadata"]["uid"]:
            return self._refusal(409, "Conflict")
        self.delete(found["metadata"]["name"])
        return web.json_response(found)

    async def _patch(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self.tunes:
            return self._refusal(404, "NotFound")
        patch = (await request.json())["status"]
        self.patches.append(patch)
        self.tunes[name] = merged(self.tunes[name], {"status": patch})
        self.rings(self.tunes[name])
        return web.json_response(self.tunes[name])

    async def _event(self, request: web.Request) -> web.Response:
        self.events.append(await request.json())
        return web.json_response(self.events[-1], status=201)

    async def _pods(self, _: web.Request) -> web.Response:
        return web.json_response({"items": list(self.pods.values()), "metadata": {}})

    async def _pod(self, request: web.Request) -> web.Response:
        found = self.pods.get(request.match_info["name"])
        return web.json_response(found) if found else self._refusal(404, "NotFound")

    async def _create(self, request: web.Request) -> web.Response:
        made = await request.json()
        dry = "dryRun" in request.query
        self.rehearsed += dry
        self.on_create()
        if refusal := self.refusal(made):
            return self._refusal(refusal[0], "Invalid" if refusal[0] == 422 else "Forbidden", refusal[1])
        if not dry:
            uid = f"pod-{next(self._uids)}"
            made["metadata"] |= {"uid": uid, "resourceVersion": "1", "creationTimestamp": "2026-11-24T10:00:00Z"}
            made["status"] = {"phase": "Pending"}
            self.pods[made["metadata"]["name"]] = made
        return web.json_response(made, status=201)

    async def _delete(self, request: web.Request) -> web.Response:
        if self.refused_deletions:
            self.refused_deletions -= 1
            return self._refusal(429, "TooManyRequests")
        found = self.pods.pop(request.match_info["name"], None)
        return web.json_response(found) if found else self._refusal(404, "NotFound")


class Believing(Verifier):
    """Takes a token for what it says: the name of a pod and its uid."""

    async def verify(self, token: str) -> Claims:
        """Believe it."""
        name, uid = token.split()
        return Claims("team", name, uid, "default")


class Operator:
    """An operator's process, but for kopf and the intake."""

    def __init__(self, server: Server, api: Api, root: Path) -> None:
        self.failures: list[BaseException] = []  # with which it would have ended
        self.volume = Volume(root)
        self.statuses = Statuses(api)
        self.shared = Shared(SETTINGS, api, self.volume, self.statuses, Events(api, "kubetune-0"), lambda: RUNTIME, Replaying())
        self.experiments = Experiments(self.shared, Believing(api.raw), self.failures.append)
        self._server = server

    async def answer(self, pod: str, uid: str) -> str:
        """Say what a sidecar of this pod is answered: go on, wait, or end."""
        try:
            await self.experiments.identify(f"{pod} {uid}")
        except AttemptClosed:
            return "410"
        except Unavailable:
            return "503"
        return "200"

    def folder(self, name: str = "exp") -> ExperimentFolder:
        """Say where the files of a resource are."""
        return self.volume.folder("team", name, self._server.tunes[name]["metadata"]["uid"])


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Server, Api]]:
    """Serve, and give the client to it."""
    server = Server()
    try:
        async with api_of(await server.open()) as api:
            yield server, api
    finally:
        await server.close()


@asynccontextmanager
async def operating(server: Server, api: Api, root: Path) -> AsyncIterator[Operator]:
    """Run an operator: it hears of what there is, and of each change."""
    operator = Operator(server, api, root)
    writing = asyncio.create_task(operator.statuses.run())

    def ring(tune: Mapping[str, Any]) -> None:
        operator.experiments.hear_experiment(tune, listed=False)

    for tune in list(server.tunes.values()):
        operator.experiments.hear_experiment(tune, listed=True)
    server.rings = ring
    try:
        yield operator
    finally:
        server.rings = lambda _tune: None
        await operator.experiments.close()
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)


async def answered(operator: Operator, server: Server, pod: str) -> str:
    """Give what a sidecar is told once it need not wait any more."""
    async with asyncio.timeout(PATIENCE):
        while (answer := await operator.answer(pod, server.pods[pod]["metadata"]["uid"])) == "503":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return answer


def files_held() -> set[Path]:
    """Give the files that this process has open."""
    return {found.readlink() for found in Path("/proc/self/fd").iterdir() if os.path.lexists(found)}


async def report(operator: Operator, server: Server, trial: int, *, ends: bool = False, **metrics: Any) -> None:
    """Report as a trial's sidecar does, and end then."""
    pod = f"exp-{trial:05d}-0"
    await until(lambda: pod in server.pods)
    experiment, key, uid = await operator.experiments.identify(f"{pod} {server.pods[pod]['metadata']['uid']}")
    wanted = await experiment.hello(key, uid)
    await experiment.report(key, uid, wanted, [json.dumps(metrics)])
    if ends:
        await experiment.drained(key, uid, wanted + 1, End(exit_code=0))


async def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until this is so."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.01)
