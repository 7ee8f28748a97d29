"""What becomes of TuneExperiments while an operator runs, ends and comes again: over an API server of a few lines, for real."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid
from pathlib import Path

import pytest

from kubetune_operator.core.standing import Key
from kubetune_operator.errors import Unavailable
from kubetune_operator.experiment import Experiment, Past
from kubetune_operator.journal import Journal
from kubetune_operator.publish import Publisher
from kubetune_operator.resource import DEBOUNCE
from tests.shell.lives import PATIENCE, Json, Operator, Server, answered, body, operating, served, until

pytestmark = pytest.mark.slow  # a status is written once a second, and each waits for one or several

POD = ("exp-00000-0", "pod-2")  # of the first trial, as the server gives uids


def refused() -> Json:
    """Give an experiment that no version will take: its template names a parameter that there is none of."""
    made = body(numSamples=1)
    made["spec"]["trial"]["template"]["spec"]["containers"][0]["args"] = ["${params.absent}"]
    return made


# --- taken up again ---


async def test_an_edit_that_is_refused_ends_nothing_when_the_operator_comes_again(tmp_path: Path) -> None:
    """Its journal says what the experiment is; what the resource says by now was never taken over."""
    async with served() as (server, api):
        server.apply(body(numSamples=1))
        async with operating(server, api, tmp_path) as operator:
            await until(lambda: POD[0] in server.pods)
            server.apply(refused())
            await until(lambda: "EditIgnored" in server.reasons())
        server.events.clear()
        async with operating(server, api, tmp_path) as operator:
            await until(lambda: "EditIgnored" in server.reasons())
            assert "params.absent" in server.events[-1]["note"]
            assert await operator.answer(*POD) == "200"
        assert (server.condition("Finished")["status"], server.condition("Stalled")["status"]) == ("False", "False")
        assert server.tunes["exp"]["status"]["observedGeneration"] == 2
        assert not operator.failures


async def test_of_each_edit_that_is_ignored_it_is_told_once(tmp_path: Path) -> None:
    async with served() as (server, api), operating(server, api, tmp_path):
        server.apply(body(numSamples=1))
        await until(lambda: POD[0] in server.pods)
        edits = [refused(), body(numSamples=1, logs={"files": []})]
        for number, edit in enumerate(edits, 1):
            server.apply(edit)
            await until(lambda: server.reasons().count("EditIgnored") == number)  # noqa: B023 - it is over when the next begins
            for _ in range(3):
                server.rings(server.tunes["exp"])
                await asyncio.sleep(2 * DEBOUNCE)
            assert server.reasons().count("EditIgnored") == number
        assert server.events[-1]["note"] == "cannot be changed once it runs, and stays as it was: logs"


async def test_a_spec_that_is_wrong_from_the_start_is_refused_and_taken_up_once_it_is_mended(tmp_path: Path) -> None:
    async with served() as (server, api), operating(server, api, tmp_path) as operator:
        server.apply(body(constraints=["params.y > 0.5"]))
        await until(lambda: server.condition("Finished").get("reason") == "InvalidSpec")
        assert server.condition("Stalled")["status"] == server.condition("Finished")["status"] == "True"
        assert not server.pods
        assert await operator.answer(*POD) == "410"
        server.apply(body())
        await until(lambda: POD[0] in server.pods)


async def test_a_journal_whose_spec_this_version_cannot_carry_out_is_too_new(tmp_path: Path) -> None:
    async with served() as (server, api):
        tune = server.apply(body(numSamples=1))
        created = {"kind": "created", "name": "exp", "namespace": "team", "uid": tune["metadata"]["uid"], "time": 1.0}
        async with operating(server, api, tmp_path) as operator:
            await until(lambda: POD[0] in server.pods)
            folder = operator.folder().path
        for segment in folder.glob("journal.*"):
            segment.unlink()
        newer = {**tune, "spec": {**tune["spec"], "resumeFrom": {"experiment": "earlier"}}}
        Journal.open(folder, [{**created, "body": newer}])[0].close()
        async with operating(server, api, tmp_path) as operator:
            await until(lambda: server.condition("Stalled").get("reason") == "JournalTooNew")
            assert "spec.resumeFrom" in server.condition("Stalled")["message"]
            assert [one.name for one in folder.glob("journal.*")] == ["journal.1.jsonl"], "a try leaves nothing behind"
            assert not operator.failures


async def test_one_whose_operator_was_killed_before_its_first_record_was_safe_is_begun(tmp_path: Path) -> None:
    async with served() as (server, api):
        server.apply(body())
        async with operating(server, api, tmp_path) as operator:
            folder = operator.folder().path
            folder.mkdir(parents=True)
            (folder / "journal.1.jsonl").touch()
            await until(lambda: POD[0] in server.pods)


async def test_journals_are_replayed_one_at_a_time(tmp_path: Path) -> None:
    """Each takes memory for all of its past."""
    async with served() as (server, api), operating(server, api, tmp_path) as operator:
        async with operator.shared.replaying.turn():  # somebody else's
            server.apply(body(numSamples=1))
            await until(lambda: server.read > 0)
            await asyncio.sleep(0.3)
            assert not list((tmp_path / "results").glob("team/*/journal.*"))
        await until(lambda: POD[0] in server.pods)


@pytest.mark.slow
async def test_while_a_long_journal_is_read_everything_else_goes_on(tmp_path: Path) -> None:
    pauses: list[float] = []

    async def turn() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.005)
            pauses.append(time.monotonic() - before)

    async with served() as (server, api):
        server.apply(body(numSamples=1))
        async with operating(server, api, tmp_path) as operator:
            await until(lambda: POD[0] in server.pods)
            experiment, key, uid = await operator.experiments.identify(" ".join(POD))
            await experiment.hello(key, uid)
            await experiment.report(key, uid, 0, [json.dumps({"accuracy": number}) for number in range(5000)])
            result = operator.folder().path / "exp-00000" / "result.json"
            await until(lambda: result.exists() and result.read_bytes().count(b"\n") == 5000)
        result.write_bytes(b"")
        turning = asyncio.create_task(turn())
        async with operating(server, api, tmp_path) as operator:
            assert await answered(operator, server, POD[0]) == "200"
            await until(lambda: result.read_bytes().count(b"\n") == 5000)
        turning.cancel()
        assert max(pauses) < sum(pauses) / 3


async def test_nothing_is_taken_of_its_trials_before_its_files_are_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that makes them level reads what a report would change."""
    async with served() as (server, api):
        server.apply(body(numSamples=1))
        async with operating(server, api, tmp_path):
            await until(lambda: POD[0] in server.pods)
        level, begun, go_on = Publisher.level, threading.Event(), threading.Event()

        def slowly(publisher: Publisher, past: Past) -> None:
            begun.set()
            go_on.wait(PATIENCE)
            level(publisher, past)

        monkeypatch.setattr(Publisher, "level", slowly)
        async with operating(server, api, tmp_path) as operator:
            await until(begun.is_set)
            with pytest.raises(Unavailable, match="not open yet"):
                await operator.experiments.identify(" ".join(POD))
            go_on.set()
            assert await answered(operator, server, POD[0]) == "200"


