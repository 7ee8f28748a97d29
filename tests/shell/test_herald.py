"""When statuses and Events go out. The clock is the event loop's, and leaps to where something is due."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import selectors
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any

import pytest

from kubetune_operator.cluster.kubernetes import Api, ApiAway, ApiRefused, Object
from kubetune_operator.core.records import Ended, Finished, Outcome, Refused
from kubetune_operator.herald import Events, Herald, Place, Statuses

ABOUT = {"apiVersion": "kubetune.dev/v1alpha1", "kind": "TuneExperiment", "namespace": "team", "name": "exp", "uid": "u"}


class _Selector(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "nothing is due any more"
        self.now += max(timeout, 0.0)
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def at_once(main: Coroutine[Any, Any, None]) -> None:
    """Run to the end on a loop whose clock does not wait."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        runner.run(main)


class Server(Api):
    """An API server that notes when it was written to what; `trouble` is raised as often as it is there."""

    def __init__(self) -> None:
        self.written: list[tuple[float, str, Mapping[str, Any]]] = []
        self.tried: list[float] = []
        self.trouble: list[Exception] = []
        self.events: list[Object] = []
        self.meanwhile: Callable[[], None] = lambda: None  # is called while a write is under way

    async def patch_status(self, namespace: str, name: str, status: Mapping[str, Any]) -> None:
        now = asyncio.get_running_loop().time()
        self.tried.append(now)
        await asyncio.sleep(0)
        self.meanwhile()
        if self.trouble:
            raise self.trouble.pop(0)
        self.written.append((now, f"{namespace}/{name}", status))

    async def emit(self, namespace: str, event: Object) -> None:
        assert namespace == event["metadata"]["namespace"]
        if self.trouble:
            raise self.trouble.pop(0)
        self.events.append(event)


