"""One cluster for the whole suite, a namespace for each test, and the last line, which says what it all ran on."""

from __future__ import annotations

import itertools
import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e import audit
from tests.e2e.kubectl import Kubectl, Manifest, Refused
from tests.e2e.product import CHART, IMAGES, NAMESPACE, Figures, Operator, helm

KUBECONFIG = os.environ.get("KUBECONFIG")
MADE = os.environ.get("KUBETUNE_CLUSTER", "as KUBECONFIG has it")
LOAD = os.environ.get("KUBETUNE_CLUSTER_LOAD", "")  # a command that takes a docker-archive and brings its images to every node
POWER = os.environ.get("KUBETUNE_CLUSTER_NODE", "")  # a command that cuts a node's power ("off"), or gives it back ("on")
KEEP = os.environ.get("KUBETUNE_KEEP", "")  # set: kubetune stays installed, for whoever runs the suite again and again
ON = pytest.StashKey[str]()
FIGURES = pytest.StashKey[Figures]()
numbers = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    """Find out what cluster this is. Without one the suite fails: there is nothing here that could be skipped."""
    if not KUBECONFIG:
        raise pytest.UsageError("tests/e2e needs a cluster: `make e2e` brings one up, or set KUBECONFIG to one of yours")
    try:
        nodes = Kubectl().get("nodes")["items"]
    except (Refused, OSError, subprocess.TimeoutExpired) as error:
        raise pytest.UsageError(
            f"tests/e2e needs a cluster, and the one of KUBECONFIG={KUBECONFIG} does not answer: {error}"
        ) from None
    versions = " and ".join(sorted({node["status"]["nodeInfo"]["kubeletVersion"] for node in nodes}))
    config.stash[FIGURES] = Figures()
    config.stash[ON] = f"Kubernetes {versions}, {len(nodes)} node{'s' if len(nodes) > 1 else ''}, {MADE}"


def pytest_report_header(config: pytest.Config) -> str:
    """Say what the tests are about to run on."""
    return f"cluster: {config.stash[ON]}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was measured, how many tests ran, and on what."""
    for line in config.stash[FIGURES].lines:
        terminalreporter.write_line(line)
    ran = sum(len(terminalreporter.getreports(outcome)) for outcome in ("passed", "failed"))
    terminalreporter.write_sep("-", f"{ran} e2e tests ran on {config.stash[ON]}")


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Give what takes note of a figure to be printed at the end."""
    return request.config.stash[FIGURES]


@pytest.fixture
def kubectl() -> Iterator[Kubectl]:
    """Give kubectl in a namespace of the test's own, of which Pod Security asks the strictest."""
    with _namespace("restricted") as kubectl:
        yield kubectl


@pytest.fixture
def privileged() -> Iterator[Kubectl]:
    """Give kubectl in a namespace of the test's own, where a pod may do to its node what root may."""
    with _namespace("privileged") as kubectl:
        yield kubectl


@contextmanager
def _namespace(level: str) -> Iterator[Kubectl]:
    namespace = f"e2e-{os.getpid()}-{next(numbers)}"
    enforced = {"pod-security.kubernetes.io/enforce": level}
    Kubectl().apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": enforced}})
    yield Kubectl(namespace)
    Kubectl()("delete", "namespace", namespace, "--wait=false")


@pytest.fixture(scope="session")
def nodes() -> list[Manifest]:
    """Give the cluster's nodes."""
    items: list[Manifest] = Kubectl().get("nodes")["items"]
    return items


@pytest.fixture(scope="session")
def load_image() -> Callable[[Path], None]:
    """Give the function that brings the images of a docker-archive to every node: the one thing that depends on the cluster."""
    if not LOAD:
        pytest.fail("KUBETUNE_CLUSTER_LOAD is not set: set it to a command that brings a docker-archive's images to every node")

    def load(archive: Path) -> None:
        subprocess.run([*shlex.split(LOAD), str(archive)], check=True)

    return load


@pytest.fixture(scope="session")
def power() -> Callable[[str, str], None]:
    """Give the function that cuts a node's power ("off"), or gives it back ("on")."""
    if not POWER:
        pytest.fail('KUBETUNE_CLUSTER_NODE is not set: set it to a command that takes a node\'s name and "off" or "on"')

    def switch(node: str, state: str) -> None:
        subprocess.run([*shlex.split(POWER), node, state], check=True)

    return switch


@pytest.fixture(scope="session")
def operator(load_image: Callable[[Path], None], nodes: list[Manifest]) -> Iterator[Operator]:
    """Install kubetune with Helm, from images that were built from this very tree.

    At the end of all tests, whatever they were about: it has not crashed, and was refused nothing.
    """
    assert IMAGES, "KUBETUNE_IMAGES must name the docker-archives of the images: `make e2e` builds them"
    for archive in IMAGES.split():
        load_image(Path(archive))
    helm("upgrade", "--install", "kubetune", str(CHART), "--create-namespace", "--wait", "--timeout", "180s",
         "--set", "logFormat=text", "--set", "persistence.size=1Gi", "--set", "persistence.retain=false")  # fmt: skip
    operator = Operator(Kubectl(NAMESPACE))
    operator.meet()
    began = audit.now()
    yield operator
    operator.is_steady()
    refused = [entry for entry in audit.entries(Kubectl(), nodes, operator.user(), since=began) if audit.is_refused(entry)]
    assert not refused, f"the operator asks for what it has no right to: {refused[0]}"
    if not KEEP:
        helm("uninstall", "kubetune", "--wait")
