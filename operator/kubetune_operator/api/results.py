"""What is kept of a trial: `spec.logs`, `spec.results`, `spec.checkpoints`; and `spec.resumeFrom`, which takes it up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from kubetune_operator import quantities
from kubetune_operator.api.base import FILE, LABEL, QUANTITY, RULES, UID, ExperimentName, MetricName, Model, refuse
from kubetune_operator.errors import Problem

MOST_BYTES = 2**40
OURS = ("params.json", "result.json", "progress.csv", "error.txt", "checkpoints")  # what else stands in a trial's folder


def size(value: Any) -> int:
    """Give a size in bytes, which may be written as a quantity (64Mi). Raises ValueError."""
    return int(quantities.parse(value))


def _check_size(value: Any) -> Any:
    refuse(_size_problems(value))
    return value


def _size_problems(value: Any) -> Iterator[Problem]:
    written = isinstance(value, str) and re.fullmatch(QUANTITY, value) is not None
    counted = isinstance(value, int) and not isinstance(value, bool)
    sound = (written or counted) and 1 <= size(value) <= MOST_BYTES
    if not sound:
        yield Problem(
            "", "must be a number of bytes from 1 to 1024Gi", value, "write a whole number, with Ki, Mi or Gi if you like: 64Mi"
        )


Size = Annotated[
    Any,
    AfterValidator(_check_size),
    WithJsonSchema(
        {"x-kubernetes-int-or-string": True, "minimum": 1, "maximum": MOST_BYTES, "maxLength": 20, "pattern": QUANTITY},
    ),
]


def _check_files(files: list[str]) -> list[str]:
    refuse(_file_problems(files))
    return files


def _file_problems(files: list[str]) -> Iterator[Problem]:
    if len(set(files)) < len(files):
        yield Problem("", "must not name one file twice", files, "for one file of both streams write its name once")
    for index, name in enumerate(files):
        if name in OURS or name.startswith("events."):
            yield Problem(
                f"[{index}]", "must not be the name of another file of the trial", name, "rename it, to stdout for example"
            )


def _names(rule: str, message: str) -> dict[str, str]:
    return {"rule": rule, "message": message, "messageExpression": f"'{message}, got %s'.format([self])"}


_OTHER_NAMES = f"self.all(name, !(name in {list(OURS)}) && !name.startsWith('events.'))"


class Logs(Model):
    """What is kept of a trial's standard output and standard error."""

    files: Annotated[
        list[Annotated[str, Field(max_length=64, pattern=FILE)]],
        Field(
            max_length=2,
            json_schema_extra={
                "x-kubernetes-list-type": "atomic",
                RULES: [
                    _names("self.size() < 2 || self[0] != self[1]", "must not name one file twice"),
                    _names(_OTHER_NAMES, "must not be the name of another file of the trial"),
                ],
            },
        ),
        AfterValidator(_check_files),
    ] = Field(default=["stdout", "stderr"], description="two files, one for each; one file for both; or none")
    spool_bytes: Size = Field(
        default="64Mi", description="how much of each stream is held in the pod while the operator cannot be reached"
    )
    max_bytes_per_trial: Size = Field(default="256Mi", description="beyond this a trial's log files end with a line that says so")


class Results(Model):
    """Which files are written besides those that always are."""

    tensorboard: bool = Field(default=True, description="whether TensorBoard's event files are written")


class Checkpoints(Model):
    """Which checkpoints are kept."""

    keep: int = Field(default=1, ge=1, le=100, description="how many of the best are kept, besides the latest")
    metric: MetricName | None = Field(
        default=None, description="which reported value says how good one is. Default: the objective's"
    )
    mode: Literal["Maximize", "Minimize"] | None = Field(
        default=None, description="which way it is better. Default: the objective's"
    )
    store: Annotated[str, Field(max_length=63, pattern=LABEL)] | None = Field(
        default=None, description="a store that the administrator has defined. Default: the operator's volume"
    )


class ResumeFrom(Model):
    """The earlier experiment of this namespace whose trials are taken over."""

    experiment: ExperimentName = Field(description="its name: the newest earlier one is meant")
    uid: Annotated[str, Field(max_length=36, pattern=UID)] | None = Field(
        default=None, description="its uid, where several had the name"
    )