# --- gone, and there anew ---


@pytest.mark.parametrize("after", [0.0, DEBOUNCE / 2, DEBOUNCE * 2])
async def test_one_that_is_deleted_and_applied_anew_at_once_is_taken_up(tmp_path: Path, after: float) -> None:
    async with served() as (server, api), operating(server, api, tmp_path) as operator:
        server.apply(body(numSamples=1))
        await until(lambda: POD[0] in server.pods)
        await asyncio.sleep(3 * DEBOUNCE)  # its bell has rung out
        before = operator.folder().path
        server.delete()
        await asyncio.sleep(after)
        server.pods.clear()
        server.apply(body(numSamples=1))
        assert operator.folder().path != before
        await until(lambda: POD[0] in server.pods, seconds=5)


async def keep_on(operator: Operator, experiment: Experiment, key: Key) -> None:
    """Bring output again and again, until that is refused."""
    while True:
        await operator.experiments.keep(experiment, key, "stdout", 0, b"")
        await asyncio.sleep(0.01)


async def test_what_an_earlier_one_of_the_name_still_prints_is_not_the_new_ones(tmp_path: Path) -> None:
    """Its sidecar was known when the piece began to come, and the piece took its time."""
    async with served() as (server, api), operating(server, api, tmp_path) as operator:
        server.apply(body(numSamples=1))
        await until(lambda: POD[0] in server.pods)
        experiment, key, _ = await operator.experiments.identify(f"{POD[0]} {server.pods[POD[0]]['metadata']['uid']}")
        server.delete()
        server.pods.clear()
        server.apply(body(numSamples=1))
        with pytest.raises(Unavailable, match="not open"):
            await keep_on(operator, experiment, key)
        await until(lambda: POD[0] in server.pods)
        with pytest.raises(Unavailable, match="not open"):
            await operator.experiments.keep(experiment, key, "stdout", 0, b"of the first\n")
        assert not list(operator.folder().path.glob("*/stdout"))


