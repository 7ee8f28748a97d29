"""What a machine can do to a run, for real: a full disk, a power cut, an odd locale, a fault of ours, and numbers beyond a float."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kubetune_operator import checked
from kubetune_operator.experiment import load
from tests.shell.conftest import Run, command, experiment
from tests.shell.mount import Mount

Kubetune = Callable[..., Run]
BEYOND = 10**400  # a whole number that no float holds
WAITS = """
import os, time, kubetune
kubetune.report(accuracy=kubetune.params()["x"], wait=True)
while not os.path.exists("go-on"): time.sleep(0.02)
kubetune.report(accuracy=2)
"""


def journaled(folder: Path) -> list[tuple[int, int, object]]:
    """Give every report that the journal has: trial, number, value."""
    return [(one.report.trial, one.report.number, one.report.metrics["accuracy"]) for one in load(folder, checked.spec_of).judged]


def started(folder: Path, *, env: dict[str, str] | None = None, **spec: object) -> tuple[list[str], subprocess.Popen[str]]:
    """Start a run of WAITS and wait until its first trial has reported; (the command, the process)."""
    (folder / "program.py").write_text(WAITS)
    (folder / "exp.yaml").write_text(json.dumps(experiment(["python", "program.py"], **spec)))
    words = ["run", str(folder / "exp.yaml"), "--results", str(folder / "results")]
    running = subprocess.Popen(
        [sys.executable, "-m", "kubetune.cli", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env
    )
    assert running.stdout is not None
    for line in running.stdout:
        if "best" in line:
            return words, running
    raise AssertionError("it never reported")


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until this is so."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.slow
def test_whole_numbers_beyond_a_float_are_recorded_and_end_nothing(kubetune: Kubetune, tmp_path: Path) -> None:
    lines = [{"accuracy": 1, "n": BEYOND, "m": -BEYOND, "deep": {"n": BEYOND}}, {"accuracy": BEYOND}, {"accuracy": 3}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    source = f"import os\nopen(os.environ['KUBETUNE_REPORTS'], 'a').write({text!r})\n"
    run = kubetune(source, numSamples=2)
    assert run.code == 0, run.out + run.err
    assert [row["accuracy"] for row in run.rows(0)] == [1, BEYOND, 3]
    assert [run.rows(0)[0][name] for name in ("n", "m")] == [BEYOND, -BEYOND]
    assert str(BEYOND) in (run.trial(0) / "progress.csv").read_text()
    shown = command(tmp_path, "show", str(run.folder))
    assert shown.code == 0, shown.err
    again = kubetune(source, "--resume", numSamples=3)
    assert again.code == 0, again.out + again.err
    assert len(again.rows(2)) == 3


@pytest.mark.slow
def test_files_that_could_not_be_written_are_brought_level_once_they_can(kubetune: Kubetune) -> None:
    """Without root: for a while there is something else where result.json should be."""
    source = """
    import os, time, kubetune
    for i in range(3):
        kubetune.report(accuracy=i, wait=True)
    folder = os.path.join(os.path.dirname(os.environ["KUBETUNE_REPORTS"]), "..", "..", kubetune.trial().name)
    result = os.path.join(folder, "result.json")
    while not (os.path.exists(result) and len(open(result).readlines()) == 3):
        time.sleep(0.02)
    os.remove(result)
    os.mkdir(result)
    trace = os.path.join(folder, "trace.tmp")
    open(trace, "w").close()
    for i in range(3, 6):
        kubetune.report(accuracy=i, wait=True)
    while os.path.exists(trace):  # goes when it was tried to bring the files level
        time.sleep(0.02)
    os.rmdir(result)
    for i in range(6, 8):
        kubetune.report(accuracy=i, wait=True)
    """
    run = kubetune(textwrap.dedent(source))
    assert run.code == 0, run.out + run.err
    assert [row["accuracy"] for row in run.rows(0)] == list(range(8))
    assert [row["done"] for row in run.rows(0)] == [False] * 7 + [True]
    assert len((run.trial(0) / "progress.csv").read_text().splitlines()) == 9
    assert run.err.count("the results cannot be written now") == 1, run.err
    assert "nothing can be recorded" not in run.err
    assert not list((run.folder / ".run").glob("*-*"))


FILLS = """
import os, time, kubetune
me = kubetune.trial().number
filler = os.path.join(os.environ["DISK"], f"filler-{me}")
for i in range(5):
    kubetune.report(accuracy=i, text="x" * 50, wait=True)
