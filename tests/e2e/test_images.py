"""Images of strangers run as trials, and programs of every kind: the launcher is all that they get of us."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.experiments import body, finished
from tests.e2e.kubectl import Kubectl
from tests.e2e.product import ROOT, Operator, condition


def test_the_quickstart_runs_unchanged(operator: Operator, kubectl: Kubectl) -> None:
    kubectl("apply", "--filename", str(ROOT / "examples/quickstart.yaml"))
    found = finished(kubectl, "quickstart", seconds=180)
    assert found["status"]["state"] == "Completed"
    assert found["status"]["progress"] == "12/12"
    assert float(found["status"]["bestTrial"]["value"]) < 0.3


def run(kubectl: Kubectl, name: str, container: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """Run two trials of a container to their end."""
    wanted = body(name, "", numSamples=2, scheduler={}, **spec)
    wanted["spec"]["trial"]["template"]["spec"]["containers"] = [{"name": "trial", **container}]
    kubectl.apply(wanted)
    return finished(kubectl, name, seconds=150)


def test_a_shell_is_enough(operator: Operator, kubectl: Kubectl) -> None:
    script = 'for i in 1 2 3; do echo "{\\"accuracy\\": 0.$i, \\"i\\": $i}" >> "$KUBETUNE_REPORTS"; done'
    found = run(kubectl, "shell", {"image": "python:3.13-slim", "command": ["sh", "-c", script]})
    assert found["status"]["state"] == "Completed", found["status"]
    rows = operator.rows(f"{kubectl.namespace}/shell/shell-00000/result.json")
    assert [row["i"] for row in rows] == [1, 2, 3]


def test_argv_arrives_byte_for_byte(operator: Operator, kubectl: Kubectl) -> None:
    words = ["two words", "\"'", "$$(HOME) $HOME", "a\nb", "", "ü"]
    program = "import json, sys, kubetune; print(json.dumps(sys.argv[1:])); kubetune.report(accuracy=1)"
    found = run(kubectl, "argv", {"image": "python:3.13-slim", "command": ["python", "-c", program, *words]})
    assert found["status"]["state"] == "Completed", found["status"]
    import json  # noqa: PLC0415 - beside its use

    said = json.loads(operator.read(f"{kubectl.namespace}/argv/argv-00000/stdout").decode())
    assert said == [word.replace("$$", "$") for word in words]


def test_another_user_and_a_read_only_root(operator: Operator, kubectl: Kubectl) -> None:
    program = "import os, kubetune; print(os.getuid()); kubetune.report(accuracy=1)"
    security = {"runAsUser": 12345, "readOnlyRootFilesystem": True}
    container = {"image": "python:3.13-slim", "command": ["python", "-c", program], "securityContext": security}
    found = run(kubectl, "another", container)
    assert found["status"]["state"] == "Completed", found["status"]
    assert operator.read(f"{kubectl.namespace}/another/another-00000/stdout").decode() == "12345\n"


def test_a_static_program_without_a_shell_that_never_reports(
    operator: Operator, kubectl: Kubectl, load_image: Callable[[Path], None], tmp_path: Path
) -> None:
    from tests.e2e import images  # noqa: PLC0415 - beside its use

    architecture = kubectl.get("nodes")["items"][0]["status"]["nodeInfo"]["architecture"]
    images.exits(tmp_path / "exits.tar", "docker.io/library/exits:7", code=7, architecture=architecture)
    load_image(tmp_path / "exits.tar")
    found = run(kubectl, "static", {"image": "exits:7", "command": ["/exits"], "imagePullPolicy": "Never"})
    assert found["status"]["state"] == "ExitCode", found["status"]
    assert "exit code 7" in operator.read(f"{kubectl.namespace}/static/static-00000/error.txt").decode()
    found = run(kubectl, "entrypoint", {"image": "exits:7", "imagePullPolicy": "Never"})
    assert found["status"]["state"] == "ExitCode", found["status"]
    assert "exit code 7" in operator.read(f"{kubectl.namespace}/entrypoint/entrypoint-00000/error.txt").decode()


@pytest.mark.timeout(200)
def test_a_stopped_trial_that_ignores_sigterm_is_killed_after_its_grace(operator: Operator, kubectl: Kubectl) -> None:
    program = (
        "import signal, time, kubetune\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "for i in range(1000):\n    try:\n        kubetune.report(accuracy=1.0)\n    except SystemExit:\n        pass\n    time.sleep(0.2)\n"
    )
    wanted = body("stubborn", program, numSamples=1, scheduler={}, stop={"metrics": {"training_iteration": 3}})
    wanted["spec"]["trial"]["template"]["spec"]["terminationGracePeriodSeconds"] = 3
    kubectl.apply(wanted)
    found = finished(kubectl, "stubborn", seconds=120)
    assert condition(found, "Succeeded") == "True", found["status"]
    assert found["status"]["trials"]["succeeded"] == 1
