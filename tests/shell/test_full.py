"""A volume without room under a running operator, for real: a small tmpfs, filled and freed again."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kubetune_operator import life, resource
from kubetune_operator.checked import spec_of
from kubetune_operator.experiment import load
from tests.shell.lives import Json, Operator, Server, answered, body, operating, served, until
from tests.shell.mount import Mount

pytestmark = pytest.mark.slow  # a status is written once a second, and each waits for several

POD = "exp-00000-0"
LONG = "x" * 8192  # more than what is left of a file's last page


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Mount]:
    with Mount(tmp_path / "disk") as mount:
        yield mount


def long_body(**spec: Any) -> Json:
    """Give an experiment whose resource does not fit into what is left of a page."""
    made = body(**spec)
    (container,) = made["spec"]["trial"]["template"]["spec"]["containers"]
    container["env"] = [{"name": "TEXT", "value": LONG}]
    return made


def stalled(server: Server, reason: str = "VolumeFull") -> bool:
    found = server.condition("Stalled")
    return bool(found) and (found["status"], found["reason"]) == ("True", reason)


async def report(operator: Operator, server: Server, number: int) -> None:
    """Report a long line as the first trial's sidecar does."""
    token = f"{POD} {server.pods[POD]['metadata']['uid']}"
    experiment, key, uid = await operator.experiments.identify(token)
    await experiment.hello(key, uid)
    await experiment.report(key, uid, number, [json.dumps({"accuracy": number, "text": LONG})])


async def test_one_that_cannot_be_begun_says_so_and_goes_on_by_itself(disk: Mount, tmp_path: Path) -> None:
    async with served() as (server, api), operating(server, api, disk.root) as operator:
        server.apply(body("first", numSamples=1))
        await until(lambda: "first-00000-0" in server.pods)
        disk.fill()
        server.apply(body(numSamples=1))
        await until(lambda: stalled(server))
        message = server.condition("Stalled")["message"]
        assert f"No space left on device: {operator.folder().path} on volume {operator.volume.identity}; make room" in message
        assert server.condition("Finished")["status"] == "False"
        assert await operator.answer(POD, "any") == "503"
        for _ in range(3):
            read = server.read
            server.rings(server.tunes["exp"])
            await until(lambda: server.read > read)  # noqa: B023 - it is over when the next begins
        assert not list(operator.folder().path.glob("journal.*")), "a try leaves nothing behind"
        assert await operator.answer("first-00000-0", server.pods["first-00000-0"]["metadata"]["uid"]) == "200"
        disk.free()
        await until(lambda: POD in server.pods)
        await until(lambda: server.condition("Stalled")["status"] == "False")
        assert server.reasons().count("VolumeFull") == 1
        assert not operator.failures


async def test_one_that_cannot_be_opened_again_waits_for_room(disk: Mount) -> None:
    async with served() as (server, api):
        server.apply(body(numSamples=1))
        async with operating(server, api, disk.root):
            await until(lambda: POD in server.pods)
        disk.fill()
        async with operating(server, api, disk.root) as operator:
            await until(lambda: stalled(server))
            assert await operator.answer(POD, server.pods[POD]["metadata"]["uid"]) == "503"
            assert [one.name for one in operator.folder().path.glob("journal.*")] == ["journal.1.jsonl"]
            disk.free()
            await until(lambda: server.condition("Stalled")["status"] == "False")
            assert await operator.answer(POD, server.pods[POD]["metadata"]["uid"]) == "200"
            assert not operator.failures


async def test_files_for_which_there_is_no_room_when_it_is_opened_again_come_later(disk: Mount) -> None:
    async with served() as (server, api):
        server.apply(body(numSamples=1))
        async with operating(server, api, disk.root) as operator:
            await until(lambda: POD in server.pods)
            await report(operator, server, 0)
            table = operator.folder().path / "exp-00000" / "result.json"
            await until(table.exists)
        table.unlink()
        disk.fill(but=4096)  # enough for the journal
        async with operating(server, api, disk.root) as operator:
            assert await answered(operator, server, POD) == "200"
            assert not table.exists()
            disk.free()
            await until(table.exists)
            assert not operator.failures


async def test_a_refused_template_is_told_of_once_its_end_is_recorded(disk: Mount) -> None:
    async with served() as (server, api), operating(server, api, disk.root) as operator:
        server.refusal = lambda _pod: (403, "passes")
        server.apply(body(numSamples=1))
        await until(lambda: server.rehearsed == 1)
        disk.fill()
        server.refusal = lambda _pod: (422, f"never: {LONG}")
        await until(lambda: stalled(server))
        await until(lambda: server.rehearsed >= 4)
        assert "TemplateRejected" not in server.reasons()
        disk.free()
        await until(lambda: server.condition("Finished")["status"] == "True")
        assert server.condition("Finished")["reason"] == "TemplateRejected"
        assert server.reasons().count("TemplateRejected") == 1
        assert not operator.failures


async def test_while_it_runs_it_says_so_and_what_is_reported_later_is_taken(disk: Mount) -> None:
    async with served() as (server, api), operating(server, api, disk.root) as operator:
        server.apply(body(numSamples=1))
        await until(lambda: POD in server.pods)
        await report(operator, server, 0)
        disk.fill()
        with pytest.raises(OSError, match="No space left") as refused:
            await report(operator, server, 1)
        assert refused.value.errno == errno.ENOSPC
        await until(lambda: stalled(server))
        assert server.condition("Finished")["message"] == server.condition("Stalled")["message"]
        disk.free()
        await report(operator, server, 1)
        await until(lambda: server.condition("Stalled")["status"] == "False")
        assert server.reasons().count("VolumeFull") == 1
        assert [one.report.metrics["accuracy"] for one in load(operator.folder().path, spec_of).judged] == [0, 1]
        assert not operator.failures


@pytest.mark.parametrize("finished", [False, True], ids=["while it runs", "when it has finished"])
async def test_an_edit_is_taken_over_once_there_is_room(disk: Mount, monkeypatch: pytest.MonkeyPatch, *, finished: bool) -> None:
    for module in (life, resource):
        monkeypatch.setattr(module, "RESYNC", 1.0)
    async with served() as (server, api), operating(server, api, disk.root) as operator:
        server.refusal = lambda _pod: (422, "no pods here") if finished else None
        server.apply(long_body(numSamples=1))
        await until(lambda: server.condition("Finished").get("status") == "True" if finished else POD in server.pods)
        disk.fill()
        server.apply(long_body(numSamples=2))
        await until(lambda: stalled(server))
        assert server.tunes["exp"]["status"]["observedGeneration"] == 1
        assert server.condition("Finished")["status"] == str(finished)
        disk.free()
        await until(lambda: server.tunes["exp"]["status"]["observedGeneration"] == 2)
        assert server.tunes["exp"]["status"]["trials"]["total"] == 2
        assert not operator.failures


async def test_a_refusal_of_the_first_pod_is_recorded_once_there_is_room(disk: Mount) -> None:
    async with served() as (server, api), operating(server, api, disk.root) as operator:
        server.refusal, server.on_create = lambda _pod: (422, LONG), disk.fill
        server.apply(body(numSamples=1))
        await until(lambda: stalled(server))
        server.on_create = lambda: None
        disk.free()
        await until(lambda: stalled(server, "TemplateRejected"))
        assert not operator.failures