async def test_in_a_namespace_that_was_made_anew_it_is_found_again_when_the_operator_comes_again(tmp_path: Path) -> None:
    async with served() as (server, api):
        async with operating(server, api, tmp_path):
            server.apply(body("earlier"))
            await until(lambda: "earlier-00000-0" in server.pods)
            server.delete("earlier")
            server.namespace_uid = str(uuid.UUID(int=8 << 96))
            server.apply(body(numSamples=1))
            await until(lambda: "exp-00000-0" in server.pods)
        async with operating(server, api, tmp_path) as operator:
            assert await answered(operator, server, "exp-00000-0") == "200"
        assert len(list((tmp_path / "results").glob("team.*/earlier.*/journal.*"))) == 1


async def test_it_is_looked_for_until_the_api_server_answers(tmp_path: Path) -> None:
    async with served() as (server, api), operating(server, api, tmp_path) as operator:
        await again(server, answers=[200, 503])
        await until(lambda: POD[0] in server.pods, seconds=5)
        assert not operator.failures


async def test_an_operator_that_ends_looks_for_nothing_any_more(tmp_path: Path) -> None:
    async with served() as (server, api):
        async with operating(server, api, tmp_path):
            await again(server, answers=[200] + [503] * 1000)
            await until(lambda: len(server.answers) < 1000)
        assert not [task for task in asyncio.all_tasks() if "exp" in task.get_name()]


async def test_one_that_is_on_its_way_out_is_left_alone(tmp_path: Path) -> None:
    """Somebody's finalizer holds it; the watch says when it is gone."""
    async with served() as (server, api), operating(server, api, tmp_path):
        server.apply(body(numSamples=1))
        await until(lambda: POD[0] in server.pods)
        server.tunes["exp"]["metadata"]["deletionTimestamp"] = "2026-11-24T10:00:00Z"
        server.rings(server.tunes["exp"])
        await asyncio.sleep(0.3)
        read = server.read
        await asyncio.sleep(0.3)
        assert server.read == read


async def test_the_trials_of_one_that_is_on_its_way_out_are_told_that_it_is_over(tmp_path: Path) -> None:
    """Deleted in the foreground, it is there until its pods are gone: told to wait, each would take all of its grace."""
    async with served() as (server, api), operating(server, api, tmp_path) as operator:
        server.apply(body(numSamples=1))
        await until(lambda: POD[0] in server.pods)
        server.tunes["exp"]["metadata"]["deletionTimestamp"] = "2026-11-24T10:00:00Z"
        server.rings(server.tunes["exp"])
        await asyncio.sleep(0.5)
        assert await operator.answer(POD[0], server.pods[POD[0]]["metadata"]["uid"]) == "410"


async def again(server: Server, answers: list[int]) -> None:
    """Delete a running experiment and apply it again at once; what is read from then on is answered so, then in earnest."""
    server.apply(body(numSamples=1))
    await until(lambda: POD[0] in server.pods)
    await asyncio.sleep(3 * DEBOUNCE)  # its bell has rung out
    server.answers[:] = answers
    server.delete()
    server.pods.clear()
    server.apply(body(numSamples=1))


# --- the end of the operator ---


@pytest.mark.parametrize("turns", range(4), ids="{} turns of the loop after the bell".format)
@pytest.mark.parametrize("finished", [False, True], ids=["while it runs", "when it has finished"])
async def test_an_operator_ends_whatever_rings_meanwhile(tmp_path: Path, turns: int, *, finished: bool) -> None:
    async with served() as (server, api):
        server.refusal = lambda _pod: (422, "no pods here") if finished else None
        async with operating(server, api, tmp_path) as operator:
            server.apply(body(numSamples=1))
            if finished:
                await until(lambda: server.condition("Finished").get("status") == "True")
            else:
                await until(lambda: POD[0] in server.pods)
            await asyncio.sleep(3 * DEBOUNCE)
            server.rings(server.tunes["exp"])
            for pod in server.pods.values():
                operator.experiments.hear_pod(pod, deleted=False, listed=False)
            for _ in range(turns):
                await asyncio.sleep(0)
            async with asyncio.timeout(2):
                await operator.experiments.close()
