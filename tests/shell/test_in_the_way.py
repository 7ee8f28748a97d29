"""What stands in the way of one experiment: a journal that cannot be had, its folder, a fault of ours. The others go on."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from kubetune_operator.core.records import Record
from kubetune_operator.core.standing import Judged
from kubetune_operator.journal import Journal
from kubetune_operator.publish import Publisher
from kubetune_operator.reconcile import Reconciler
from tests.shell.lives import answered, body, operating, report, served, until

pytestmark = pytest.mark.slow  # a status is written once a second, and each waits for one or several

POD = ("exp-00000-0", "pod-2")  # of the first trial, as the server gives uids


# --- what its trials are told meanwhile ---


def missing(folder: Path) -> None:
    """Lose the journal."""
    shutil.rmtree(folder)


def damaged(folder: Path) -> None:
    """Spoil its first byte."""
    journal = folder / "journal.1.jsonl"
    journal.write_bytes(b"X" + journal.read_bytes()[1:])


def too_new(folder: Path) -> None:
    """Have it written by a later version."""
    journal, _ = Journal.open(folder)
    journal.append([{"kind": "invented"}])
    journal.close()


@pytest.mark.parametrize(
    ("spoil", "reason"), [(missing, "JournalMissing"), (damaged, "JournalDamaged"), (too_new, "JournalTooNew")]
)
async def test_while_its_journal_cannot_be_had_its_trials_wait(
    tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    """Told that all is over, they would stop, and what they have found would be lost."""
    async with served() as (server, api):
        server.apply(body(numSamples=1))
        async with operating(server, api, tmp_path) as operator:
            await until(lambda: POD[0] in server.pods)
            folder = operator.folder().path
        spoil(folder)
        async with operating(server, api, tmp_path) as operator:
            await until(lambda: server.condition("Stalled").get("reason") == reason)
            assert await operator.answer(*POD) == "503"
            assert server.condition("Finished")["status"] == "False"
            assert len(server.pods) == 1
            said = server.tunes["exp"]["status"]
            patches = len(server.patches)
            for _ in range(3):  # the clock of conditions has whole seconds
                server.rings(server.tunes["exp"])
                await asyncio.sleep(0.5)
            assert (len(server.patches), server.tunes["exp"]["status"]) == (patches, said)
            assert server.reasons().count(reason) == 1
        async with operating(server, api, tmp_path):
            await asyncio.sleep(0.5)
        assert server.reasons().count(reason) == 1, "the resource says it already"


async def test_one_that_has_finished_stays_so_on_an_empty_volume_and_is_mended_when_its_own_is_back(tmp_path: Path) -> None:
    async with served() as (server, api):
        server.refusal = lambda _pod: (422, "no pods here")
        server.apply(body())
        async with operating(server, api, tmp_path / "own"):
            await until(lambda: server.condition("Finished").get("status") == "True")
        done = server.tunes["exp"]["status"]
        async with operating(server, api, tmp_path / "empty"):
            await until(lambda: server.condition("Stalled").get("reason") == "JournalMissing")
        said = server.tunes["exp"]["status"]
        assert {**said, "conditions": None} == {**done, "conditions": None}
        assert [one for one in said["conditions"] if one["type"] != "Stalled"] == [
            one for one in done["conditions"] if one["type"] != "Stalled"
        ]
        async with operating(server, api, tmp_path / "own"):
            await until(lambda: server.condition("Stalled").get("reason") == "TemplateRejected")


async def test_once_it_has_finished_its_trials_are_told_so(tmp_path: Path) -> None:
    async with served() as (server, api):
        tune = server.apply(body())
        finished = {"type": "Finished", "status": "True", "reason": "Completed"}
        tune["status"] = {"observedGeneration": 1, "conditions": [finished]}
        async with operating(server, api, tmp_path) as operator:
            answers = [await operator.answer(*POD)]
            while answers[-1] != "410":
                await asyncio.sleep(0.01)
                answers.append(await operator.answer(*POD))
            assert set(answers[:-1]) <= {"503"}, "until it is known"


def a_folder_for_the_link(results: Path, uid: str) -> Path:
    (results / "team/exp").mkdir(parents=True)
    return results / "team/exp"


def a_file_for_the_namespace(results: Path, uid: str) -> Path:
    (results / "team").write_text("mine")
    return results / "team"


def a_link_that_leads_out(results: Path, uid: str) -> Path:
    (results / "team").mkdir()
    path = results / f"team/exp.{uid[:8]}"
    path.symlink_to("/")
    return path


def a_link_to_itself(results: Path, uid: str) -> Path:
    (results / "team").mkdir()
    path = results / f"team/exp.{uid[:8]}"
    path.symlink_to(path)
    return path


def a_folder_where_those_of_an_earlier_namespace_belong(results: Path, uid: str) -> Path:
    (results / "team").mkdir()
    (results / "team/.namespace-uid").write_text("0000000a-0000\n")
    (results / "team.0000000a/kept").mkdir(parents=True)
    return results / "team.0000000a"


@pytest.mark.parametrize(
    "put",
    [
        a_folder_for_the_link,
        a_file_for_the_namespace,
        a_link_that_leads_out,
        a_link_to_itself,
        a_folder_where_those_of_an_earlier_namespace_belong,
    ],
)
async def test_what_is_in_the_way_of_its_folder_holds_up_no_other(tmp_path: Path, put: Callable[[Path, str], Path]) -> None:
    async with served() as (server, api):
        results = tmp_path / "results"
        results.mkdir()
        there = put(results, server.apply(body(numSamples=1))["metadata"]["uid"])
        async with operating(server, api, tmp_path) as operator:
            await until(lambda: server.condition("Stalled").get("reason") == "FolderUnusable")
            message = server.condition("Stalled")["message"]
            assert str(there) in message
            assert "it goes on by itself" in message
            assert server.condition("Finished")["status"] == "False"
            await until(lambda: server.reasons() == ["FolderUnusable"])
            assert not operator.failures
            there.rename(tmp_path / "away")
            server.rings(server.tunes["exp"])
            await until(lambda: POD[0] in server.pods)
            await until(lambda: server.condition("Stalled")["status"] == "False")


async def test_a_fault_that_one_experiment_brings_out_ends_no_other_and_is_got_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rightly, written, faulty = Reconciler.turn, Publisher.write, ["exp"]

    async def turn(self: Reconciler) -> float | None:
        created = self._experiment.history.created
        if created is not None and created.name in faulty:
            raise ArithmeticError("nobody foresaw this")
        return await rightly(self)

    def write(self: Publisher, records: Sequence[Record], judged: Sequence[Judged]) -> None:
        if self._name in faulty:  # once more, while it is let go of
            raise ArithmeticError("nor this")
        written(self, records, judged)

    async with served() as (server, api), operating(server, api, tmp_path) as operator:
        server.apply(body(numSamples=1))
        await report(operator, server, 0, accuracy=0.5)
        monkeypatch.setattr(Reconciler, "turn", turn)
        monkeypatch.setattr(Publisher, "write", write)
        server.apply(body(numSamples=2))  # an edit asks for a turn
        await until(lambda: server.condition("Stalled").get("reason") == "InternalError")
        assert "ArithmeticError: nobody foresaw this" in server.condition("Stalled")["message"]
        assert await operator.answer(POD[0], server.pods[POD[0]]["metadata"]["uid"]) == "503", "its sidecar waits"
        server.apply(body("other", numSamples=1))
        await until(lambda: "other-00000-0" in server.pods)
        assert not operator.failures
        faulty.clear()
        await until(lambda: server.condition("Stalled")["status"] == "False")
        assert await answered(operator, server, POD[0]) == "200"
        await report(operator, server, 0, ends=True, accuracy=0.75)
        await until(lambda: server.tunes["exp"]["status"]["trials"]["succeeded"] == 1)
    assert "a fault of kubetune's" in caplog.text
