"""The output of pods without a launcher, followed over real HTTP and kept in real files: each byte once, whatever breaks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from kubetune_operator import status
from kubetune_operator.cluster import Wanted
from kubetune_operator.cluster.home import Home
from kubetune_operator.cluster.kubernetes import Api, ApiAway, ApiRefused
from kubetune_operator.cluster.output import ROTATED, Followed, Output
from kubetune_operator.cluster.pods import Pods, Program
from kubetune_operator.files import ExperimentFolder
from kubetune_operator.logs import MARKER, Copies, Logs
from kubetune_operator.reserved import ATTEMPT, EXPERIMENT_UID, TRIAL, TRIAL_CONTAINER
from tests.shell.standin import PODS, StandIn, api_of

HOME = Home("team", "exp", "0123abcd-0000-4000-8000-000000000000")
KEY = (3, 1)
PROGRAM = Program("exp-00003-1", "main", ended=False, deleting=False)
FIRST, SECOND = b"first line\n", b"second line\n"
PLENTY = 10**9


class Kubelet(StandIn):
    """Answers for the log of one container, and for its pod; a test says what it prints, when it ends, and what breaks."""

    def __init__(self) -> None:
        self.log = b""
        self.piece = 5  # bytes that are sent at once
        self.ended = False
        self.broken = False  # the stream breaks off once all that there is has been sent
        self.refused = 0  # with which it is answered, once
        self.asked: list[str] = []
        super().__init__(
            [
                web.get(PODS, self._list),
                web.get(PODS + "/{name}/log", self._follow),
                web.delete(PODS + "/{name}", self._delete),
            ]
        )

    async def close(self) -> None:
        self.ended = True
        await super().close()

    def pod(self) -> dict[str, Any]:
        """Give the pod as it is now."""
        metadata = {
            "name": PROGRAM.pod,
            "uid": "pod-1",
            "labels": {EXPERIMENT_UID: HOME.uid, TRIAL: "3", ATTEMPT: "1"},
            "annotations": {TRIAL_CONTAINER: "main"},
            "ownerReferences": [{"uid": HOME.uid, "controller": True}],
            "creationTimestamp": "2026-11-24T10:00:00Z",
        }
        now = status.stamp(time.time())
        state = {"terminated": {"exitCode": 0, "finishedAt": now}} if self.ended else {"running": {"startedAt": now}}
        state = state if self.log else {"waiting": {"reason": "PodInitializing"}}
        containers = [{"name": "main", "state": state}]
        return {"metadata": metadata, "spec": {}, "status": {"phase": "Running", "containerStatuses": containers}}

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response({"items": [self.pod()], "metadata": {}})

    async def _follow(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"follow {request.match_info['name']} {request.query['container']}")
        assert request.query["follow"] == "true"
        if self.refused:
            code, self.refused = self.refused, 0
            return web.json_response({"kind": "Status", "reason": "BadRequest", "message": "it waits to start"}, status=code)
        sent = len(self.log) if request.query.get("tailLines") == "0" else 0
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            if sent < len(self.log):
                piece = self.log[sent : sent + self.piece]
                sent += len(piece)
                await response.write(piece)
                continue
            if self.broken:
                self.broken = False
                assert request.transport is not None
                request.transport.abort()
                return response
            if self.ended:
                self.asked.append("end")
                return response
            await asyncio.sleep(0.01)

    async def _delete(self, request: web.Request) -> web.Response:
        self.asked.append(f"delete {request.match_info['name']}")
        return web.json_response({})


class World:
    """A kubelet, and the files that its log is kept in."""

    def __init__(self, kubelet: Kubelet, api: Api, root: Path) -> None:
        self.kubelet = kubelet
        self.api = api
        self.folder = ExperimentFolder.create(root, HOME.namespace, HOME.experiment, HOME.uid)
        self.outputs: list[Output] = []

    def anew(self, names: tuple[str, ...] = ("stdout", "stderr"), limit: int = PLENTY) -> Output:
        """Give what an operator has that was started now."""
        output = Output(self.api, HOME.namespace, Copies(Logs(self.folder, names, limit), HOME.experiment))
        self.outputs.append(output)
        return output

    def follow(self, output: Output) -> None:
        output.follow(KEY, PROGRAM, lambda: self.kubelet.ended)

    def kept(self, name: str = "stdout") -> bytes:
        path = self.folder.log("exp-00003", name)
        return path.read_bytes() if path.exists() else b""

    async def until(self, condition: Callable[[], bool]) -> None:
        give_up = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < give_up, (self.kept(), self.kubelet.asked)
            await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    kubelet = Kubelet()
    async with api_of(await kubelet.open()) as api:
        world = World(kubelet, api, tmp_path)
        yield world
        for output in world.outputs:
            await output.close()
    await kubelet.close()


async def test_what_is_printed_is_kept_as_it_is_printed_and_to_the_end(world: World) -> None:
    world.kubelet.log = FIRST
    output = world.anew()
    world.follow(output)
    world.follow(output)
    await world.until(lambda: world.kept() == FIRST)
    world.kubelet.log += SECOND
    world.kubelet.ended = True
    await output.finish(KEY)
    assert (world.kept(), world.kept("stderr")) == (FIRST + SECOND, b"")
    assert world.kubelet.asked == ["follow exp-00003-1 main", "end"]


async def test_a_stream_that_broke_off_is_followed_again_and_nothing_doubled(world: World) -> None:
    world.kubelet.log = FIRST
    world.kubelet.broken = True
    world.follow(output := world.anew())
    await world.until(lambda: len(world.kubelet.asked) == 2)
    world.kubelet.log += SECOND
    world.kubelet.ended = True
    await output.finish(KEY)
    assert world.kept() == FIRST + SECOND


async def test_so_it_is_by_an_operator_that_was_started_again(world: World) -> None:
    world.kubelet.log = FIRST + SECOND[:4]
    world.follow(before := world.anew())
    await world.until(lambda: world.kept() == FIRST + SECOND[:4])
    await before.close()
    world.kubelet.log += SECOND[4:]
    world.kubelet.ended = True
    world.follow(after := world.anew())
    await after.finish(KEY)
    assert world.kept() == FIRST + SECOND


@pytest.mark.parametrize("code", [400, 500, 503])
async def test_a_log_that_is_not_to_be_had_yet_is_asked_for_again(world: World, code: int) -> None:
    world.kubelet.log = FIRST
    world.kubelet.refused = code
    world.kubelet.ended = True
    world.follow(output := world.anew())
    await output.finish(KEY)
    assert world.kept() == FIRST


async def test_one_of_a_pod_that_is_gone_is_not(world: World) -> None:
    world.kubelet.refused = 404
    world.follow(output := world.anew())
    began = time.monotonic()
    await output.finish(KEY)
    assert time.monotonic() - began < 1
    assert world.kubelet.asked == ["follow exp-00003-1 main"]


async def test_beyond_the_limit_nothing_more_is_asked_for(world: World) -> None:
    world.kubelet.log = FIRST + SECOND
    output = world.anew(limit=len(FIRST) + 3)
    world.follow(output)
    await output.finish(KEY)
    assert world.kept() == FIRST + b"sec\n" + MARKER.format(limit=len(FIRST) + 3).encode()


async def test_one_file_may_be_for_both(world: World) -> None:
    world.kubelet.log = FIRST
    world.kubelet.ended = True
    world.follow(output := world.anew(("log",)))
    await output.finish(KEY)
    assert world.kept("log") == FIRST


async def test_a_log_that_was_rotated_while_nobody_read_is_gone_on_with_and_what_is_missing_is_said(world: World) -> None:
    world.kubelet.log = FIRST
    world.follow(before := world.anew())
    await world.until(lambda: world.kept() == FIRST)
    await before.close()
    world.kubelet.log = b"after the rotation\n"
    world.follow(after := world.anew())
    await world.until(lambda: len(world.kubelet.asked) == 3)
    await asyncio.sleep(0.05)
    world.kubelet.log += SECOND
    world.kubelet.ended = True
    await after.finish(KEY)
    assert world.kept() == FIRST + ROTATED + SECOND


@pytest.mark.slow
async def test_a_kubelet_that_never_ends_a_log_holds_nobody_up_for_long(world: World) -> None:
    world.kubelet.log = FIRST
    world.follow(output := world.anew())
    await world.until(lambda: world.kept() == FIRST)
    began = time.monotonic()
    await output.finish(KEY)
    assert 4 < time.monotonic() - began < 8


async def test_it_reads_no_faster_than_it_keeps(world: World) -> None:
    """A program that prints a lot, and a slow disk: what waits is in the node's file, not in our memory."""
    world.kubelet.log = b"x" * 50_000_000
    world.kubelet.piece = 1_000_000
    world.kubelet.ended = True
    async with aclosing(world.api.log("team", PROGRAM.pod, "main")) as pieces:
        assert len(await anext(pieces)) <= 64 * 1024
        await asyncio.sleep(0.5)
        assert "end" not in world.kubelet.asked


