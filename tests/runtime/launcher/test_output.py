"""What the program says reaches the container's streams whole, and the spools up to their bound; a spool never stops the program."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.runtime.intake import wait_until
from tests.runtime.launcher.conftest import PYTHON, Pod, after, ran

MARKER = b"[kubetune: stdout is not kept beyond this line: %s]\n"
BOUND = MARKER % b"spoolBytes is reached"
# Both streams at once, in pieces of every size, some far longer than any buffer, no newline at the end.
BINARY = """
import os, threading
def write(stream):
    for size in range(0, 60000, 997):
        os.write(stream, bytes([stream]) + os.urandom(size))
    os.write(stream, bytes(range(256)) * 1500)
threads = [threading.Thread(target=write, args=(stream,)) for stream in (1, 2)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


def test_every_byte_arrives_twice_and_in_order(pod: Pod) -> None:
    done = pod.run(*PYTHON, BINARY)
    assert len(done.out) == len(done.err) == sum(1 + size for size in range(0, 60000, 997)) + 256 * 1500
    assert pod.kept("stdout") == done.out
    assert pod.kept("stderr") == done.err
    assert pod.exit["lost"] == {"stdout": 0, "stderr": 0}


def test_a_sequence_stays_a_sequence(pod: Pod) -> None:
    done = pod.run("seq", "200000")
    assert done.out == b"".join(b"%d\n" % number for number in range(1, 200001))
    assert pod.kept("stdout") == done.out
    assert pod.kept("stderr") == b""


def test_as_one_both_streams_are_in_the_order_in_which_they_were_written(pod: Pod) -> None:
    done = pod.run("sh", "-c", "for i in $(seq 300); do echo out $i; echo err $i >&2; done", options=["--logs", "one"])
    assert done.out == b"".join(b"out %d\nerr %d\n" % (number, number) for number in range(1, 301))
    assert (done.err, pod.kept("stdout")) == (b"", done.out)
    assert not (pod.io / "stderr").exists()


def test_as_none_the_program_has_the_containers_own_streams(pod: Pod) -> None:
    pod.drain()
    read, write = os.pipe()
    launcher = pod.start("stat", "-Lc%i", "/dev/fd/1", "/dev/fd/2", options=["--logs", "none"], stdout=write, stderr=write)
    expected = os.fstat(write).st_ino
    os.close(write)
    with os.fdopen(read, "rb") as said:
        assert said.read() == b"%d\n%d\n" % (expected, expected)
    assert launcher.wait(timeout=20) == 0
    assert {each.name for each in pod.io.iterdir()} == {"drained", "exit"}


@pytest.mark.parametrize(
    ("bound", "text", "kept", "lost"),
    [
        pytest.param(8, "one\ntwo\n", b"one\ntwo\n", 0, id="just enough"),
        pytest.param(7, "one\ntwo\n", b"one\ntwo\n" + BOUND, 1, id="one byte too few"),
        pytest.param(4, "one\ntwo\n", b"one\n" + BOUND, 4, id="at the end of a line"),
        pytest.param(5, "one\ntwo\n", b"one\nt\n" + BOUND, 3, id="within a line"),
        pytest.param(0, "one\ntwo\n", BOUND, 8, id="nothing"),
        pytest.param(0, "", b"", 0, id="nothing of nothing"),
        pytest.param(100000, "x" * 120000, b"x" * 100000 + b"\n" + BOUND, 20000, id="more than a piece"),
    ],
)
def test_beyond_the_bound_a_spool_ends_with_a_marker_line(pod: Pod, bound: int, text: str, kept: bytes, lost: int) -> None:
    done = pod.run("printf", "%s", text, options=["--spool-bytes", str(bound)])
    assert done.out == text.encode(), "the container's log is whole"
    assert pod.kept("stdout") == kept
    assert pod.exit["lost"] == {"stdout": lost, "stderr": 0}


def test_the_marker_is_there_at_once(pod: Pod) -> None:
    pod.drain()
    launcher = pod.start("sh", "-c", "echo said; while ! test -e go; do sleep 0.01; done", options=["--spool-bytes", "0"])
    pod.await_line(BOUND)
    pod.path("go").touch()
    assert ran(launcher).out == b"said\n"


def test_a_slow_reader_slows_the_program_down_and_loses_nothing(pod: Pod) -> None:
    pod.drain()
    launcher = pod.start("sh", "-c", "seq 200000; touch written")
    wait_until(lambda: (pod.io / "stdout").exists() and len(pod.kept("stdout")) > 65536)
    assert launcher.stdout is not None
    out = os.read(launcher.stdout.fileno(), 100)
    assert not pod.path("written").exists(), "the program waits, as it would without a launcher"
    out += ran(launcher).out
    assert out == pod.kept("stdout") == b"".join(b"%d\n" % number for number in range(1, 200001))


@pytest.mark.parametrize("redirected", ["", " >&2"], ids=["stdout", "stderr"])
def test_a_container_stream_that_nobody_reads_any_more_stops_nothing(pod: Pod, redirected: str) -> None:
    pod.drain()
    launcher = pod.start("sh", "-c", f"while ! test -e closed; do sleep 0.01; done; seq 100000{redirected}; exit 3")
    closed, other = (launcher.stderr, launcher.stdout) if redirected else (launcher.stdout, launcher.stderr)
    assert closed is not None
    assert other is not None
    closed.close()
    pod.path("closed").touch()
    assert other.read() == b""
    assert launcher.wait(timeout=20) == 3
    assert pod.kept("stderr" if redirected else "stdout").endswith(b"\n100000\n")


def test_a_container_stream_that_was_never_open_stops_nothing(pod: Pod) -> None:
    pod.drain()
    launcher = pod.start("sh", "-c", "echo out; echo err >&2", within=["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"])
    assert ran(launcher).code == 0
    assert (pod.kept("stdout"), pod.kept("stderr"), pod.exit["exit_code"]) == (b"out\n", b"err\n", 0)


def test_a_log_of_the_container_on_a_full_disk_stops_nothing(pod: Pod) -> None:
    with open("/dev/full", "wb") as full:
        assert pod.run("seq", "10000", stdout=full, stderr=full).code == 0
    assert pod.kept("stdout").endswith(b"\n10000\n")


# A small disk of its own; what was on it is left beside it at the end.
DISK = """
mount -t tmpfs -o size=64k none "$IO"
touch "$IO/drained"
"$@" && code=0 || code=$?
mkdir "$KEPT"
cp "$IO/stdout" "$IO/exit" "$KEPT"
exit $code
"""


def on_a_small_disk(pod: Pod, script: str) -> tuple[bytes, bytes]:
    """Give what was spooled and what the container's stream got."""
    done = ran(pod.start("sh", "-c", script, within=after(DISK, io=pod.io, kept=pod.path("kept"))))
    assert done.code == 3
    pod.io = pod.path("kept")
    return pod.kept("stdout"), done.out


def test_on_a_full_disk_the_program_goes_on_and_its_end_is_told(pod: Pod) -> None:
    kept, out = on_a_small_disk(pod, "seq 100000; exit 3")
    assert out == b"".join(b"%d\n" % number for number in range(1, 100001))
    assert 0 < len(kept) < 65536
    assert out.startswith(kept)
    assert pod.exit["exit_code"] == 3
    assert pod.exit["lost"]["stdout"] == len(out) - len(kept)


def test_a_disk_that_was_full_gets_the_marker_and_never_a_text_with_a_hole(pod: Pod) -> None:
    script = f"head -c 36000 /dev/zero > {pod.io}/ballast; seq 100000; rm {pod.io}/ballast; echo more; exit 3"
    kept, out = on_a_small_disk(pod, script)
    text = kept.removesuffix(MARKER % b"No space left on device")
    assert text != kept
    assert text.endswith(b"\n"), "the marker is a line of its own"
    assert out.startswith((text, text[:-1]))
    assert 0 < pod.exit["lost"]["stdout"] < len(out)


@pytest.mark.parametrize("planted", ["link", "pipe"])
def test_what_lies_where_the_spool_should_be_is_not_followed(pod: Pod, planted: str) -> None:
    target = pod.path("target")
    target.touch()
    (pod.io / "stdout").symlink_to(target) if planted == "link" else os.mkfifo(pod.io / "stdout")
    done = pod.run("echo", "said")
    assert (done.code, done.out, done.err) == (0, b"said\n", b"kubetune-launch: stdout is not kept: File exists\n")
    assert target.read_bytes() == b""
    assert pod.exit["lost"]["stdout"] == 5


# Each holds the launcher up for two seconds: they run at the same time.
def test_a_child_that_holds_the_output_open_holds_the_launcher_up_for_a_moment_only(pods: list[Pod]) -> None:
    scripts = {
        "holds": "(sleep 0.2; echo late; exec sleep 60) & echo said; exit 3",
        "writes": "(while echo x; do :; done) & echo said; exit 3",
    }
    launchers = []
    for each, script in zip(pods, [*scripts.values()] * 2, strict=True):
        each.drain()
        launchers.append(each.start("sh", "-c", script))
    for each, launcher, name in zip(pods, launchers, [*scripts] * 2, strict=True):
        done = ran(launcher)  # in vain, if it waited for the child's end
        assert done.code == 3
        assert b"said\n" in done.out
        assert each.kept("stdout").startswith(done.out)
        assert name == "writes" or done.out == b"said\nlate\n", "what it says within that moment is not lost"


def test_a_reader_that_has_stopped_is_waited_for_until_the_flush_is_over(pods: list[Pod]) -> None:
    said = b"".join(b"%d\n" % number for number in range(1, 22001))  # less than two pipes take
    launchers = []
    for each, flush in zip(pods, ["1", "60"] * 2, strict=True):
        each.drain()
        launchers.append(each.start("sh", "-c", "seq 22000; exit 3", options=["--flush", flush]))
    assert [each.wait(timeout=20) for each in launchers[::2]] == [3, 3], "nobody reads"
    assert [each.kept("stdout") == said for each in pods[::2]] == [True, True], "the spools are whole all the same"
    assert [ran(each).out == said for each in launchers[1::2]] == [True, True], "the others have waited"


def test_a_static_program_in_an_empty_image_with_a_read_only_root_and_any_user(static: Pod) -> None:
    """No shell, no /proc, no /dev, no libraries: a kernel is all it needs."""
    image = static.path("image")
    (image / "io").mkdir(parents=True)
    image.joinpath("launch").write_bytes(static.launcher.read_bytes())
    image.joinpath("launch").chmod(0o755)
    script = """
mount --bind "$IMAGE" "$IMAGE"
mount -o remount,bind,ro "$IMAGE"
mount -t tmpfs -o mode=777 none "$IMAGE/io"
touch "$IMAGE/io/drained"
! touch "$IMAGE/file" 2> /dev/null
chroot ${USERSPEC:+--userspec=$USERSPEC} "$IMAGE" /launch --io /io --sdk /sdk -- /launch --ready /launch
chroot "$IMAGE" /launch --ready /nothing || echo $?
cat "$IMAGE/io/exit"
"""
    user = "12345:12345" if os.geteuid() == 0 else ""
    command = [*after(script, image=image, userspec=user), "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")
    code, said = done.stdout.split("\n", 1)
    assert code == "1"
    assert said.startswith('{"exit_code": 0, ')
    assert not Path(image / "io" / "exit").exists()
