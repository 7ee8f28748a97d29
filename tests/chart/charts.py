"""The chart, rendered by a real Helm. What is right about it is for the tests to say."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import places, tools

CHART = places.REPOSITORY / "charts" / "kubetune"
NAMESPACE = "tuning"
CRD = "CustomResourceDefinition"

Manifest = dict[str, Any]
Values = Mapping[str, Any]


class Refused(Exception):
    """What Helm says when it does not render the chart."""


@dataclass(frozen=True, slots=True)
class Helm:
    """One of the Helms that the chart must work with."""

    program: str

    def __call__(self, *words: str, given: str = "") -> str:
        """Run it, without any cluster. Raises Refused with what it says."""
        command = [str(tools.folder() / self.program), *words]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            raise Refused(done.stderr + done.stdout)
        return done.stdout

    def text(self, values: Values | None = None, *words: str, release: str = "kubetune") -> str:
        """Render the chart."""
        return self(
            "template", release, str(CHART), "--namespace", NAMESPACE, "--values", "-", *words, given=json.dumps(values or {})
        )

    def render(self, values: Values | None = None, *words: str, release: str = "kubetune") -> list[Manifest]:
        """Give what the chart makes of these values."""
        return parsed(self.text(values, *words, release=release))

    def notes(self, values: Values | None = None) -> str:
        """Give what a user reads after installing. Only Helm 4 says so without a cluster."""
        said = self(
            "install",
            "kubetune",
            str(CHART),
            "-n",
            NAMESPACE,
            "--dry-run=client",
            "--values",
            "-",
            given=json.dumps(values or {}),
        )
        return said.partition("\nNOTES:\n")[2]


def parsed(text: str) -> list[Manifest]:
    """Give the manifests in what Helm renders."""
    return [each for each in yaml.load_all(text, yaml.CSafeLoader) if each is not None]


HELMS = (Helm("helm"), Helm("helm3"))


def of(manifests: Sequence[Manifest], kind: str) -> list[Manifest]:
    """Give those of one kind."""
    return [each for each in manifests if each["kind"] == kind]


def the(manifests: Sequence[Manifest], kind: str) -> Manifest:
    """Give the only one of a kind."""
    (found,) = of(manifests, kind)
    return found


def pods(manifests: Sequence[Manifest]) -> Iterator[Manifest]:
    """Give the spec of every pod that comes of these, those of hooks too."""
    yield from (each["spec"] for each in of(manifests, "Pod"))
    yield from (each["spec"]["template"]["spec"] for each in of(manifests, "Deployment"))


def operator(manifests: Sequence[Manifest]) -> Manifest:
    """Give the operator's container."""
    (container,) = the(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    return dict(container)


def environment(manifests: Sequence[Manifest]) -> dict[str, str]:
    """Give the operator's environment as its process has it."""
    found = operator(manifests)["env"]
    return {each["name"]: each.get("value", NAMESPACE) for each in found}  # the one that is a reference is the namespace


def settings() -> list[tuple[str, Values]]:
    """Give values that an administrator may have, by the name of what they are for. Between them they set every value."""
    file = Path(__file__).with_name("values.yaml")
    return list(yaml.safe_load(file.read_text()).items())