@contextlib.asynccontextmanager
async def running(statuses: Statuses) -> Any:
    task = asyncio.create_task(statuses.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def counting() -> Callable[[], Mapping[str, Any]]:
    """Give a status that is another whenever it is looked at."""
    numbers = itertools.count()
    return lambda: {"progress": next(numbers), "conditions": []}


def condition(status: str) -> Mapping[str, Any]:
    return {"conditions": [{"type": "Finished", "status": status, "reason": "Running", "message": ""}]}


async def offered(statuses: Statuses, renders: Mapping[Place, Callable[[], Mapping[str, Any]]], seconds: float) -> None:
    """Have them change ten times a second, all of them."""
    for _ in range(round(seconds * 10)):
        for place, render in renders.items():
            statuses.offer(place, render)
        await asyncio.sleep(0.1)


def test_one_experiment_is_written_once_a_second_and_the_last_word_comes() -> None:
    async def main() -> None:
        server = Server()
        statuses = Statuses(server)
        async with running(statuses):
            await offered(statuses, {("team", "exp"): counting()}, 20)
            statuses.offer(("team", "exp"), lambda: {"progress": "last"})
            await asyncio.sleep(2)
        times = [time for time, *_ in server.written]
        assert 20 <= len(times) <= 22
        assert all(after - before >= 1.0 - 1e-6 for before, after in itertools.pairwise(times))
        assert server.written[-1][2] == {"progress": "last"}

    at_once(main())


def test_all_together_are_written_five_times_a_second_and_none_is_left_out() -> None:
    async def main() -> None:
        server = Server()
        statuses = Statuses(server)
        async with running(statuses):
            await offered(statuses, {("team", f"exp-{number}"): counting() for number in range(20)}, 20)
        times = [time for time, *_ in server.written]
        assert 90 <= len(times) <= 101
        assert all(after - before >= 0.2 - 1e-6 for before, after in itertools.pairwise(times))
        shares = Counter(name for _, name, _ in server.written)
        assert len(shares) == 20
        assert min(shares.values()) >= 4

    at_once(main())


def test_a_status_that_cannot_be_made_or_sent_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> Mapping[str, Any]:
        raise ArithmeticError("nobody foresaw this")

    async def main() -> None:
        server = Server()
        server.trouble = [UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")]
        statuses = Statuses(server)
        async with running(statuses):
            statuses.offer(("team", "unmade"), fails)
            statuses.offer(("team", "unsent"), lambda: {"progress": "1/2"})
            await asyncio.sleep(2)
            statuses.offer(("team", "exp"), lambda: {"progress": "1/2"})
            await asyncio.sleep(2)
        assert [name for _, name, _ in server.written] == ["team/exp"]

    at_once(main())
    assert "team/unmade: a fault of kubetune's: its status cannot be made" in caplog.text
    assert "team/unsent: a fault of kubetune's: its status cannot be sent" in caplog.text


def test_changed_conditions_go_first() -> None:
    async def main() -> None:
        server = Server()
        statuses = Statuses(server)
        for number in range(9):
            statuses.offer(("team", f"exp-{number}"), counting())
        statuses.offer(("team", "changed"), lambda: condition("True"))
        async with running(statuses):
            await asyncio.sleep(0.01)
        assert [name for _, name, _ in server.written] == ["team/changed"]

    at_once(main())


def test_what_has_not_changed_is_not_written() -> None:
    async def main() -> None:
        server = Server()
        statuses = Statuses(server)
        async with running(statuses):
            await offered(statuses, {("team", "exp"): lambda: condition("False")}, 5)
            await statuses.write(("team", "exp"), {"journal": {"uid": "u"}})
            await offered(statuses, {("team", "exp"): lambda: {**condition("False"), "journal": {"uid": "u"}}}, 5)
        assert len(server.written) == 2

    at_once(main())


def test_what_is_written_is_what_is_true_then(caplog: pytest.LogCaptureFixture) -> None:
    """While the API server is away nothing is written, and nothing kept up: afterwards one write says it all."""

    async def main() -> None:
        server = Server()
        server.trouble = [ApiAway("the API server answered 503")] * 3
        statuses = Statuses(server)
        current = {"progress": 0}
        statuses.offer(("team", "exp"), lambda: dict(current))
        async with running(statuses):
            for number in range(200):
                current["progress"] = number
                await asyncio.sleep(0.1)
        assert [round(time) for time in server.tried] == [0, 5, 10, 15]
        assert len(server.written) == 1
        assert server.written[0][2]["progress"] >= 148

    with caplog.at_level(logging.WARNING):
        at_once(main())
    assert caplog.messages.count("team/exp: its status was not written: the API server answered 503") == 3


def test_a_newer_status_is_not_forgotten_for_one_that_could_not_be_written() -> None:
    async def main() -> None:
        server = Server()
        server.trouble = [ApiAway("away")]
        statuses = Statuses(server)
        server.meanwhile = lambda: statuses.offer(("team", "exp"), lambda: {"state": "new"})
        statuses.offer(("team", "exp"), lambda: {"state": "old"})
        async with running(statuses):
            await asyncio.sleep(10)
        assert [status for *_, status in server.written] == [{"state": "new"}]

    at_once(main())


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        pytest.param(ApiRefused(404, "NotFound", "not found"), [], id="deleted"),
        pytest.param(ApiRefused(422, "Invalid", "too long"), ["team/exp: its status was refused: too long"], id="invalid"),
    ],
)
def test_a_refused_status_is_dropped_and_the_next_one_is_written(
    refusal: ApiRefused, said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        server = Server()
        server.trouble = [refusal]
        statuses = Statuses(server)
        async with running(statuses):
            statuses.offer(("team", "exp"), lambda: {"state": "a"})
            await asyncio.sleep(10)
            assert (len(server.tried), server.written) == (1, [])
            statuses.offer(("team", "exp"), lambda: {"state": "b"})
            await asyncio.sleep(1)
        assert [status for *_, status in server.written] == [{"state": "b"}]

    with caplog.at_level(logging.WARNING):
        at_once(main())
    assert caplog.messages == said


def test_a_forgotten_experiment_is_not_written() -> None:
    async def main() -> None:
        server = Server()
        statuses = Statuses(server)
        statuses.offer(("team", "exp"), lambda: {"state": "a"})
        statuses.forget(("team", "exp"))
        async with running(statuses):
            await asyncio.sleep(5)
        assert server.written == []

    at_once(main())


# --- Events ---


@contextlib.contextmanager
def herald() -> Iterator[tuple[Herald, Server, list[None]]]:
    server = Server()
    changed: list[None] = []
    yield Herald(Events(server, "kubetune-0"), ABOUT, lambda: changed.append(None)), server, changed


def test_an_event_is_what_the_api_wants() -> None:
    async def main() -> None:
        with herald() as (told, server, _):
            told.say("ExperimentStarted", "6 trials are to be run")
            told.warn("EditIgnored", "x" * 2000)
            await asyncio.sleep(0)
        first, second = server.events
        name, time = first["metadata"]["name"], first["eventTime"]
        assert name.startswith("exp.")
        assert name != second["metadata"]["name"]
        assert time.endswith("Z")
        assert len(time) == len("2026-11-24T10:00:00.000000Z")
        assert first == {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": "team"},
            "eventTime": time,
            "reportingController": "kubetune.dev/operator",
            "reportingInstance": "kubetune-0",
            "action": "ExperimentStarted",
            "reason": "ExperimentStarted",
            "regarding": ABOUT,
            "note": "6 trials are to be run",
            "type": "Normal",
        }
        assert (second["type"], second["reason"]) == ("Warning", "EditIgnored")
        assert second["note"] == "x" * 1023 + "…"

    at_once(main())


def test_an_event_that_cannot_be_sent_is_let_go(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        with herald() as (told, server, _):
            server.trouble = [ApiAway("away"), ApiRefused(403, "Forbidden", "no")]
            for reason in ("One", "Two", "Three"):
                told.say(reason, "")
            await asyncio.sleep(0)
        assert [event["reason"] for event in server.events] == ["Three"]

    with caplog.at_level(logging.WARNING):
        at_once(main())
    assert caplog.messages == ["event One of exp was not sent: away", "event Two of exp was not sent: no"]


def test_of_many_failures_ten_a_minute_are_told_and_the_end_always() -> None:
    async def main() -> None:
        with herald() as (told, server, changed):
            for number in range(60):
                told.update([Ended(number, Outcome.FAILED, "ExitCode", "exit code 1", 5.0)] * 2)
                await asyncio.sleep(2)
            told.update([Ended(60, Outcome.SUCCEEDED, "Completed", "", 5.0), Finished("Completed", "", 6.0)])
            await asyncio.sleep(0)
        reasons = [event["reason"] for event in server.events]
        assert reasons == ["TrialFailed"] * 20 + ["ExperimentFinished"]
        assert server.events[0]["note"] == "trial 0: ExitCode: exit code 1"
        assert len(changed) == 61

    at_once(main())


def test_of_refused_lines_each_trials_first_is_told() -> None:
    async def main() -> None:
        with herald() as (told, server, _):
            told.refused([Refused(trial, 0, number, "", "not JSON", 5.0) for trial in (0, 1) for number in (3, 4)])
            await asyncio.sleep(0)
        notes = [event["note"] for event in server.events]
        assert notes == ["trial 0: line 4 of its reports: not JSON", "trial 1: line 4 of its reports: not JSON"]

    at_once(main())
