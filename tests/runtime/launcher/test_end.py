"""After the program's end: word of it is left, the sidecar is waited for, the exit code stays the program's."""

from __future__ import annotations

import time

import pytest

from tests.runtime.intake import wait_until
from tests.runtime.launcher.conftest import Pod, after, ran

LATE = b"kubetune-launch: the sidecar did not say in time that everything is acknowledged\n"
CGROUP = 'mount -t tmpfs none /sys/fs/cgroup; mkdir /sys/fs/cgroup/memory; printf "%b" "$COUNT" > "/sys/fs/cgroup/$COUNTED"'
V2, V1 = "memory.events", "memory/memory.oom_control"  # the file of each version of cgroups …
BEFORE = {
    V2: "low 0\\nhigh 0\\nmax 9\\noom 1\\n",
    V1: "oom_kill_disable 0\\nunder_oom 0\\n",
}  # … and what precedes the count in it


def test_it_waits_until_everything_is_acknowledged(pod: Pod) -> None:
    launcher = pod.start("sh", "-c", "echo said; exit 3")
    wait_until((pod.io / "exit").exists)
    assert (pod.exit["exit_code"], pod.kept("stdout")) == (3, b"said\n"), "the spools are whole once the end is told"
    time.sleep(0.1)
    assert launcher.poll() is None
    pod.drain()
    done = ran(launcher)
    assert (done.code, done.err) == (3, b"")


def test_it_does_not_wait_for_ever(pods: list[Pod]) -> None:
    options = [["--flush", flush] for flush in ("0", "1")] * 2
    launchers = [each.start("sh", "-c", "echo said; exit 3", options=said) for each, said in zip(pods, options, strict=True)]
    for each, launcher in zip(pods, launchers, strict=True):
        done = ran(launcher)
        assert (done.code, done.out, done.err) == (3, b"said\n", LATE)
        assert each.exit["exit_code"] == 3


def test_told_to_end_it_does_not_use_up_the_grace(pods: list[Pod]) -> None:
    """Whether told before the program's end or after it: the sidecar, which ends last, goes on with what is left of the grace."""
    before, after_it = pods[0::2], pods[1::2]
    launchers = [each.start("sh", "-c", "trap 'exit 4' TERM; echo ready; while :; do sleep 0.01; done") for each in before]
    launchers += [each.start("sh", "-c", "exit 3") for each in after_it]
    for each in before:
        each.await_line(b"ready\n")
    for each in after_it:
        wait_until((each.io / "exit").exists)
    for launcher in launchers:
        launcher.terminate()
    assert [ran(launcher).code for launcher in launchers] == [4, 4, 3, 3]
    assert [each.exit["terminated"] for each in [*before, *after_it]] == [True, True, False, False]


@pytest.mark.parametrize(
    ("script", "file", "count", "oom"),
    [
        pytest.param("kill -KILL $$", V2, "oom_kill 1\\n", True, id="killed, and the kernel has killed"),
        pytest.param("exit 137", V2, "oom_kill 12\\noom_group_kill 0\\n", True, id="a shell's word for it"),
        pytest.param("kill -KILL $$", V2, "oom_kill 0\\n", False, id="killed by somebody else"),
        pytest.param("kill -TERM $$", V2, "oom_kill 1\\n", False, id="another signal"),
        pytest.param("exit 1", V2, "oom_kill 1\\n", False, id="another end"),
        pytest.param("kill -KILL $$", V2, "", False, id="an old kernel"),
        pytest.param("kill -KILL $$", V1, "oom_kill 1\\n", True, id="killed, and the kernel has killed: cgroup v1"),
        pytest.param("kill -KILL $$", V1, "oom_kill 0\\n", False, id="killed by somebody else: cgroup v1"),
    ],
)
def test_it_says_when_the_memory_was_not_enough(pod: Pod, script: str, file: str, count: str, oom: bool) -> None:  # noqa: FBT001
    pod.drain()
    ran(pod.start("sh", "-c", script, within=after(CGROUP, counted=file, count=BEFORE[file] + count)))
    assert pod.exit["oom"] == oom


def test_the_end_is_told_as_soon_as_that_is_possible(pod: Pod) -> None:
    """Something stands in the way; nobody can say that a disk never does more than be full."""
    launcher = pod.start(
        "sh", "-c", "mkdir -p $IO/exit/full; echo ready; exit 3", env={"PATH": "/usr/bin:/bin", "IO": str(pod.io)}
    )
    pod.await_line(b"ready\n")
    wait_until(lambda: b"exit_code" in (pod.io / "running").read_bytes())
    (pod.io / "exit" / "full").rmdir()
    (pod.io / "exit").rmdir()
    wait_until((pod.io / "exit").is_file)
    pod.drain()
    assert ran(launcher).code == 3
