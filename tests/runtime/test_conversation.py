"""Sidecar and intake: whatever goes wrong between them each line arrives once, and what is decided comes back to the program."""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path

import pytest

from kubetune import wire
from tests.runtime.conftest import Trial
from tests.runtime.intake import TOKEN, Attempt, Handler, Server, Trouble, cut, garbage, not_an_answer, status, wait_until

FIFTY = "for i in $(seq 50); do echo {} >> $KUBETUNE_REPORTS; done"
HUNDRED = "import kubetune\nfor i in range(100): kubetune.report(i=i)"


def late(handler: Handler) -> None:
    """Take the lines, then cut the connection before the answer: the sender cannot know."""
    handler.server.attempt.lines.append('{"i": 0}')
    cut(handler)


def wants_again(handler: Handler) -> None:
    """Forget what was taken."""
    handler.server.attempt.lines.clear()
    handler.answer(200, {"next": 0, "stop": False, "refused": []})


def in_pieces(handler: Handler) -> None:
    """Answer in chunks with a trailer, as a proxy may, after an announcement."""
    handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for piece in (b'7;x=y\r\n{"next"\r\n', b"5\r\n: 0}\n\r\n", b"0\r\nX-Trailer: 1\r\n\r\n"):
        handler.wfile.flush()
        time.sleep(0.01)
        handler.wfile.write(piece)


TROUBLES: dict[str, Trouble] = {
    "400": status(400),
    "401": status(401),
    "404": status(404),
    "429": status(429),
    "503": status(503),
    "connection cut": cut,
    "another protocol": garbage,
    "not JSON": not_an_answer(b"<html>"),
    "not an object": not_an_answer(b"[]"),
    "no next": not_an_answer(b"{}"),
    "next is no number": not_an_answer(b'{"next": true}'),
    "next is negative": not_an_answer(b'{"next": -1}'),
    "another version": not_an_answer(b'{"next": 0, "wire": 2}'),
    "too long": not_an_answer(b" " * (1024 * 1024 + 1)),
    "wants it again": wants_again,
    "in pieces": in_pieces,
}


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
def test_every_line_arrives_once_through_every_trouble(trial: Trial, attempt: Attempt, trouble: Trouble) -> None:
    attempt.troubles.append(trouble)  # for hello
    trial.pod("sh", "-c", f"{FIFTY}; while ! test -e go; do sleep 0.01; done; {FIFTY}")
    agent = trial.start()
    wait_until(lambda: len(attempt.lines) == 50)
    attempt.troubles.extend([trouble] * 2)  # for reports or eof
    (trial.folder / "go").touch()
    assert agent.wait(timeout=30) == 0
    assert not attempt.troubles
    assert len(attempt.lines) == 100


def test_lines_that_were_taken_without_an_answer_are_not_taken_twice(trial: Trial, attempt: Attempt) -> None:
    trial.pod(sys.executable, "-c", "import kubetune; kubetune.report(i=0); kubetune.report(i=1)")
    hello: Trouble = lambda handler: handler.answer(200, handler.server.attempt.hello({"wire": 1}))  # noqa: E731
    attempt.troubles.extend([hello, late])
    assert trial.start().wait(timeout=20) == 0
    assert attempt.lines == ['{"i": 0}', '{"i": 1}']


def test_lines_that_the_intake_wants_again_are_sent_again_at_once(trial: Trial, attempt: Attempt) -> None:
    trial.pod(
        "sh",
        "-c",
        f"{FIFTY}; while ! test -e go; do sleep 0.01; done; echo 1 >> $KUBETUNE_REPORTS; while ! test -e end; do sleep 0.01; done",
    )
    agent = trial.start()
    wait_until(lambda: len(attempt.lines) == 50)
    attempt.troubles.append(wants_again)
    (trial.folder / "go").touch()
    wait_until(lambda: len(attempt.lines) == 51)
    (trial.folder / "end").touch()
    assert agent.wait(timeout=20) == 0
    assert attempt.lines == ["{}"] * 50 + ["1"]


def test_an_intake_that_hangs_up_after_each_answer_is_no_trouble(trial: Trial, attempt: Attempt) -> None:
    attempt.impatient = True
    trial.pod("sh", "-c", "for i in 1 2 3; do echo {} >> $KUBETUNE_REPORTS; sleep 0.1; done")
    agent = trial.start()
    assert agent.communicate(timeout=20)[1] == ""
    assert attempt.lines == ["{}"] * 3


def test_one_connection_is_enough(trial: Trial, attempt: Attempt) -> None:
    trial.run(sys.executable, "-c", HUNDRED)
    assert attempt.connections == 1


