"""A TuneExperiment that has ended and goes on, and one that has an earlier one's name: nothing of what was before counts again."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path

import pytest

from kubetune_operator import life, resource
from kubetune_operator.core.records import Edited, encode
from kubetune_operator.errors import Unavailable
from kubetune_operator.journal import Journal
from tests.shell.lives import Server, body, files_held, operating, report, served, until

pytestmark = pytest.mark.slow  # a status is written once a second, and each waits for one or several


def ended(server: Server) -> bool:
    return "finishTime" in (server.tunes["exp"].get("status") or {})


async def test_each_report_that_was_acknowledged_is_in_the_results_of_one_that_was_deleted(tmp_path: Path) -> None:
    async with served() as (server, api), operating(server, api, tmp_path) as operator:
        server.apply(body(numSamples=1))
        await until(lambda: "exp-00000-0" in server.pods)
        results = operator.folder().path / "exp-00000/result.json"
        uid = server.pods["exp-00000-0"]["metadata"]["uid"]
        experiment, key, _ = await operator.experiments.identify(f"exp-00000-0 {uid}")
        wanted = await experiment.hello(key, uid)
        server.delete()
        with suppress(Unavailable):
            while True:
                wanted = (await experiment.report(key, uid, wanted, ['{"accuracy": 0.5}'])).next
        assert wanted > 0
        await until(lambda: results.exists() and len(results.read_bytes().splitlines()) == wanted)


@pytest.mark.parametrize("held", [True, False], ids=["held in memory", "let go of"])
async def test_its_time_to_live_begins_anew_with_each_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, held: bool) -> None:
    """As its resource was when it was taken up, its time has been over long since."""
    if not held:
        for module in (life, resource):
            monkeypatch.setattr(module, "RESYNC", 0.5)
    async with served() as (server, api), operating(server, api, tmp_path) as operator:
        server.apply(body(numSamples=1))
        await report(operator, server, 0, ends=True, accuracy=0.5)
        journal = operator.folder().path / "journal.1.jsonl"
        await until(lambda: ended(server))
        if not held:
            await until(lambda: journal not in files_held())
        for trial in (1, 2):
            server.apply(body(numSamples=trial + 1, ttlSecondsAfterFinished=4))
            await until(lambda: f"exp-0000{trial}-0" in server.pods)  # noqa: B023 - it is over when the next begins
            await asyncio.sleep(4.5)
            await report(operator, server, trial, ends=True, accuracy=0.5)
            await until(lambda: ended(server))
            await asyncio.sleep(2)
            assert "exp" in server.tunes
        await until(lambda: "exp" not in server.tunes, seconds=5)


async def test_one_whose_operator_was_killed_between_an_edit_and_that_it_goes_on_goes_on(tmp_path: Path) -> None:
    async with served() as (server, api):
        server.apply(body(numSamples=1))
        async with operating(server, api, tmp_path) as operator:
            await report(operator, server, 0, ends=True, accuracy=0.5)
            await until(lambda: server.condition("Finished").get("status") == "True")
            folder = operator.folder().path
        journal, records = Journal.open(folder)
        created = records[0]["body"]
        journal.append([encode(Edited({**created, "spec": {**created["spec"], "numSamples": 2}}, time.time()))])
        journal.close()
        async with operating(server, api, tmp_path) as operator:
            server.apply(body(numSamples=2))
            await until(lambda: "exp-00001-0" in server.pods)
            await until(lambda: server.condition("Finished")["status"] == "False")
            assert not operator.failures


async def test_one_is_begun_though_the_end_of_an_earlier_one_of_its_name_was_written_into_its_status(tmp_path: Path) -> None:
    """The operator could write before it could read, so that it did not know yet."""
    async with served() as (server, api), operating(server, api, tmp_path) as operator:
        server.apply(body(numSamples=1))
        await report(operator, server, 0, accuracy=0.5)
        server.answers = [503] * 2
        server.delete()
        server.apply(body(numSamples=1))
        await report(operator, server, 0, ends=True, accuracy=0.75)
        await until(lambda: server.condition("Finished").get("status") == "True")
        assert server.answers, "it has not been read yet"
        server.pods.clear()
        await until(lambda: "exp-00000-0" in server.pods)
        await until(lambda: server.condition("Finished")["status"] == "False")
        assert "bestTrial" not in server.tunes["exp"]["status"]
