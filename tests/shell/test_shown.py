"""What a TuneExperiment shows of itself, on an API server that merges what it is sent, as one does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kubetune_operator import life, resource
from tests.shell.lives import Json, Server, body, files_held, merged, operating, report, served, until

pytestmark = pytest.mark.slow  # a status is written once a second, and each waits for one or several

GRID = [
    {"name": "layers", "gridSearch": [1, 2]},
    {"name": "dropout", "uniform": {"low": 0.1, "high": 0.5}, "when": "params.layers == 1"},
]


def shown(server: Server) -> Json:
    found: Json = server.tunes["exp"].get("status") or {}
    return found


async def test_of_the_best_trial_nothing_is_an_earlier_ones(tmp_path: Path) -> None:
    async with served() as (server, api), operating(server, api, tmp_path) as operator:
        server.apply(body(parameters=GRID, numSamples=1))
        await report(operator, server, 0, accuracy=0.5, loss=1.5)
        await until(lambda: "loss" in (shown(server).get("bestTrial") or {}).get("metrics", {}))
        assert shown(server)["bestTrial"]["params"].keys() == {"layers", "dropout"}
        await report(operator, server, 1, accuracy=0.75)
        await until(lambda: shown(server)["bestTrial"]["name"] == "exp-00001")
        await until(lambda: "loss" not in shown(server)["bestTrial"]["metrics"], seconds=3)
        assert shown(server)["bestTrial"]["params"] == {"layers": 2}
        assert shown(server)["bestTrial"]["value"] == "0.75"


async def test_one_that_goes_on_has_no_end_any_more(tmp_path: Path) -> None:
    """Its time to live begins with its end; one that is over would have it deleted."""
    async with served() as (server, api), operating(server, api, tmp_path) as operator:
        server.apply(body(numSamples=1))
        await report(operator, server, 0, ends=True, accuracy=0.5)
        await until(lambda: server.condition("Finished").get("reason") == "Completed")
        assert "finishTime" in shown(server)
        server.apply(body(numSamples=2))
        await until(lambda: server.condition("Finished").get("status") == "False")
        assert "finishTime" not in shown(server)


async def test_one_that_has_finished_is_not_held_in_memory_and_goes_on_when_it_is_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (life, resource):
        monkeypatch.setattr(module, "RESYNC", 1.0)
    async with served() as (server, api), operating(server, api, tmp_path) as operator:
        server.apply(body(numSamples=1))
        await report(operator, server, 0, accuracy=0.5)
        token = f"exp-00000-0 {server.pods['exp-00000-0']['metadata']['uid']}"
        journal = operator.folder().path / "journal.1.jsonl"
        assert journal in files_held()
        server.refused_deletions = 3  # a second, two and four: its pod is not let go of before it is on its way out
        await report(operator, server, 0, ends=True, accuracy=0.75)
        await until(lambda: server.condition("Finished").get("status") == "True")
        await until(lambda: journal not in files_held())
        assert not server.pods
        assert await operator.answer(*token.split()) == "410"
        done = shown(server)
        server.apply(body(numSamples=2))
        await report(operator, server, 1, ends=True, accuracy=0.25)
        await until(lambda: shown(server)["progress"] == "2/2" and server.condition("Finished")["status"] == "True")
        assert shown(server)["bestTrial"] == done["bestTrial"]
        assert not operator.failures


async def test_once_its_time_to_live_is_over_it_is_deleted_and_its_results_are_not(tmp_path: Path) -> None:
    async with served() as (server, api), operating(server, api, tmp_path) as operator:
        server.apply(body(numSamples=1, ttlSecondsAfterFinished=1))
        folder = operator.folder().path
        await report(operator, server, 0, accuracy=0.5)
        await asyncio.sleep(1.5)
        assert "exp" in server.tunes, "it has not finished"
        await report(operator, server, 0, ends=True, accuracy=0.75)
        await until(lambda: "finishTime" in shown(server))
        await asyncio.sleep(2)  # a time has whole seconds
        if "exp" in server.tunes:  # whatever else wakes the operator may have come first
            server.rings(server.tunes["exp"])
        await until(lambda: "exp" not in server.tunes, seconds=5)
        assert (folder / "trials.csv").exists()


async def test_so_is_one_whose_spec_was_refused(tmp_path: Path) -> None:
    wrong = body(ttlSecondsAfterFinished=0)
    wrong["spec"]["trial"]["template"]["spec"]["containers"][0]["args"] = ["${params.absent}"]
    async with served() as (server, api), operating(server, api, tmp_path):
        server.apply(wrong)
        await until(lambda: "exp" not in server.tunes, seconds=5)
        await until(lambda: server.reasons() == ["InvalidSpec"])


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        pytest.param({"a": "b"}, {"a": "c"}, {"a": "c"}, id="replaced"),
        pytest.param({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}, id="added"),
        pytest.param({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}, id="removed"),
        pytest.param({"a": ["b"]}, {"a": "c"}, {"a": "c"}, id="a list is replaced"),
        pytest.param({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}, id="an object is merged"),
        pytest.param({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}, id="what is not there cannot be removed"),
    ],
)
def test_the_server_merges_by_rfc_7396(target: Json, patch: Json, result: Json) -> None:
    """Examples of its appendix A."""
    assert merged(target, patch) == result