def test_an_eof_that_came_too_early_is_said_again_with_what_was_missing(trial: Trial, attempt: Attempt) -> None:
    def loses_the_last(handler: Handler) -> None:
        del handler.server.attempt.lines[50:]
        handler.answer(200, {"next": 50, "closed": False})

    trial.pod("sh", "-c", "true")
    trial.reports.write_text("".join(f'{{"i": {i}}}\n' for i in range(100)))
    agent = trial.start()
    attempt.troubles.append(lambda handler: handler.answer(200, {"wire": 1, "next": 0}))
    attempt.troubles.append(
        lambda handler: handler.answer(200, attempt.reports({"first": 0, "lines": trial.reports.read_text().split("\n")[:-1]}))
    )
    attempt.troubles.append(loses_the_last)
    assert agent.wait(timeout=20) == 0
    assert [metrics["i"] for metrics in attempt.metrics] == list(range(100))


def test_an_intake_that_asks_for_hello_hears_it_again_and_then_the_lines_that_it_wants(trial: Trial, attempt: Attempt) -> None:
    trial.pod("sh", "-c", f"{FIFTY}; while ! test -e go; do sleep 0.01; done; {FIFTY}")
    agent = trial.start()
    wait_until(lambda: len(attempt.lines) == 50)

    def forgets(handler: Handler) -> None:
        del attempt.lines[20:]
        attempt.greeted = False
        handler.answer(409, {"error": "say hello first"})

    attempt.troubles.append(forgets)
    (trial.folder / "go").touch()
    assert agent.wait(timeout=20) == 0
    assert attempt.hellos == 2
    assert len(attempt.lines) == 100
    assert not attempt.rewritten
    assert attempt.eof is not None


def test_a_hello_before_eof_that_the_intake_asks_for_is_said(trial: Trial, attempt: Attempt) -> None:
    trial.pod("sh", "-c", "echo {} >> $KUBETUNE_REPORTS; while ! test -e go; do sleep 0.01; done")
    agent = trial.start()
    wait_until(lambda: attempt.lines)
    attempt.greeted = False
    (trial.folder / "go").touch()
    assert agent.wait(timeout=20) == 0
    assert (attempt.hellos, attempt.lines) == (2, ["{}"])


def test_an_agent_whose_log_is_full_goes_on_and_so_does_its_program(trial: Trial, attempt: Attempt) -> None:
    """What it says of its troubles goes nowhere, and that is all."""
    attempt.troubles.append(status(503))
    trial.pod("sh", "-c", f"{FIFTY}; while ! test -e go; do sleep 0.01; done; {FIFTY}; exit 3")
    with Path("/dev/full").open("w") as full:
        agent = trial.start(stderr=full)
    wait_until(lambda: len(attempt.lines) == 50)
    attempt.troubles.extend([status(507)] * 2)
    (trial.folder / "status.json").unlink()
    (trial.folder / "status.json").mkdir()  # its end cannot be written down either
    (trial.folder / "go").touch()
    assert agent.wait(timeout=20) == 0
    assert len(attempt.lines) == 100
    assert attempt.eof is not None
    assert attempt.eof["exit_code"] == 3


