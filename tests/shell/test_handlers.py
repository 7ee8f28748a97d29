"""kopf, as it watches for us: a real one, before what stands in for an API server. The experiments are finished, so none goes far."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from kubetune_operator import handlers
from kubetune_operator.experiments import Experiments
from kubetune_operator.herald import Events, Statuses
from kubetune_operator.identity import Verifier
from kubetune_operator.manifests import Runtime
from kubetune_operator.opened import Shared
from kubetune_operator.replaying import Replaying
from kubetune_operator.settings import Settings
from kubetune_operator.volume import Volume
from tests.shell.standin import StandIn, api_of

OURS = "kubetune.dev/v1alpha1"
SERVED = {  # by group and version; kopf begins once it has seen those that it never asks for, too
    "v1": {"pods": "Pod", "namespaces": "Namespace"},
    OURS: {"tuneexperiments": "TuneExperiment"},
    "apiextensions.k8s.io/v1": {"customresourcedefinitions": "CustomResourceDefinition"},
}
RUNTIME = Runtime(image="runtime", pull_policy="Never", endpoint="https://here", ca_pem="", resources={})


def experiment(name: str, **more: Any) -> dict[str, Any]:
    """Give an experiment for which nothing is left to be done."""
    metadata = {"namespace": "team", "name": name, "uid": f"uid-of-{name}", "generation": 1, "resourceVersion": "1", **more}
    status = {"observedGeneration": 1, "conditions": [{"type": "Finished", "status": "True"}]}
    return {"metadata": metadata, "spec": {}, "status": status}


class Server:
    """An API server that has these experiments, once the watch's own LIST is answered, which waits for `answer`."""

    def __init__(self, *there: dict[str, Any], installed: bool = True) -> None:
        self.answer = asyncio.Event()
        self.asked = asyncio.Event()  # by the watch
        self._there = there
        self._served = {version: kinds for version, kinds in SERVED.items() if installed or version != OURS}
        self.routes = [
            web.get("/api", self._versions),
            web.get("/apis", self._groups),
            web.get(r"/{version:api/v1|apis/[^/]+/[^/]+}", self._resources),
            web.get("/api/v1/pods", self._list),
            web.get(f"/apis/{OURS}/namespaces/team/tuneexperiments/{{name}}", self._one),
        ]
        if installed:
            self.routes.append(web.get(f"/apis/{OURS}/tuneexperiments", self._list))

    async def _versions(self, _: web.Request) -> web.Response:
        return web.json_response({"versions": ["v1"]})

    async def _groups(self, _: web.Request) -> web.Response:
        groups = []
        for name, version in (served.split("/") for served in self._served if "/" in served):
            said = {"groupVersion": f"{name}/{version}", "version": version}
            groups.append({"name": name, "versions": [said], "preferredVersion": said})
        return web.json_response({"groups": groups})

    async def _resources(self, request: web.Request) -> web.Response:
        kinds = self._served[request.match_info["version"].partition("/")[2]]
        every = {"singularName": "", "namespaced": True, "verbs": ["get", "list", "watch"]}
        return web.json_response({"resources": [{"name": plural, "kind": kind, **every} for plural, kind in kinds.items()]})

    async def _list(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("watch"):
            stream = web.StreamResponse()
            await stream.prepare(request)
            await asyncio.Event().wait()  # nothing ever happens
        ours = "tuneexperiments" in request.path
        if ours and request.headers["User-Agent"].startswith("kopf"):
            self.asked.set()
            await self.answer.wait()
        return web.json_response({"metadata": {"resourceVersion": "1"}, "items": list(self._there) if ours else []})

    async def _one(self, request: web.Request) -> web.Response:
        (found,) = (one for one in self._there if one["metadata"]["name"] == request.match_info["name"])
        return web.json_response(found)


@asynccontextmanager
async def watching(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncio.Event]:
    """Watch, and give what is set when all that was there has been heard of."""
    standin = StandIn(server.routes)
    url = await standin.open()
    context = {"name": "here", "context": {"cluster": "here", "user": "me"}}
    known = {"clusters": [{"name": "here", "cluster": {"server": url}}], "users": [{"name": "me", "user": {"token": "t"}}]}
    (tmp_path / "config").write_text(json.dumps({"current-context": "here", "contexts": [context], **known}))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    settings = Settings.read({"KUBETUNE_NAMESPACE": "kubetune", "KUBETUNE_RUNTIME_IMAGE": "runtime"})
    async with api_of(url) as api:
        shared = Shared(
            settings, api, Volume(tmp_path / "volume"), Statuses(api), Events(api, "me"), lambda: RUNTIME, Replaying()
        )
        experiments = Experiments(shared, Verifier(api.raw), lambda error: pytest.fail(str(error)))
        ready, stop = asyncio.Event(), asyncio.Event()
        watch = asyncio.create_task(handlers.watch(experiments, (), stop, ready))
        try:
            yield ready
        finally:
            stop.set()
            await experiments.close()
            await watch
    await standin.close()


async def until(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), 10)


async def never(event: asyncio.Event) -> None:
    await asyncio.sleep(1)
    assert not event.is_set()


async def test_ready_is_who_has_heard_of_all_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    going = experiment("going", deletionTimestamp="2026-01-01T00:00:00Z")  # its life ends as soon as it has begun
    server = Server(experiment("one"), experiment("two"), going)
    async with watching(server, tmp_path, monkeypatch) as ready:
        await until(server.asked)
        await never(ready)
        server.answer.set()
        await until(ready)


async def test_where_there_is_nothing_there_is_nothing_to_wait_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    server.answer.set()
    async with watching(server, tmp_path, monkeypatch) as ready:
        await until(ready)


async def test_without_the_definition_nobody_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with watching(Server(installed=False), tmp_path, monkeypatch) as ready:
        await never(ready)
    assert "not ready: TuneExperiments cannot be listed: 404" in caplog.text
