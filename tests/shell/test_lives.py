"""What becomes of TuneExperiments while an operator runs, ends and comes again: over an API server of a few lines, for real."""

from __future__ import annotations

from pathlib import Path

from kubetune_operator.journal import Journal
from tests.shell.lives import body, operating, served, until

POD = ("exp-00000-0", "pod-2")  # of the first trial, as the server gives uids


# --- taken up again ---


async def test_an_edit_that_is_refused_ends_nothing_when_the_operator_comes_again(tmp_path: Path) -> None:
    """Its journal says what the experiment is; what the resource says by now was never taken over."""
    async with served() as (server, api):
        server.apply(body(numSamples=1))
        async with operating(server, api, tmp_path) as operator:
            await until(lambda: POD[0] in server.pods)
            server.apply(body(numSamples=1, constraints=["params.x > 0.5"]))
            await until(lambda: "EditIgnored" in server.reasons())
        server.events.clear()
        async with operating(server, api, tmp_path) as operator:
            await until(lambda: "EditIgnored" in server.reasons())
            assert await operator.answer(*POD) == "200"
        assert (server.condition("Finished")["status"], server.condition("Stalled")["status"]) == ("False", "False")
        assert server.tunes["exp"]["status"]["observedGeneration"] == 2
        assert not operator.failures


async def test_a_spec_that_is_wrong_from_the_start_is_refused_and_taken_up_once_it_is_mended(tmp_path: Path) -> None:
    async with served() as (server, api), operating(server, api, tmp_path) as operator:
        server.apply(body(constraints=["params.x > 0.5"]))
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
        newer = {**tune, "spec": {**tune["spec"], "constraints": ["params.x > 0.5"]}}
        Journal.open(folder, [{**created, "body": newer}])[0].close()
        async with operating(server, api, tmp_path) as operator:
            await until(lambda: server.condition("Stalled").get("reason") == "JournalTooNew")
            assert "spec.constraints" in server.condition("Stalled")["message"]
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