def test_the_program_does_not_begin_before_hello_was_answered(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    trial, attempt = Trial(tmp_path, f"http://127.0.0.1:{port}"), Attempt()
    trial.pod(sys.executable, "-c", HUNDRED)
    agent = trial.start()
    time.sleep(0.5)
    assert trial.status == {}
    server = Server(attempt, port)
    assert agent.wait(timeout=20) == 0
    server.stop()
    trial.clean_up()
    assert len(attempt.lines) == 100


@pytest.mark.parametrize("elsewhere", [False, True], ids=["at the same place", "elsewhere"])
def test_an_intake_that_was_away_finds_all_that_was_reported_meanwhile(
    trial: Trial, attempt: Attempt, intake: Server, *, elsewhere: bool
) -> None:
    trial.pod("sh", "-c", "for i in 0 1 2; do echo {} >> $KUBETUNE_REPORTS; while ! test -e go$i; do sleep 0.01; done; done")
    agent = trial.start()
    wait_until(lambda: attempt.lines)
    intake.stop()
    (trial.folder / "go0").touch()
    time.sleep(0.3)  # reports while the intake is away
    (trial.folder / "go1").touch()
    (trial.folder / "go2").touch()
    again = Server(attempt, 0 if elsewhere else intake.port)
    trial.point_to(again.url)
    assert agent.wait(timeout=20) == 0
    again.stop()
    assert attempt.lines == ["{}"] * 3


def test_the_token_is_read_anew_for_each_connection(trial: Trial, attempt: Attempt) -> None:
    seen = []

    def note_and_cut(handler: Handler) -> None:
        seen.append(handler.headers["Authorization"])
        cut(handler)

    attempt.troubles.append(note_and_cut)
    (trial.folder / "token").write_text("an old one\n")
    trial.pod("true")
    agent = trial.start()
    wait_until(lambda: seen)
    (trial.folder / "token").write_text(f"{TOKEN}\n")
    assert agent.wait(timeout=20) == 0
    assert seen == ["Bearer an old one"]


def test_what_is_not_acknowledged_in_time_stays_in_the_file(trial: Trial, attempt: Attempt, intake: Server) -> None:
    trial.pod(
        "sh",
        "-c",
        "echo {} >> $KUBETUNE_REPORTS; while ! test -e go; do sleep 0.01; done; echo '{\"a\": 1}' >> $KUBETUNE_REPORTS",
        flush=0.3,
    )
    agent = trial.start()
    wait_until(lambda: attempt.lines)
    intake.stop()
    (trial.folder / "go").touch()
    assert agent.wait(timeout=20) == 4
    assert trial.reports.read_text() == '{}\n{"a": 1}\n'
    assert int((trial.folder / wire.ACKNOWLEDGED_FILE).read_text()) == 3
    assert trial.status["exit_code"] == 0


def test_an_attempt_that_is_closed_starts_nothing(trial: Trial, attempt: Attempt) -> None:
    attempt.gone = True
    assert trial.run("sh", "-c", "touch started") == 0
    assert not (trial.folder / "started").exists()
    assert trial.status["error"] == "AttemptClosed"


def test_an_attempt_that_was_closed_meanwhile_is_stopped(trial: Trial, attempt: Attempt) -> None:
    """410 is final: nothing more is sent, and the program's next report ends it."""
    trial.pod(sys.executable, "-c", "import kubetune, time\nwhile True: kubetune.report(a=1); time.sleep(0.01)")
    agent = trial.start()
    wait_until(lambda: attempt.lines)
    attempt.gone = True
    assert agent.wait(timeout=20) == 0
    assert attempt.eof is None
    assert trial.status["exit_code"] == 0


def test_a_stop_ends_the_program_at_its_next_report_with_exit_code_0(trial: Trial, attempt: Attempt) -> None:
    attempt.stop_from = 0
    code = """
import kubetune, time
kubetune.report(i=0)
try:
    for i in range(1, 1000): time.sleep(0.02); kubetune.report(i=i)
finally:
    try: kubetune.report(again=1)
    except kubetune.TrialStopped as stopped: print(stopped, stopped.code)
"""
    assert trial.run(sys.executable, "-c", code) == 0
    assert attempt.eof is not None
    assert attempt.eof["exit_code"] == 0, trial.err.read_text()
    assert trial.out.read_text() == "enough of it 0\n"
    assert len(attempt.lines) < 1000
    assert not any("again" in metrics for metrics in attempt.metrics)


@pytest.mark.parametrize("stop_from", [None, 3], ids=["goes on", "is stopped"])
def test_waiting_returns_after_the_decision(trial: Trial, attempt: Attempt, stop_from: int | None) -> None:
    """With wait=True no report is ever written after the one that led to a stop."""
    attempt.stop_from = stop_from
    code = "import kubetune\nfor i in range(6): kubetune.report(i=i, wait=True); print(i)"
    assert trial.run(sys.executable, "-c", code) == 0
    told, returned = (range(6), range(6)) if stop_from is None else (range(4), range(3))
    assert [metrics["i"] for metrics in attempt.metrics] == list(told)
    assert trial.out.read_text().split() == [str(i) for i in returned]


def test_what_is_acknowledged_is_the_length_that_the_intake_has(trial: Trial, attempt: Attempt) -> None:
    """While the program runs: one that has ended has nobody left to wait for a decision."""
    wait = f"until read n < {wire.ACKNOWLEDGED_FILE} && [ $n = 14 ]; do sleep 0.01; done 2>/dev/null"
    said = "printf '{}\\nx\\n{\"a\": 1}\\n' >> $KUBETUNE_REPORTS"
    assert trial.run("sh", "-c", f"{said}; cd $(dirname $KUBETUNE_REPORTS); timeout 20 sh -c '{wait}'") == 0
    assert trial.status["exit_code"] == 0
    assert trial.reports.stat().st_size == 14
    assert json.loads(attempt.lines[2]) == {"a": 1}  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [wire.STOP_FILE, wire.ACKNOWLEDGED_FILE])
def test_nothing_is_written_for_a_program_that_has_ended(trial: Trial, attempt: Attempt, name: str) -> None:
    attempt.stop_from = 0
    trial.run("sh", "-c", "printf {} >> $KUBETUNE_REPORTS")  # no whole line while it runs
    assert attempt.lines
    assert not (trial.folder / name).exists()
