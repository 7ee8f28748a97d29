"""Images of strangers run as trials, and programs of every kind: the launcher is all that they get of us."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import images
from tests.e2e.experiments import body, finished, gone, pods
from tests.e2e.followed import watched
from tests.e2e.kubectl import Kubectl, Manifest
from tests.e2e.product import ROOT, Figures, Operator, condition

SAID = b"what a program of its own image says\n"
REPORTS, FAILS = "localhost/e2e/reports:1", "localhost/e2e/fails:1"
PYTHON = {"image": "python:3.13-slim", "securityContext": {"runAsUser": 65534}}  # its own user is root


def test_the_quickstart_runs_unchanged(operator: Operator, kubectl: Kubectl, figures: Figures) -> None:
    began = time.monotonic()
    kubectl("apply", "--filename", str(ROOT / "examples/quickstart.yaml"))
    found = finished(kubectl, "quickstart", seconds=180)
    figures.say("the quickstart from apply to its end, seconds", time.monotonic() - began, 90)
    assert found["status"]["state"] == "Completed"
    assert found["status"]["progress"] == "12/12"
    assert float(found["status"]["bestTrial"]["value"]) < 0.3


def run(kubectl: Kubectl, name: str, container: dict[str, Any], *, retain: str = "Failed") -> Manifest:
    """Run two trials of a container, as the user that its image or it says, to their end."""
    wanted = body(name, "", numSamples=2, scheduler={})
    wanted["spec"]["trial"] = {"retainPods": retain, "template": {"spec": {"containers": [{"name": "trial", **container}]}}}
    kubectl.apply(wanted)
    return finished(kubectl, name, seconds=150)


def test_a_shell_is_enough(operator: Operator, kubectl: Kubectl) -> None:
    script = 'for i in 1 2 3; do echo "{\\"accuracy\\": 0.$i, \\"i\\": $i}" >> "$KUBETUNE_REPORTS"; done'
    found = run(kubectl, "shell", {**PYTHON, "command": ["sh", "-c", script]})
    assert found["status"]["state"] == "Completed", found["status"]
    rows = operator.rows(f"{kubectl.namespace}/shell/shell-00000/result.json")
    assert [row["i"] for row in rows] == [1, 2, 3]


def test_argv_arrives_byte_for_byte(operator: Operator, kubectl: Kubectl) -> None:
    words = ["two words", "\"'", "$$(HOME) $HOME", "a\nb", "", "ü"]
    program = "import json, sys, kubetune; print(json.dumps(sys.argv[1:])); kubetune.report(accuracy=1)"
    found = run(kubectl, "argv", {**PYTHON, "command": ["python", "-c", program, *words]})
    assert found["status"]["state"] == "Completed", found["status"]
    said = json.loads(operator.read(f"{kubectl.namespace}/argv/argv-00000/stdout").decode())
    assert said == [word.replace("$$", "$") for word in words]


def test_another_user_and_a_read_only_root(operator: Operator, kubectl: Kubectl) -> None:
    program = """
import os, kubetune
print(os.getuid())
try:
    open("/written", "w")
except OSError as error:
    print(error.strerror)
kubetune.report(accuracy=1)
"""
    security = {"runAsUser": 12345, "readOnlyRootFilesystem": True}
    container = {"image": "python:3.13-slim", "command": ["python", "-c", program], "securityContext": security}
    found = run(kubectl, "another", container)
    assert found["status"]["state"] == "Completed", found["status"]
    assert operator.read(f"{kubectl.namespace}/another/another-00000/stdout").decode() == "12345\nRead-only file system\n"


@pytest.fixture(scope="module")
def strangers(load_image: Callable[[Path], None], nodes: list[Manifest], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Bring two images of one static program each, without shell, library or user of the root's, to every node."""
    archive = tmp_path_factory.mktemp("strangers") / "strangers.tar"
    programs = {
        REPORTS: images.Program(
            code=0, says=SAID, file="/kubetune/io/reports.jsonl", appends=b'{"accuracy": 0.5}\n', user="4321"
        ),
        FAILS: images.Program(code=7, says=SAID, user="4321"),
    }
    images.write(archive, programs, architecture=nodes[0]["status"]["nodeInfo"]["architecture"])
    load_image(archive)


def static(image: str, **more: Any) -> dict[str, Any]:
    """Give a container of a stranger's image, whose root it may not write to."""
    return {"image": image, "imagePullPolicy": "Never", "securityContext": {"readOnlyRootFilesystem": True}, **more}