async def test_errors_are_told_apart(world: World) -> None:
    for code, error in ((400, ApiRefused), (503, ApiAway)):
        world.kubelet.refused = code
        with pytest.raises(error, match="it waits to start"):
            async with aclosing(world.api.log("team", PROGRAM.pod, "main")) as pieces:
                await anext(pieces)
    world.kubelet.broken = True
    with pytest.raises(ApiAway, match="has broken off"):
        async with aclosing(world.api.log("team", PROGRAM.pod, "main")) as pieces:
            await anext(pieces)


# --- beside the pods ---


@pytest.fixture
def pods(world: World) -> Pods:
    def manifest(_: Wanted, /, *, restricted: bool) -> dict[str, str]:
        raise AssertionError(f"no pod is made here, {restricted=}")

    return Pods(world.api, HOME, manifest, lambda: {KEY: "pod-1"}, lambda _: False, lambda *_: None)


async def test_a_log_is_followed_once_its_program_has_begun(world: World, pods: Pods) -> None:
    cluster = Followed(pods, world.anew())
    await cluster.observe()
    await asyncio.sleep(0.1)
    assert world.kubelet.asked == []
    world.kubelet.log = FIRST
    pods.hear(world.kubelet.pod(), deleted=False)
    await cluster.observe()
    await cluster.observe()
    await world.until(lambda: world.kept() == FIRST)
    assert world.kubelet.asked == ["follow exp-00003-1 main"]
    assert cluster.capacity() is None


