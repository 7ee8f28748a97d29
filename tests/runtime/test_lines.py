"""What a program writes into its report file, and what of it reaches the intake: every line once, in order, with its number."""

from __future__ import annotations

import hashlib
import math
import os
import sys

import pytest

from kubetune import wire
from tests.runtime.conftest import Trial
from tests.runtime.intake import Attempt, wait_until


def test_a_thousand_reports_from_a_shell_loop(trial: Trial, attempt: Attempt) -> None:
    loop = """i=0; while [ $i -lt 1000 ]; do echo "{\\"loss\\": 0.$i, \\"i\\": $i}" >> $KUBETUNE_REPORTS; i=$((i+1)); done"""
    assert trial.run("sh", "-c", loop) == 0
    assert [metrics["i"] for metrics in attempt.metrics] == list(range(1000))
    assert attempt.eof is not None
    assert attempt.eof["next"] == 1000


def test_a_thousand_reports_from_python(trial: Trial, attempt: Attempt) -> None:
    code = "import kubetune\nfor i in range(1000): kubetune.report(loss=i / 7, i=i)"
    assert trial.run(sys.executable, "-c", code) == 0, trial.err.read_text()
    assert attempt.metrics == [{"loss": i / 7, "i": i} for i in range(1000)]


def test_every_kind_of_value_arrives_as_it_was(trial: Trial, attempt: Attempt) -> None:
    code = """
import kubetune
kubetune.report({"nan": float("nan"), "up": float("inf"), "down": float("-inf"), "big": 2**63 - 1, "low": -2**63})
kubetune.report({"val": {"top": {"five": 0.1 + 0.2}}, "ok": True, "text": "héé\\U0001f600\\u2028\\n\\0\\"", "tiny": 5e-324})
"""
    assert trial.run(sys.executable, "-c", code) == 0, trial.err.read_text()
    first, second = attempt.metrics
    unspelt = {name: wire.unspell(value) for name, value in first.items()}
    assert repr(unspelt.pop("nan")) == "nan"
    assert unspelt == {"up": math.inf, "down": -math.inf, "big": 9223372036854775807, "low": -9223372036854775808}
    expected = {"top": {"five": 0.30000000000000004}}
    assert second == {"val": expected, "ok": True, "text": 'héé😀\u2028\n\0"', "tiny": 5e-324}


def write(trial: Trial, content: bytes, then: str = "true") -> int:
    """Run a program that writes exactly these bytes into its report file."""
    (trial.folder / "content").write_bytes(content)
    return trial.run("sh", "-c", f"cat content >> $KUBETUNE_REPORTS; {then}")


def test_a_line_that_is_torn_by_the_end_of_the_program_is_a_line(trial: Trial, attempt: Attempt) -> None:
    assert write(trial, b'{"a": 1}\n{"a": 2}\n{"a": ') == 0
    assert attempt.lines == ['{"a": 1}', '{"a": 2}', '{"a": ']
    assert attempt.refused == {2: "not JSON"}


def test_half_a_line_waits_for_its_other_half(trial: Trial, attempt: Attempt) -> None:
    trial.pod(
        "sh",
        "-c",
        "printf '{}\\n{\"a\"' >> $KUBETUNE_REPORTS; while ! test -e go; do sleep 0.01; done; echo ': 1}' >> $KUBETUNE_REPORTS",
    )
    agent = trial.start()
    wait_until(lambda: attempt.lines)
    (trial.folder / "go").touch()
    agent.wait(timeout=20)
    assert attempt.lines == ["{}", '{"a": 1}']


def test_a_line_that_is_no_report_uses_its_number_and_blocks_nothing(trial: Trial, attempt: Attempt) -> None:
    assert write(trial, b'nonsense\n\n{"a": 1}\n\xff\xfe{}\n[1]\n{"a": 2}\r\n') == 0
    assert attempt.lines[:3] == ["nonsense", "", '{"a": 1}']
    assert attempt.lines[3] == {
        "refused": "line of 4 bytes is not UTF-8 at byte 0",
        "digest": hashlib.sha256(b"\xff\xfe{}").hexdigest(),
    }
    assert attempt.lines[4:] == ["[1]", '{"a": 2}\r']
    assert sorted(attempt.refused) == [0, 1, 3, 4]


@pytest.mark.parametrize(
    ("length", "taken"),
    [pytest.param(wire.MAX_LINE, True, id="as long as allowed"), pytest.param(wire.MAX_LINE + 1, False, id="one byte more")],
)
@pytest.mark.parametrize("newline", [b"\n", b""], ids=["", "unterminated"])
def test_the_length_of_a_line_is_bounded_without_its_newline(
    trial: Trial, attempt: Attempt, length: int, newline: bytes, *, taken: bool
) -> None:
    line = b'{"a": "' + b"x" * (length - 9) + b'"}'
    write(trial, b"{}\n" + line + newline)
    refusal = {"refused": f"line of {length} bytes is longer than 65536", "digest": hashlib.sha256(line).hexdigest()}
    assert attempt.lines == ["{}", line.decode() if taken else refusal]