@pytest.mark.usefixtures("strangers")
@pytest.mark.parametrize("command", [["/0"], None], ids=["command", "entrypoint"])
def test_a_static_program_reports_by_appending_a_line(operator: Operator, kubectl: Kubectl, command: list[str] | None) -> None:
    found = run(kubectl, "static", static(REPORTS, **({"command": command} if command else {})))
    assert found["status"]["state"] == "Completed", found["status"]
    assert found["status"]["trials"]["succeeded"] == 2
    for trial in ("static-00000", "static-00001"):
        folder = f"{kubectl.namespace}/static/{trial}"
        assert [row["accuracy"] for row in operator.rows(f"{folder}/result.json")] == [0.5]
        assert (operator.read(f"{folder}/stdout"), operator.read(f"{folder}/stderr")) == (SAID, b"")


@pytest.mark.usefixtures("strangers")
def test_a_static_program_that_fails_and_never_reports(operator: Operator, kubectl: Kubectl) -> None:
    found = run(kubectl, "static", static(FAILS, command=["/1"]))
    assert found["status"]["state"] == "ExitCode", found["status"]
    folder = f"{kubectl.namespace}/static/static-00000"
    assert "exit code 7" in operator.read(f"{folder}/error.txt").decode()
    assert operator.read(f"{folder}/stdout") == SAID


@pytest.mark.usefixtures("strangers")
@pytest.mark.parametrize("retain", ["None", "All"])
def test_what_an_image_without_a_command_prints_is_kept(operator: Operator, kubectl: Kubectl, retain: str) -> None:
    found = run(kubectl, "entrypoint", static(FAILS), retain=retain)
    assert found["status"]["state"] == "ExitCode", found["status"]
    assert "exit code 7" in next(one["message"] for one in found["status"]["conditions"] if one["type"] == "Finished")
    for trial in ("entrypoint-00000", "entrypoint-00001"):
        folder = f"{kubectl.namespace}/entrypoint/{trial}"
        assert "exit code 7" in operator.read(f"{folder}/error.txt").decode()
        assert (operator.read(f"{folder}/stdout"), operator.read(f"{folder}/stderr")) == (SAID, b"")
    until = time.monotonic() + 30
    while len(pods(kubectl, "entrypoint")) != (2 if retain == "All" else 0):
        assert time.monotonic() < until, pods(kubectl, "entrypoint").keys()
        time.sleep(0.5)


def test_what_it_prints_is_kept_once_though_the_operator_is_started_again(operator: Operator, kubectl: Kubectl) -> None:
    program = (
        "import os, time\nopen(os.environ['KUBETUNE_REPORTS'], 'a').write('{\"accuracy\": 1}\\n')\n"
        "for i in range(300):\n    print('line', i)\n    time.sleep(0.05)\n"
    )
    wanted = body("own", "", numSamples=1, scheduler={})
    container = {"name": "trial", "image": "python:3.13-slim", "args": ["python", "-u", "-c", program]}  # it has no entrypoint
    wanted["spec"]["trial"]["template"]["spec"]["containers"] = [container]
    kubectl.apply(wanted)
    kubectl.until("tune", "own", lambda one: bool((one.get("status") or {}).get("bestTrial")), seconds=90)
    path = f"{kubectl.namespace}/own/own-00000/stdout"
    until = time.monotonic() + 10
    # A report may be quicker than what was printed after it.
    while not (before := operator.read(path)) and time.monotonic() < until:
        time.sleep(0.2)
    operator.restart()
    found = finished(kubectl, "own", seconds=120)
    assert found["status"]["state"] == "Completed", found["status"]
    lines = [f"line {i}" for i in range(300)]
    assert 0 < len(before.splitlines()) < len(lines), "it was kept as it was printed"
    assert operator.read(path).decode().splitlines() == lines


@pytest.mark.timeout(200)
def test_a_stopped_trial_that_ignores_sigterm_is_killed_after_its_grace(operator: Operator, kubectl: Kubectl) -> None:
    program = (
        "import signal, time, kubetune\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "for i in range(1000):\n    try:\n        kubetune.report(accuracy=1.0)\n    except SystemExit:\n        pass\n    time.sleep(0.2)\n"
    )
    wanted = body("stubborn", program, numSamples=1, scheduler={}, stop={"metrics": {"training_iteration": 3}})
    wanted["spec"]["trial"]["template"]["spec"]["terminationGracePeriodSeconds"] = 3
    with watched(kubectl, "stubborn") as made:
        kubectl.apply(wanted)
        found = finished(kubectl, "stubborn", seconds=120)
        gone(kubectl, "stubborn", seconds=30)
    assert made.codes == {"stubborn-00000-0": {137}}, "the kubelet had to kill it"
    assert condition(found, "Succeeded") == "True", found["status"]
    assert found["status"]["trials"]["succeeded"] == 1
