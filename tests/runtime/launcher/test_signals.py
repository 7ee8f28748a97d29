"""Signals go to the program alone, children are reaped, and nothing is left running."""

from __future__ import annotations

import os
import signal

import pytest

from tests.runtime.intake import wait_until
from tests.runtime.launcher.conftest import PYTHON, Pod, alive, children, namespaces, ran

FORWARDED = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2]
PID_1 = namespaces("pid", "mount-proc")
# A program and its child, of one process group: each says which signal it has heard.
TWO = r"""
import os, signal, sys, time
def heard(*_):
    os.write(1, b"program\n" if child else b"child\n")
    if child:
        time.sleep(0.05)
        os.kill(child, signal.SIGKILL)
        os._exit(7)
child = os.fork()
signal.signal(int(sys.argv[1]), heard)
os.write(1, b"ready\n")
while True:
    time.sleep(0.01)
"""


@pytest.mark.parametrize("number", FORWARDED, ids=lambda number: number.name)
def test_a_signal_reaches_the_program_alone(pod: Pod, number: signal.Signals) -> None:
    pod.drain()
    launcher = pod.start(*PYTHON, TWO, str(int(number)))
    pod.await_line(b"ready\nready\n")
    launcher.send_signal(number)
    done = ran(launcher)
    assert (done.code, done.out) == (7, b"ready\nready\nprogram\n")
    assert pod.exit["exit_code"] == 7
    assert pod.exit["terminated"] == (number == signal.SIGTERM)


def test_a_program_without_a_handler_ends_by_the_signal(pod: Pod) -> None:
    """Not as PID 1, to which the kernel hands no signal that it does not handle."""
    pod.drain()
    pod.start("sh", "-c", "echo ready; exec sleep 60", within=PID_1)
    pod.await_line(b"ready\n")
    [launcher] = children(pod.started.pid)
    os.kill(launcher, signal.SIGTERM)
    assert ran(pod.started).code == 143
    assert (pod.exit["signal"], pod.exit["terminated"]) == (15, True)


def test_a_program_that_ignores_sigterm_goes_on(pod: Pod) -> None:
    pod.drain()
    launcher = pod.start("sh", "-c", "trap '' TERM; echo ready; while ! test -e go; do sleep 0.01; done; exit 3")
    pod.await_line(b"ready\n")
    launcher.terminate()
    launcher.terminate()
    pod.path("go").touch()
    assert ran(launcher).code == 3
    assert (pod.exit["exit_code"], pod.exit["terminated"]) == (3, True)


def test_a_signal_before_there_is_a_program_is_not_lost(pod: Pod) -> None:
    def early() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        os.kill(os.getpid(), signal.SIGTERM)

    assert pod.run("sleep", "60", preexec_fn=early).code == 143
    assert pod.exit["terminated"]


def test_a_signal_reaches_the_program_while_nobody_reads_its_output(pod: Pod) -> None:
    pod.drain()
    script = "import signal; signal.signal(15, lambda *_: open('heard', 'x').close()); print('x' * 1000000)"
    launcher = pod.start(*PYTHON, script)
    wait_until(lambda: (pod.io / "stdout").exists() and len(pod.kept("stdout")) > 65536)  # the container's pipe is full
    launcher.terminate()
    wait_until(pod.path("heard").exists)
    assert len(ran(launcher).out) == 1000001


@pytest.mark.parametrize("within", [[], PID_1], ids=["beside others", "as PID 1"])
def test_orphans_are_reaped(pod: Pod, within: list[str]) -> None:
    orphan = """
import os, sys, time
read, write = os.pipe()
for _ in range(20):
    if os.fork() == 0:
        if os.fork() == 0:
            os.write(write, b'%10d' % os.getpid())
        os._exit(0)
    os.wait()
left = [int(os.read(read, 10)) for _ in range(20)]
while any(os.path.exists(f'/proc/{pid}') for pid in left):
    time.sleep(0.01)
"""
    assert pod.run(*PYTHON, orphan, within=within).code == 0


def test_what_is_left_running_ends_before_the_end_is_told(pod: Pod) -> None:
    """As the end of a container ends everything in it: no report can come after the last one."""
    pod.start("sh", "-c", "(trap '' TERM HUP; exec >&- 2>&-; while :; do sleep 0.01; done) & exit 3", within=PID_1)
    wait_until((pod.io / "exit").exists)
    [launcher] = children(pod.started.pid)
    assert children(launcher) == []
    pod.drain()
    assert ran(pod.started).code == 3


def test_beside_others_nobody_elses_process_is_ended(pod: Pod) -> None:
    """In a pod with shareProcessNamespace the launcher is not PID 1, and the others are not its own."""
    done = pod.run("sh", "-c", "sleep 60 >&- 2>&- & echo $!")
    left = int(done.out)
    assert alive(left)
    os.kill(left, signal.SIGKILL)
