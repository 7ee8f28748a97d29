"""`spec.trial`: the pod of a trial, and how kubetune deals with it.

Of the template only what is relied on is declared here: the rest is the API server's business, which is asked by a dry run
before the first trial.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from kubetune_operator.api.base import LABEL, Model, one_of
from kubetune_operator.core.bounds import Rule

ContainerName = Annotated[str, Field(max_length=63, pattern=LABEL)]
YEAR = 31_536_000  # seconds


class Open(Model):
    """An object of Kubernetes: what is not declared here is taken as it is."""

    model_config = ConfigDict(extra="allow")


class Container(Open):
    """One container of the pod."""

    name: ContainerName = Field(description="the container's name")


class PodSpec(Open):
    """The spec of the pod."""

    containers: list[Container] = Field(
        min_length=1,
        max_length=20,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        description="the containers; ${params.NAME}, ${trial.name} and ${args} are filled in command, args and env values",
    )
    restart_policy: Literal["Never"] | None = Field(
        default=None, description="Never, or left out: a failed trial is a new attempt in a new pod"
    )


class Metadata(Open):
    """The metadata of the pod; its name is kubetune's to give."""

    labels: dict[str, Annotated[str, Field(max_length=63)]] | None = Field(
        default=None, max_length=64, description="labels of each pod"
    )
    annotations: dict[str, Annotated[str, Field(max_length=65536)]] | None = Field(
        default=None, max_length=64, description="annotations of each pod"
    )


class Template(Open):
    """A PodTemplateSpec."""

    metadata: Metadata | None = Field(default=None, description="labels and annotations of each pod")
    spec: PodSpec = Field(description="the pod's spec, as in a Job")


class Sdk(Model):
    """Reports come through $KUBETUNE_REPORTS, as kubetune.report() writes them."""


class Stdout(Model):
    """Reports are read from the program's standard output."""

    pattern: str = Field(min_length=1, max_length=512, description="a regular expression with the groups `name` and `value`")


class Collector(Model):
    """At most one way in which reports are collected; none is sdk."""

    sdk: Sdk | None = Field(
        default=None, description="through $KUBETUNE_REPORTS, as kubetune.report() writes them; this is the default"
    )
    stdout: Stdout | None = Field(default=None, description="from the lines of the program's standard output")

    RULES: ClassVar[tuple[Rule, ...]] = (one_of("sdk", "stdout"),)


def _names_a_container(trial: Trial) -> bool:
    return trial.container is None or any(each.name == trial.container for each in trial.template.spec.containers)


class Trial(Model):
    """The pod of a trial, and how it is dealt with."""

    container: ContainerName | None = Field(default=None, description="the container that runs the trial. Default: the only one")
    collector: Collector = Field(default=Collector(sdk=Sdk()), description="how reports are collected")
    retain_pods: Literal["None", "Failed", "All"] = Field(
        default="Failed", description="which ended trials keep their pod; the newest 20 of them"
    )
    flush_timeout_seconds: int = Field(
        default=60, ge=0, le=3600, description="how long an ended program waits until its last reports are saved"
    )
    start_deadline_seconds: int | None = Field(
        default=None,
        ge=1,
        le=YEAR,
        description="a trial whose pod has been there for this long, and whose program has not begun, has failed. Default: none",
    )
    progress_deadline_seconds: int | None = Field(
        default=None,
        ge=1,
        le=YEAR,
        description="a trial whose program has run for this long without a report has failed. Default: none",
    )
    template: Template = Field(description="the pod of a trial: a PodTemplateSpec")

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.container) || self.template.spec.containers.exists(c, c.name == self.container)",
            "must be the name of a container of the template",
            _names_a_container,
            "container",
            "write the name of one of template.spec.containers",
        ),
        Rule(
            "has(self.container) || size(self.template.spec.containers) == 1",
            "must say in `container` which of the containers runs the trial, as there are several",
            lambda trial: trial.container is not None or len(trial.template.spec.containers) == 1,
            remedy="add `container: NAME`",
        ),
    )
