"""The wire, as a sidecar sees it: numbers, next, refusals, eof, and 410 only for what the journal has closed. Real HTTP, real journal."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from kubetune_operator import status
from kubetune_operator.core.plan import closing
from kubetune_operator.core.records import Close, Closed, Created, Started, Suggested
from kubetune_operator.core.standing import Key
from kubetune_operator.core.trials import Decision
from kubetune_operator.errors import AttemptClosed, Forbidden, KubetuneError, Unauthenticated, Unavailable
from kubetune_operator.experiment import Experiment, load
from kubetune_operator.intake import SILENCE, Intake, Refusals
from tests.sim.world import spec

KEY = (0, 0)
STRANGERS: dict[str, type[KubetuneError]] = {
    "nobody": Unauthenticated,
    "no-trial": Forbidden,
    "over": AttemptClosed,
    "not-loaded": Unavailable,
}


@dataclass
class Wire:
    """An open intake with one attempt, and a client that holds its token."""

    experiment: Experiment
    client: aiohttp.ClientSession
    folder: Path

    async def ask(self, path: str, body: Any, token: str = "good") -> tuple[int, dict[str, Any]]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.client.post(f"/v1/{path}", data=io.BytesIO(data), headers={"Authorization": f"Bearer {token}"}) as answer:
            return answer.status, await answer.json(content_type=None) if answer.content_type == "application/json" else {}

    async def report(self, first: int, *lines: Any) -> dict[str, Any]:
        status, answer = await self.ask("reports", {"first": first, "lines": list(lines)})
        assert status == 200
        return answer


@pytest_asyncio.fixture
async def wire(tmp_path: Path) -> AsyncIterator[Wire]:
    wanted = spec(stop={"accuracy": 0.9})
    experiment = Experiment.create(tmp_path, Created("exp", "default", "uid", {}, 1.0), wanted, lambda: 5.0)
    await experiment.record(
        [Suggested(0, {"x": 0.5}, 2.0), Started(0, 0, 3.0), Suggested(1, {"x": 0.5}, 2.0), Started(1, 0, 3.0)]
    )
    tokens = {"good": (KEY, "pod-1"), "other": (KEY, "pod-2"), "silent": ((1, 0), "pod-3")}

    async def identity(token: str) -> tuple[Experiment, Key, str]:
        if token not in tokens:
            raise STRANGERS[token]("not for us")
        return experiment, *tokens[token]

    intake = Intake(identity, patience=0.3)
    async with aiohttp.ClientSession(await intake.open()) as client:
        opened = Wire(experiment, client, tmp_path)
        assert (await opened.ask("hello", {"wire": 1}))[0] == 200
        yield opened
    await intake.close()
    await experiment.close()


ALL = [("hello", {"wire": 1}), ("reports", {"first": 0, "lines": ['{"accuracy": 0.1}']}), ("eof", {"next": 0, "exit_code": 0})]


async def test_hello_binds_the_pod_and_another_pod_is_turned_away_whatever_it_says(wire: Wire) -> None:
    assert await wire.ask("hello", {"wire": 1}) == (200, {"wire": 1, "next": 0})
    for path, body in ALL:
        assert (await wire.ask(path, body, token="other"))[0] == 410
    attempt = wire.experiment.history.open[KEY]
    assert (attempt.next, attempt.end, attempt.uid) == (0, None, "pod-1")
    assert (await wire.ask("hello", {"wire": 1}))[0] == 200


async def test_before_hello_nothing_is_taken_and_the_sidecar_is_told_to_say_it(wire: Wire) -> None:
    for path, body in ALL[1:]:
        status, answer = await wire.ask(path, body, token="silent")
        assert status == 409
        assert "hello" in answer["error"]
    attempt = wire.experiment.history.open[(1, 0)]
    assert (attempt.next, attempt.end) == (0, None)
    for path, body in ALL:
        assert (await wire.ask(path, body, token="silent"))[0] == 200
    assert wire.experiment.history.open[(1, 0)].end is not None


@pytest.mark.parametrize(
    ("path", "body", "token", "status"),
    [
        ("hello", {"wire": 1}, "nobody", 401),
        ("hello", {"wire": 1}, "no-trial", 403),
        ("hello", {"wire": 1}, "over", 410),
        ("hello", {"wire": 1}, "not-loaded", 503),
        ("reports", b"{", "nobody", 401),
        ("hello", {"wire": 2}, "good", 400),
        ("reports", b"{", "good", 400),
        ("reports", {"first": -1, "lines": []}, "good", 400),
        ("reports", {"first": 0, "lines": [7]}, "good", 400),
        ("reports", {"first": True, "lines": []}, "good", 400),
        ("reports", b"[" * 100_000, "good", 400),
        ("reports", b" " * 2_000_000, "good", 413),
        ("eof", {"next": 0, "exit_code": "0"}, "good", 400),
        ("eof", {"next": 0, "signal": 10**4299, "oom": True}, "good", 400),
        ("eof", {}, "good", 400),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_what_is_not_the_wire_is_refused_and_changes_nothing(
    wire: Wire, path: str, body: Any, token: str, status: int
) -> None:
    assert (await wire.ask(path, body, token))[0] == status
    assert wire.experiment.history.open[KEY].next == 0


async def test_lines_are_taken_once_however_often_they_come(wire: Wire) -> None:
    lines = ['{"accuracy": 0.1}', "not JSON", '{"accuracy": 0.2}']
    first = await wire.report(0, *lines)
    assert (first["next"], first["stop"]) == (3, False)
    assert [number for number, _ in first["refused"]] == [1]
    again = await wire.report(0, *lines, '{"accuracy": 0.3}')
    assert (again["next"], again["refused"]) == (4, [])
    gap = await wire.report(9, '{"accuracy": 0.4}')
    assert gap["next"] == 4
    trial = wire.experiment.history.trials[0]
    assert (trial.reports, trial.refused, trial.value) == (3, 1, 0.3)


async def test_the_same_lines_from_many_requests_at_once_are_taken_once(wire: Wire) -> None:
    lines = [f'{{"accuracy": 0.{number}}}' for number in range(1, 9)]
    answers = await asyncio.gather(*(wire.report(0, *lines[: number + 1]) for number in range(8)))
    assert max(answer["next"] for answer in answers) == 8
    assert wire.experiment.history.trials[0].reports == 8


async def test_the_answer_carries_the_decision_and_it_is_durable_by_then(wire: Wire) -> None:
    answer = await wire.report(0, '{"accuracy": 0.95}', '{"accuracy": 0.99}')
    assert (answer["stop"], answer["reason"], answer["next"]) == (True, "StopMetrics", 2)
    replayed = load(wire.folder, lambda _: wire.experiment.history.spec)
    assert replayed.history.open[KEY].reason == "StopMetrics"
    assert [(one.verdict.decision, one.after_stop) for one in replayed.judged] == [
        (Decision.STOP, False),
        (Decision.CONTINUE, True),
    ]
    assert not replayed.history.undecided


async def test_a_known_number_with_another_content_fails_the_attempt(wire: Wire) -> None:
    await wire.report(0, '{"accuracy": 0.1}')
    answer = await wire.report(0, '{"accuracy": 0.2}')
    assert (answer["stop"], answer["reason"], answer["next"]) == (True, "ReportsRewritten", 1)
    assert wire.experiment.history.trials[0].value == 0.1


async def test_a_trial_may_not_report_more_than_256_different_metrics(wire: Wire) -> None:
    await wire.report(0, json.dumps({f"a{number}": 1 for number in range(250)}))
    answer = await wire.report(1, json.dumps({f"b{number}": 1 for number in range(7)}), '{"accuracy": 0.5}')
    assert [number for number, _ in answer["refused"]] == [1]
    assert "256" in answer["refused"][0][1]
    answer = await wire.report(3, json.dumps({"a": {f"c{number}": 1 for number in range(257)}}))
    assert [number for number, _ in answer["refused"]] == [3]
    lines = [json.dumps({name: 1}) for name in ("a0", "d0", "d1", "d2", "d3", "d4", "d5", "a1", "d0")]
    answer = await wire.report(4, *lines)
    assert [number for number, _ in answer["refused"]] == [10], "the lines before it in its own batch count too"


async def test_eof_that_comes_too_early_is_told_the_number_wanted(wire: Wire) -> None:
    end = {"exit_code": 0, "signal": None, "terminated": False, "killed": False, "error": None}
    assert await wire.ask("eof", {"next": 2, **end}) == (200, {"next": 0, "closed": False})
    await wire.report(0, '{"accuracy": 0.1}', '{"accuracy": 0.2}')
    assert await wire.ask("eof", {"next": 2, **end}) == (200, {"next": 2, "closed": True})
    assert await wire.ask("eof", {"next": 2, **end}) == (200, {"next": 2, "closed": True})


async def test_eof_with_fewer_lines_than_are_known_fails_the_attempt(wire: Wire) -> None:
    """The report file was emptied: its last number is the only sign of it."""
    await wire.report(0, '{"accuracy": 0.1}', '{"accuracy": 0.2}')
    assert await wire.ask("eof", {"next": 0, "exit_code": 0}) == (200, {"next": 0, "closed": True})
    assert wire.experiment.history.open[KEY].reason == "ReportsRewritten"


@pytest.mark.parametrize("name", ["error", "tail"])
async def test_last_words_are_text_that_a_status_can_hold(wire: Wire, name: str) -> None:
    """A program can have the sidecar say what it likes, and all of the operator must not end of it."""
    assert await wire.ask("eof", {"next": 0, "exit_code": 1, name: "half \ud800 of a pair " + "a" * 5000}) == (
        200,
        {"next": 0, "closed": True},
    )
    end = wire.experiment.history.open[KEY].end
    assert end is not None
    words = getattr(end, name)
    assert words.encode().decode() == words
    assert len(words) == 4096
    await wire.experiment.record([closing(wire.experiment.history.open[KEY], None, 6.0)])
    assert status.render(wire.experiment.history, "exp")["trials"]["waiting"] == 1


async def test_only_a_closed_attempt_is_gone(wire: Wire) -> None:
    await wire.report(0, '{"accuracy": 0.1}')
    await wire.experiment.record([Closed(0, 0, Close.SUCCEEDED, "Completed", "", 6.0)])
    for path, body in [("hello", {"wire": 1}), ("reports", {"first": 1, "lines": []}), ("eof", {"next": 1})]:
        assert (await wire.ask(path, body))[0] == 410


async def test_without_space_nothing_is_taken_and_the_sender_comes_again(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    for number in range(2):
        line = f'{{"accuracy": 0.{number}}}'
        monkeypatch.setattr(os, "write", full)
        for _ in range(3):
            status, _ = await wire.ask("reports", {"first": number, "lines": [line]})
            assert status == 507
        monkeypatch.undo()
        assert caplog.text.count("answered 507") == number + 1, "said once, until something was taken again"
        assert wire.experiment.history.open[KEY].next == number
        assert (await wire.report(number, line))["next"] == number + 1


async def test_a_flood_of_strangers_does_not_fill_the_log(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(20):
        assert (await wire.ask("hello", {"wire": 1}, token="nobody"))[0] == 401
    assert (await wire.ask("hello", {"wire": 1}, token="no-trial"))[0] == 403
    assert [message.split(":")[0] for message in caplog.messages] == ["answered 401", "answered 403"]


def test_a_refusal_is_said_again_after_a_while_with_how_many_there_were(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals()
    for now in (0.0, 1.0, SILENCE - 0.1, SILENCE, SILENCE + 1, 3 * SILENCE, 9 * SILENCE):
        refusals.log(401, f"at {now:.1f}", now)
    assert caplog.messages == [
        "answered 401: at 0.0",
        "answered 401: at 60.0 (2 more like it since the last one said)",
        "answered 401: at 180.0 (1 more like it since the last one said)",
        "answered 401: at 540.0",
    ]


@pytest.mark.parametrize("header", [None, "good", "Basic good", "Bearer", "bearer "])
async def test_whoever_does_not_say_who_speaks_is_told_how(wire: Wire, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    async with wire.client.post("/v1/hello", json={"wire": 1}, headers=headers) as answer:
        assert answer.status == 401
        assert "Bearer TOKEN" in (await answer.json())["error"]


async def test_a_body_that_does_not_arrive_is_not_waited_for(wire: Wire) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(1)

    async with wire.client.post("/v1/hello", data=slowly(), headers={"Authorization": "Bearer good"}) as answer:
        assert answer.status == 408