if me == 1:
    with open(filler, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    time.sleep(6)  # the others report meanwhile; agents and runner meet the full disk
    os.remove(filler)
for i in range(5, 10):
    try:
        kubetune.report(accuracy=i, text="x" * 50)
    except OSError:
        time.sleep(0.5)
    time.sleep(0.6)
kubetune.report(accuracy=99, wait=True)
"""


@pytest.mark.slow
def test_a_disk_that_was_full_for_a_while_costs_no_acknowledged_report(tmp_path: Path) -> None:
    """A tmpfs of 1 MiB in a mount namespace of its own, filled by a trial and freed again."""
    (tmp_path / "program.py").write_text(FILLS)
    body = experiment(["python", "program.py"], numSamples=5, maxConcurrentTrials=3)
    (tmp_path / "exp.yaml").write_text(json.dumps(body))
    disk, kept = tmp_path / "disk", tmp_path / "results"
    disk.mkdir()
    run = [sys.executable, "-m", "kubetune.cli", "run", str(tmp_path / "exp.yaml"), "--results", str(disk / "results")]
    script = f"mount -t tmpfs -o size=1m tmpfs {disk} && ({shlex.join(run)}; echo code $?; cp -a {disk}/results {kept})"
    words = ["unshare", "-m" if os.geteuid() == 0 else "-rm", "sh", "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=100, env=os.environ | {"DISK": str(disk)})
    folder = kept / "default" / "exp"
    assert "code 0" in done.stdout, done.stdout + done.stderr
    assert "now (" in done.stderr, "the disk was full, and it was said"
    reports = journaled(folder)
    for trial in range(5):
        rows = [json.loads(line) for line in (folder / f"exp-{trial:05d}" / "result.json").read_text().splitlines()]
        its = [(number, value) for which, number, value in reports if which == trial]
        assert [(row["number"], row["accuracy"]) for row in rows] == its
        assert its[-1][1] == 99
        assert {row["attempt"] for row in rows} == {0}, "no healthy program was lost"
    assert not list((folder / ".run").glob("*-*"))


STAYS = """
import os, signal, sys, time, kubetune
here, trial = os.environ["HERE"], kubetune.trial()
def told(*_):
    open(os.path.join(here, f"told-{trial.number}-{trial.attempt}"), "w").close()
    sys.exit(0)
signal.signal(signal.SIGTERM, told)
kubetune.report(accuracy=1, wait=True)
if trial.attempt:
    sys.exit()
if trial.number == 1:
    while len([name for name in os.listdir(here) if name.startswith("up-")]) < 2: time.sleep(0.02)
    with open(os.path.join(os.environ["DISK"], "filler"), "wb", buffering=0) as file:
        try:
            while True: file.write(bytes(4096))
        except OSError: pass
open(os.path.join(here, f"up-{trial.number}"), "w").close()
while True:  # until the last page of the journal is full too
    try: kubetune.report(accuracy=2)
    except OSError: pass
    time.sleep(0.02)
"""


@pytest.mark.parametrize("freed", [False, True], ids=["it stays full", "it is freed"])
@pytest.mark.slow
def test_ctrl_c_ends_what_runs_while_the_disk_is_full(tmp_path: Path, *, freed: bool) -> None:
    """The first tells it to, though that cannot be recorded; the second ends the run. None of it is a failure afterwards."""
    (tmp_path / "program.py").write_text(STAYS)
    body = experiment(["python", "program.py"], numSamples=3, maxConcurrentTrials=3)
    (tmp_path / "exp.yaml").write_text(json.dumps(body))
    disk = tmp_path / "disk"
    run = [sys.executable, "-m", "kubetune.cli", "run", str(tmp_path / "exp.yaml"), "--results", str(disk / "results")]
    env = os.environ | {"DISK": str(disk), "HERE": str(tmp_path)}
    with Mount(disk) as mount:
        running = subprocess.Popen([*mount.enter, *run], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
        wait_until(lambda: len(list(tmp_path.glob("up-*"))) == 3)
        time.sleep(5)  # all that has room goes into the journal
        running.send_signal(signal.SIGINT)
        wait_until(lambda: len(list(tmp_path.glob("told-*-0"))) == 3, seconds=1.5)
        assert running.poll() is None
        if freed:
            subprocess.run([*mount.enter, "rm", str(disk / "filler")], check=True)
        else:
            running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=10)
        assert running.returncode == (130 if freed else 1), out + err
        assert f"go on with: kubetune run {tmp_path / 'exp.yaml'} --resume" in (out if freed else err)
        if not freed:
            assert "No space left on device" in err
            assert "3 trials told to end, and killed when the grace period is over; nothing that was recorded is lost" in err
            subprocess.run([*mount.enter, "rm", str(disk / "filler")], check=True)
        resumed = subprocess.run(
            [*mount.enter, *run, "--resume"], capture_output=True, text=True, check=False, env=env, timeout=60
        )
        assert resumed.returncode == 0, resumed.stdout + resumed.stderr
        kept = tmp_path / "kept"
        subprocess.run([*mount.enter, "cp", "-a", str(disk / "results" / "default" / "exp") + "/.", str(kept)], check=True)
    past = load(kept, checked.spec_of)
    assert [(trial.failures, trial.attempts) for trial in past.history.trials] == [(0, 2)] * 3
    assert not list(kept.glob("*/error.txt"))


def rebooted(run: Path, reports: str) -> None:
    """Leave what a power cut may leave of an attempt that had ended: its words are there, its reports never reached the disk."""
    pod = json.loads((run / "pod.json").read_text())
    status = json.loads((run / "status.json").read_text())
    ended = {"state": "ended", "exit_code": 0, "signal": None, "terminated": False, "killed": False, "error": None}
    (run / "pod.json").write_text(json.dumps(pod | {"boot": "00000000-0000-4000-8000-000000000000"}))
    (run / "status.json").write_text(json.dumps(status | ended))
    (run / "reports.jsonl").write_text(reports)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda run: (run / "pod.json").write_text(""), id="empty pod"),
        pytest.param(lambda run: (run / "pod.json").write_bytes(b"\xff\0"), id="garbled pod"),
        pytest.param(lambda run: (run / "pod.json").write_text("[]"), id="another pod"),
        pytest.param(lambda run: (run / "token").unlink(), id="no token"),
        pytest.param(lambda run: (run / "token").write_text(""), id="empty token"),
        pytest.param(lambda run: (run / "pod.json").unlink(), id="no pod"),
        pytest.param(lambda run: rebooted(run, ""), id="ended, without its reports"),
        pytest.param(lambda run: rebooted(run, '{"accu'), id="ended, with half a report"),
    ],
)
@pytest.mark.slow  # a disruption is tried again after ten seconds
def test_after_a_power_cut_what_cannot_be_read_is_a_pod_that_is_gone(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    words, running = started(tmp_path)
    running.kill()
    running.communicate(timeout=20)
    (attempt,) = (tmp_path / "results" / "default" / "exp" / ".run").glob("0-0")
    status = json.loads((attempt / "status.json").read_text())
    os.kill(int((attempt / "claim").read_text()), signal.SIGKILL)
    os.killpg(status["pid"], signal.SIGKILL)
    spoil(attempt)
    (tmp_path / "go-on").touch()
    resumed = command(tmp_path, *words, "--resume")
    assert resumed.code == 0, resumed.out + resumed.err
    assert [row["attempt"] for row in resumed.rows(0)] == [0, 1, 1]
    assert not (resumed.trial(0) / "error.txt").exists(), "a disruption is no failure"


def test_a_locale_of_ascii_only_changes_nothing(tmp_path: Path) -> None:
    env = os.environ | {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "utf-8"}
    body = experiment(["python", "program.py"], parameters=[{"name": "x", "choice": ["Grüße 🎉"]}])
    (tmp_path / "program.py").write_text("import kubetune\nkubetune.report(accuracy=1, name=kubetune.params()['x'])\n")
    (tmp_path / "exp.yaml").write_text(json.dumps(body))
    words = ["run", str(tmp_path / "exp.yaml"), "--results", str(tmp_path / "results"), "--quiet"]
    done = subprocess.run(
        [sys.executable, "-m", "kubetune.cli", *words], capture_output=True, text=True, check=False, env=env, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = tmp_path / "results" / "default" / "exp" / "exp-00000" / "result.json"
    assert json.loads(result.read_text(encoding="utf-8"))["name"] == "Grüße 🎉"


@pytest.mark.slow
def test_after_a_fault_of_ours_it_is_said_that_trials_may_run_on_and_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(WAITS)
    (tmp_path / "exp.yaml").write_text(json.dumps(experiment(["python", "program.py"])))
    words = ["run", str(tmp_path / "exp.yaml"), "--results", str(tmp_path / "results")]
    faulty = "from kubetune_operator import files; files._append = lambda *_: {}[1]; import sys; from kubetune.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", faulty, *words], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "KeyError: 1" in done.stderr
    assert "1 trial may still run" in done.stderr
    assert f"go on with: kubetune {shlex.join(words[:2])} --resume --results {tmp_path / 'results'}" in done.stderr
    (tmp_path / "go-on").touch()
    resumed = command(tmp_path, *words, "--resume")
    assert resumed.code == 0, resumed.out + resumed.err
    assert [(row["accuracy"], row["attempt"]) for row in resumed.rows(0)][1:] == [(2, 0)]


@pytest.mark.slow
def test_ctrl_c_before_a_resumed_run_has_begun_ends_what_the_earlier_one_left(tmp_path: Path) -> None:
    """The signal comes while the journal is read; what runs was started by a runner that was killed."""
    words, running = started(tmp_path, numSamples=2, maxConcurrentTrials=2)
    running.kill()
    running.communicate(timeout=20)
    folder = tmp_path / "results" / "default" / "exp"
    statuses = [json.loads(path.read_text()) for path in folder.glob(".run/*/status.json")]
    assert statuses
    interrupted = (
        "import os, signal, sys; from kubetune_operator.commands import lock; take = lock.take; "
        "lock.take = lambda folder: (take(folder), os.kill(os.getpid(), signal.SIGINT)); "
        "from kubetune.cli import main; sys.exit(main())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", interrupted, *words, "--resume"], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 130, ended.stdout + ended.stderr
    assert "exp: Interrupted" in ended.stdout
    assert not [status["pid"] for status in statuses if Path(f"/proc/{status['pid']}").exists()]
    assert not list((folder / ".run").glob("*-*"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "SIGTERM"])
def test_a_signal_that_comes_when_all_has_ended_takes_nothing_away(tmp_path: Path, number: int) -> None:
    """The tables and the summary are still to come, and the exit code is that of an experiment that has finished."""
    (tmp_path / "exp.yaml").write_text(
        json.dumps(experiment(["python", "-c", "import kubetune; kubetune.report(accuracy=1)"], numSamples=2))
    )
    late = (
        "import os, sys; from kubetune_operator.cluster.local import Local; close = Local.close; "
        f"Local.close = lambda self: (os.kill(os.getpid(), {int(number)}), close(self))[1]; "
        "from kubetune.cli import main; sys.exit(main())"
    )
    words = ["run", str(tmp_path / "exp.yaml"), "--results", str(tmp_path / "results")]
    done = subprocess.run([sys.executable, "-c", late, *words], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "exp: Completed" in done.stdout
    table = (tmp_path / "results" / "default" / "exp" / "trials.csv").read_text()
    assert table.count("Succeeded") == 2, table
