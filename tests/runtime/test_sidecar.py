"""The sidecar of a pod as a process of its own, with the launcher that ships: from hello to drained, whoever dies in between."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import kubetune.sidecar
from kubetune import wire
from tests.runtime.intake import TOKEN, Attempt, Server, cut, status, wait_until
from tests.runtime.launcher.conftest import LAUNCHER, NATIVE
from tests.runtime.test_lines import peak
from tests.runtime.test_tls import LIMIT, Authority

MAIN = Path(kubetune.sidecar.__file__).with_name("__main__.py")


class Pod:
    """A pod without its cluster: the root that the sidecar has, and the processes of both containers."""

    def __init__(self, root: Path, launcher: Path, url: str) -> None:
        self.root = root
        self.io = root / "kubetune" / "io"
        self.bin = root / "kubetune" / "bin"
        self.env = {"KUBETUNE_ENDPOINT": url, "KUBETUNE_CA_PEM": "", "KUBETUNE_LOG_FILES": '["stdout", "stderr"]'}
        self._started: list[subprocess.Popen[bytes]] = []
        for folder in (self.io, self.bin, root / "opt" / "kubetune" / "launcher", root / "var" / "run" / "kubetune" / "token"):
            folder.mkdir(parents=True)
        shutil.copy2(launcher, root / "opt" / "kubetune" / "launcher")
        (root / "var" / "run" / "kubetune" / "token" / "token").write_text(TOKEN)

    def sidecar(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", "-S", str(MAIN), str(self.root)]
        return self._start(command, os.environ | self.env, subprocess.PIPE)

    def trial(self, *argv: str, logs: str = "both", flush: str = "20") -> subprocess.Popen[bytes]:
        """Start the trial's container, as the kubelet does: once `ready` is there."""
        wait_until((self.io / "ready").exists)
        launcher, sdk = self.bin / "kubetune-launch", self.bin / "sdk"
        options = ["--io", self.io, "--sdk", sdk, "--logs", logs, "--flush", flush]
        command = [str(each) for each in (launcher, *options, "--", *argv)]
        return self._start(command, os.environ | {wire.ENV_REPORTS: str(self.io / "reports.jsonl")}, subprocess.DEVNULL)

    def _start(self, command: list[str], env: Mapping[str, str], log: int) -> subprocess.Popen[bytes]:
        self._started.append(subprocess.Popen(command, cwd=self.root, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        return self._started[-1]

    def clean_up(self) -> None:
        for each in self._started:
            if each.poll() is None:
                each.kill()
            _, err = each.communicate(timeout=10)
            sys.stderr.write((err or b"").decode())  # shown where the test has failed


@pytest.fixture(scope="session")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("launcher")
    subprocess.run([sys.executable, LAUNCHER / "build.py", folder], check=True)
    return folder / NATIVE / "kubetune-launch"


@pytest.fixture
def pod(tmp_path: Path, launcher: Path, intake: Server) -> Iterator[Pod]:
    made = Pod(tmp_path, launcher, intake.url)
    yield made
    made.clean_up()


def told_to_end(sidecar: subprocess.Popen[bytes]) -> int:
    """End the pod, as the kubelet does when the trial's container has ended."""
    sidecar.send_signal(signal.SIGTERM)
    return sidecar.wait(timeout=20)


def shell(script: str) -> tuple[str, str, str]:
    return ("sh", "-c", script)


def python(code: str) -> tuple[str, str, str]:
    return (sys.executable, "-c", code)


def test_a_trial_from_hello_to_the_launchers_exit_code(pod: Pod, attempt: Attempt) -> None:
    """Reports in order and output byte for byte are with the intake before the container ends."""
    sidecar = pod.sidecar()
    code = """
import os, sys, kubetune
for i in range(300):
    kubetune.report(i=i)
    os.write(1, b"\\xff\\x00 %d\\n" % i)
    os.write(2, b"e" * 1000)
sys.exit(3)
"""
    trial = pod.trial(*python(code))
    assert trial.wait(timeout=20) == 3
    assert (pod.io / "drained").exists()
    assert [line["i"] for line in attempt.metrics] == list(range(300))
    assert attempt.output == {"stdout": b"".join(b"\xff\0 %d\n" % i for i in range(300)), "stderr": b"e" * 300_000}
    assert attempt.eof == {"next": 300, "exit_code": 3, "signal": None, "terminated": False, "oom": False, "error": None}
    assert told_to_end(sidecar) == 0
    assert (attempt.hellos, attempt.twice, attempt.rewritten) == (1, 0, [])


def test_the_program_may_write_its_reports_whatever_our_umask(pod: Pod) -> None:
    mask = os.umask(0o077)
    try:
        pod.sidecar()
    finally:
        os.umask(mask)
    wait_until((pod.io / "ready").exists)
    assert (pod.io / "reports.jsonl").stat().st_mode & 0o777 == 0o666
    assert (pod.bin / "kubetune-launch").stat().st_mode & 0o777 == 0o755
    assert (pod.bin / "sdk" / "kubetune" / "wire.py").stat().st_mode & 0o777 == 0o644


def test_a_stop_ends_the_program_by_its_next_report(pod: Pod, attempt: Attempt) -> None:
    attempt.stop_from = 2
    pod.sidecar()
    trial = pod.trial(*python("import kubetune\nfor i in range(100): kubetune.report(i=i, wait=True)"))
    assert trial.wait(timeout=20) == 0
    assert len(attempt.lines) == 3


def test_both_streams_in_one_file_come_as_one(pod: Pod, attempt: Attempt) -> None:
    pod.env["KUBETUNE_LOG_FILES"] = '["log"]'
    pod.sidecar()
    assert pod.trial(*shell("echo a; echo b >&2; echo c"), logs="one").wait(timeout=20) == 0
    assert attempt.output == {"stdout": b"a\nb\nc\n", "stderr": b""}


def test_output_beyond_what_is_taken_is_let_go(pod: Pod, attempt: Attempt) -> None:
    attempt.room = 5
    pod.sidecar()
    assert pod.trial(*shell("echo 123456789; echo e >&2")).wait(timeout=20) == 0
    assert attempt.output == {"stdout": b"12345", "stderr": b"e\n"}
    assert attempt.eof is not None


def test_a_closed_attempt_lets_the_launcher_go(pod: Pod, attempt: Attempt) -> None:
    sidecar = pod.sidecar()
    trial = pod.trial(*shell("while ! test -e kubetune/io/stop; do sleep 0.02; done; exit 7"))
    attempt.gone = True
    (pod.io / "reports.jsonl").write_text("{}\n")
    assert trial.wait(timeout=20) == 7
    assert attempt.eof is None
    assert told_to_end(sidecar) == 0


class TestToldToEnd:
    """SIGTERM is no reason to stop sending: it says that the trial's container has ended."""

    def test_who_was_never_greeted_goes(self, pod: Pod, attempt: Attempt, intake: Server) -> None:
        intake.stop()
        sidecar = pod.sidecar()
        wait_until((pod.io / "reports.jsonl").exists)
        assert sidecar.stderr is not None
        assert b"trying again" in sidecar.stderr.readline()
        assert told_to_end(sidecar) == 0
        assert not (pod.io / "ready").exists()
        assert attempt.hellos == 0

    def test_where_the_launcher_was_killed_all_is_sent_but_no_eof(self, pod: Pod, attempt: Attempt) -> None:
        sidecar = pod.sidecar()
        loop = (
            "i=0; while [ $i -lt 200 ]; do echo {} >> $KUBETUNE_REPORTS; i=$((i+1)); done; printf '{\"a\"' >> $KUBETUNE_REPORTS"
        )
        trial = pod.trial(*shell(f"{loop}; printf out; touch kubetune/done; sleep 60"))
        wait_until(lambda: (pod.root / "kubetune" / "done").exists() and (pod.io / "stdout").read_bytes() == b"out")
        trial.kill()
        trial.wait(timeout=10)
        assert told_to_end(sidecar) == 0
        assert attempt.lines == ["{}"] * 200 + ['{"a"'], "its last line counts though it has no end"
        assert attempt.output["stdout"] == b"out"
        assert attempt.eof is None
        assert (pod.io / "drained").exists()

    def test_while_the_intake_is_away_it_goes_on_trying(self, pod: Pod, attempt: Attempt, intake: Server) -> None:
        sidecar = pod.sidecar()
        trial = pod.trial(
            *shell("while ! test -e go; do sleep 0.02; done; echo {} >> $KUBETUNE_REPORTS; echo out; exit 4"), flush="0"
        )
        intake.stop()
        (pod.root / "go").touch()
        assert trial.wait(timeout=20) == 4
        sidecar.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired, match="timed out"):
            sidecar.wait(timeout=0.3)
        again = Server(attempt, intake.port)
        assert sidecar.wait(timeout=20) == 0
        again.stop()
        assert (attempt.lines, attempt.output["stdout"]) == (["{}"], b"out\n")
        assert attempt.eof is not None
        assert attempt.eof["exit_code"] == 4


def test_started_anew_in_the_middle_nothing_is_lost_or_doubled(pod: Pod, attempt: Attempt) -> None:
    code = """
import os, kubetune
for i in range(600):
    kubetune.report(i=i)
    os.write(1, b"%06d\\n" % i)
    while i == 300 and not os.path.exists("go"): pass
"""
    sidecar = pod.sidecar()
    trial = pod.trial(*python(code))
    wait_until(lambda: len(attempt.lines) > 100 and attempt.output["stdout"])
    sidecar.kill()
    sidecar.wait(timeout=10)
    (pod.root / "go").touch()
    pod.sidecar()
    assert trial.wait(timeout=20) == 0
    assert [line["i"] for line in attempt.metrics] == list(range(600))
    assert attempt.output["stdout"] == b"".join(b"%06d\n" % i for i in range(600))
    assert (attempt.hellos, attempt.rewritten) == (2, [])
    assert attempt.eof is not None
    assert attempt.eof["next"] == 600


def test_after_the_end_it_is_started_anew_and_says_eof_again(pod: Pod, attempt: Attempt) -> None:
    """The kubelet starts a sidecar again that has died; the launcher waits for that."""
    sidecar = pod.sidecar()
    trial = pod.trial(*shell("while ! test -e go; do sleep 0.02; done; echo {} >> $KUBETUNE_REPORTS; echo out"))
    sidecar.kill()
    sidecar.wait(timeout=10)
    (pod.root / "go").touch()
    wait_until((pod.io / "exit").exists)
    assert attempt.eof is None
    pod.sidecar()
    assert trial.wait(timeout=20) == 0
    assert (attempt.lines, attempt.output["stdout"]) == (["{}"], b"out\n")
    assert attempt.eof is not None


@pytest.mark.parametrize(
    "trouble", [pytest.param(cut, id="cut"), pytest.param(status(500), id="500"), pytest.param(status(409), id="hello first")]
)
def test_output_comes_whole_through_an_intake_in_trouble(pod: Pod, attempt: Attempt, trouble: Callable[[Any], None]) -> None:
    pod.sidecar()
    trial = pod.trial(*shell("while ! test -e go; do sleep 0.02; done; head -c 400000 /dev/zero; echo end >&2"))
    with attempt.lock:
        attempt.troubles.extend([trouble] * 3)
    (pod.root / "go").touch()
    assert trial.wait(timeout=20) == 0
    assert attempt.output == {"stdout": bytes(400_000), "stderr": b"end\n"}


TAMPERED = "the trial has tampered with /kubetune/io/exit"


def fifo(path: Path) -> None:
    os.mkfifo(path)


def text(said: object) -> Callable[[Path], object]:
    return lambda path: path.write_text(said if isinstance(said, str) else json.dumps(said))


class TestTampered:
    """The program can write into the folder: it harms its own trial alone, and never the sidecar."""

    @pytest.mark.parametrize(
        "put",
        [
            pytest.param(fifo, id="FIFO"),
            pytest.param(Path.mkdir, id="directory"),
            pytest.param(text("{"), id="torn"),
            pytest.param(text("[" * 4096), id="deep"),
            pytest.param(text([1]), id="list"),
            pytest.param(text({"exit_code": "0"}), id="a word for a number"),
            pytest.param(text({"exit_code": True}), id="a flag for a number"),
            pytest.param(text({"signal": 10**400}), id="a number beyond a byte"),
            pytest.param(text({"exit_code": 1, "error": ["a"]}), id="a list for a word"),
            pytest.param(text({"exit_code": 0, "oom": 1}), id="a number for a flag"),
        ],
    )
    def test_an_exit_that_is_none_is_said_to_be(self, pod: Pod, attempt: Attempt, put: Callable[[Path], object]) -> None:
        sidecar = pod.sidecar()
        wait_until((pod.io / "ready").exists)
        (pod.io / "reports.jsonl").write_text("{}\n")
        put(pod.io / "exit.new")
        (pod.io / "exit.new").rename(pod.io / "exit")
        wait_until((pod.io / "drained").exists)
        assert attempt.eof == {"next": 1, "error": TAMPERED}
        assert told_to_end(sidecar) == 0

    def test_a_link_for_an_exit_is_not_followed(self, pod: Pod, attempt: Attempt) -> None:
        (pod.root / "secret").write_text('{"exit_code": 0}')
        sidecar = pod.sidecar()
        wait_until((pod.io / "ready").exists)
        (pod.io / "exit").symlink_to(pod.root / "secret")
        (pod.io / "reports.jsonl").write_text("{}\n")
        wait_until(lambda: attempt.lines)
        assert told_to_end(sidecar) == 0
        assert attempt.eof is None

    @pytest.mark.parametrize(
        "put",
        [
            pytest.param(fifo, id="FIFO"),
            pytest.param(Path.mkdir, id="directory"),
            pytest.param(lambda path: path.symlink_to("/etc/hostname"), id="link"),
            pytest.param(lambda path: path.symlink_to(path), id="loop"),
        ],
    )
    @pytest.mark.parametrize("name", ["stdout", "drained"])
    def test_what_is_no_file_is_not_opened(self, pod: Pod, attempt: Attempt, put: Callable[[Path], object], name: str) -> None:
        sidecar = pod.sidecar()
        wait_until((pod.io / "ready").exists)
        put(pod.io / name)
        (pod.io / "reports.jsonl").write_text("{}\n")
        (pod.io / "exit.new").write_text('{"exit_code": 0}')
        (pod.io / "exit.new").rename(pod.io / "exit")
        wait_until(lambda: attempt.eof)
        assert told_to_end(sidecar) == 0
        assert (attempt.lines, attempt.output["stdout"]) == (["{}"], b"")


def test_less_than_20_mib_with_tls_after_a_thousand_reports(
    pod: Pod, attempt: Attempt, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    server = Server(attempt, tls=authority.context("127.0.0.1"))
    pod.env |= {"KUBETUNE_ENDPOINT": server.url, "KUBETUNE_CA_PEM": authority.file.read_text()}
    sidecar = pod.sidecar()
    code = """
import os, time, kubetune
for i in range(1000):
    kubetune.report(i=i, loss=0.1, accuracy=i / 3)
    os.write(1, b"x" * 1000)
    time.sleep(0.0005)
"""
    trial = pod.trial(*python(code))
    assert trial.wait(timeout=20) == 0
    kib = peak(sidecar.pid)
    assert told_to_end(sidecar) == 0
    server.stop()
    assert (len(attempt.lines), len(attempt.output["stdout"])) == (1000, 1_000_000)
    with capsys.disabled():
        print(f"\nsidecar: peak {kib / 1024:.1f} MiB with TLS after 1,000 reports (Python {sys.version.split()[0]})")  # noqa: T201
    assert kib < LIMIT