async def test_a_closed_attempts_log_is_read_before_its_pod_is_deleted(world: World, pods: Pods) -> None:
    world.kubelet.log = FIRST
    cluster = Followed(pods, world.anew())
    await cluster.observe()
    forgetting = asyncio.create_task(cluster.forget(KEY))
    await asyncio.sleep(0.1)
    world.kubelet.log += SECOND
    world.kubelet.ended = True
    pods.hear(world.kubelet.pod(), deleted=False)
    await forgetting
    assert world.kept() == FIRST + SECOND
    assert world.kubelet.asked == ["follow exp-00003-1 main", "end", "delete exp-00003-1"]


async def test_a_log_that_ends_before_its_program_is_known_to_is_not_read_twice(world: World, pods: Pods) -> None:
    world.kubelet.log = FIRST
    cluster = Followed(pods, world.anew())
    await cluster.observe()
    world.kubelet.ended = True
    await asyncio.sleep(1.5)
    pods.hear(world.kubelet.pod(), deleted=False)
    await cluster.forget(KEY)
    assert world.kubelet.asked == ["follow exp-00003-1 main", "end", "delete exp-00003-1"]


async def test_nobody_waits_for_the_log_of_a_pod_on_its_way_out_but_it_is_read(world: World, pods: Pods) -> None:
    world.kubelet.log = FIRST
    cluster = Followed(pods, world.anew())
    await cluster.observe()
    await cluster.delete(KEY)
    began = time.monotonic()
    await cluster.forget(KEY)
    assert time.monotonic() - began < 1
    world.kubelet.log += SECOND
    world.kubelet.ended = True
    await world.until(lambda: world.kept() == FIRST + SECOND)
    assert world.kubelet.asked.count("delete exp-00003-1") == 1