def test_a_batch_of_the_worst_lines_fits_into_a_request(trial: Trial, attempt: Attempt) -> None:
    worst = b"\x01" * wire.MAX_LINE  # six bytes each in JSON
    write(trial, (worst + b"\n") * 8)
    assert attempt.lines == [worst.decode()] * 8
    assert wire.MAX_BODY / 4 < attempt.largest <= wire.MAX_BODY


def test_many_lines_that_cannot_be_sent_fit_too(trial: Trial, attempt: Attempt) -> None:
    write(trial, b"\xff\n" * 20_000)
    assert len(attempt.refused) == 20_000


def test_ten_megabytes_in_one_line_are_refused_and_never_held(trial: Trial, attempt: Attempt) -> None:
    """The figure is the agent's peak (VmHWM); what it would be without the line is measured beside it."""
    with (trial.folder / "content").open("wb") as content:
        for _ in range(160):
            content.write(b"x" * wire.MAX_LINE)
    finish = "cat content >> $KUBETUNE_REPORTS; echo >> $KUBETUNE_REPORTS; echo '{}' >> $KUBETUNE_REPORTS; while ! test -e go; do sleep 0.01; done"
    trial.pod("sh", "-c", "echo '{}' >> $KUBETUNE_REPORTS; while ! test -e more; do sleep 0.01; done; " + finish)
    agent = trial.start()
    wait_until(lambda: attempt.lines)
    before = peak(agent.pid)
    (trial.folder / "more").touch()
    wait_until(lambda: len(attempt.lines) == 3)
    after = peak(agent.pid)
    (trial.folder / "go").touch()
    assert agent.wait(timeout=20) == 0
    size = 160 * wire.MAX_LINE
    expected = hashlib.sha256((b"x" * wire.MAX_LINE) * 160).hexdigest()
    assert attempt.lines[1] == {"refused": f"line of {size} bytes is longer than 65536", "digest": expected}
    assert after - before < 6 * 1024, f"{before} KiB before, {after} KiB after"  # hashlib alone is 4 MiB


def peak(pid: int) -> int:
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


REWRITES = {
    "cut and begun anew, shorter": ("printf '{\"b\": 1}\\n' > $KUBETUNE_REPORTS", ['{"b": 1}']),
    "cut and begun anew, longer": (
        'printf \'{"b": 1}\\n{"b": 2}\\n{"b": 3}\\n\' > $KUBETUNE_REPORTS',
        ['{"b": 1}', '{"b": 2}', '{"b": 3}'],
    ),
    "replaced by another file": ('printf \'{"b": 1}\\n{"a": 2}\\n\' > new; mv new $KUBETUNE_REPORTS', ['{"b": 1}', '{"a": 2}']),
    "as long as before": ('printf \'{"a": 1}\\n{"b": 2}\\n\' 1<> $KUBETUNE_REPORTS', ['{"a": 1}', '{"b": 2}']),
}


@pytest.mark.parametrize(("rewrite", "content"), REWRITES.values(), ids=REWRITES)
def test_a_rewritten_file_is_told_from_its_start(trial: Trial, attempt: Attempt, rewrite: str, content: list[str]) -> None:
    """The intake then sees a known number with another content, which is its to judge."""
    begin = 'printf \'{"a": 1}\\n{"a": 2}\\n\' >> $KUBETUNE_REPORTS; while ! test -e go; do sleep 0.01; done; '
    trial.pod("sh", "-c", begin + rewrite)
    agent = trial.start()
    wait_until(lambda: len(attempt.lines) == 2)
    (trial.folder / "go").touch()
    assert agent.wait(timeout=20) == 0
    before = ['{"a": 1}', '{"a": 2}']
    assert attempt.rewritten == [n for n, line in enumerate(content[:2]) if line != before[n]]
    assert attempt.lines == before + content[2:]
    assert attempt.eof is not None
    assert attempt.eof["next"] == len(content)


def test_a_file_that_is_no_file_is_not_read(trial: Trial, attempt: Attempt) -> None:
    """A program may put a link or a pipe there; the sidecar neither follows the one nor waits for the other."""
    (trial.folder / "secret").write_text('{"secret": 1}\n')
    trial.run(
        "sh",
        "-c",
        "rm $KUBETUNE_REPORTS; ln -s secret $KUBETUNE_REPORTS; sleep 0.2; rm $KUBETUNE_REPORTS; mkfifo $KUBETUNE_REPORTS",
    )
    assert attempt.lines == []
    assert attempt.eof is not None
    assert not os.path.lexists(trial.folder / wire.STOP_FILE)
