"""The status of a TuneExperiment, as its schema has it: bounded whatever the number of trials. Filling it in is not done here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from kubetune_operator.api.base import UID, MetricName, Model

Time = Annotated[str, Field(json_schema_extra={"format": "date-time", "maxLength": 64})]
Count = Annotated[int, Field(ge=0, le=1_000_000)]
TrialName = Annotated[str, Field(max_length=63)]
MAX_VALUE, MAX_METRICS, MAX_MESSAGE, MAX_ACCOUNT = 64, 64, 32768, 256
Value = Annotated[str, Field(max_length=MAX_VALUE)]
_BY_TYPE: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
_BY_NAME: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}


class Condition(Model):
    """A metav1.Condition."""

    type: str = Field(
        max_length=316,
        pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
        description="which condition: Finished, Succeeded, Suspended or Stalled",
    )
    status: Literal["True", "False", "Unknown"] = Field(description="whether it holds")
    reason: str = Field(
        min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$", description="why, in one word"
    )
    message: str = Field(max_length=MAX_MESSAGE, description="why, in a sentence, and what to do")
    last_transition_time: Time = Field(description="when the status last changed")
    observed_generation: int | None = Field(
        default=None, ge=0, le=9_000_000_000_000_000, description="the generation of the spec that it speaks of"
    )


class Trials(Model):
    """How many trials there are, by what has become of them."""

    total: Count = Field(default=0, description="trials that there are to be")
    started: Count = Field(default=0, description="trials that have been started, ended ones included")
    waiting: Count = Field(
        default=0, description="trials that wait for their next attempt, or for the API server to take their pod"
    )
    running: Count = Field(default=0, description="trials that have an attempt, whether its pod runs already or not")
    succeeded: Count = Field(default=0, description="trials that had their whole budget")
    stopped: Count = Field(default=0, description="trials that were stopped early")
    failed: Count = Field(default=0, description="trials that failed")
    cancelled: Count = Field(default=0, description="trials that the end of the experiment has ended")
    skipped: Count = Field(default=0, description="draws from the search space that met no constraint and gave no trial")


class TrialSummary(Model):
    """One trial, in short."""

    name: TrialName = Field(description="the trial's name")
    state: str | None = Field(default=None, max_length=32, description="what has become of it, in one word")
    value: Value | None = Field(default=None, description="its objective; a string, so that no digit is lost")
    step: Value | None = Field(default=None, description="the time at which it had that value")
    complete: bool | None = Field(default=None, description="whether it ran to its end rather than being stopped early")
    params: dict[str, Any] | None = Field(default=None, max_length=100, description="its parameters, by name")
    metrics: dict[MetricName, Value] | None = Field(
        default=None, max_length=MAX_METRICS, description="its other reported values, as strings"
    )


class EndedTrial(Model):
    """Why one trial ended."""

    name: TrialName = Field(description="the trial's name")
    state: str = Field(max_length=32, description="how it ended, in one word: Succeeded, Stopped, Failed or Cancelled")
    reason: str = Field(max_length=64, description="why, in one word, such as Completed, Asha or ExitCode")
    message: str | None = Field(
        default=None, max_length=MAX_ACCOUNT, description="why, in a sentence, where there is more to say"
    )


class Journal(Model):
    """Where the truth about the experiment is."""

    uid: Annotated[str, Field(max_length=36, pattern=UID)] = Field(description="the uid of the experiment that the journal is of")
    volume_id: str = Field(
        max_length=64,
        alias="volumeID",
        pattern="^[A-Za-z0-9-]+$",
        description="the random id of the operator's volume that has it",
    )


class Status(Model):
    """What has become of the experiment; written by the operator alone."""

    observed_generation: int = Field(
        default=-1, ge=-1, le=9_000_000_000_000_000, description="the generation of the spec that the status speaks of"
    )
    conditions: list[Condition] = Field(
        default=[],
        max_length=16,
        json_schema_extra=_BY_TYPE,
        description="Finished (its reason is the state in one word), Succeeded, Suspended, Stalled",
    )
    state: str | None = Field(
        default=None, max_length=64, description="the reason of Finished, for display and field selectors only"
    )
    progress: str | None = Field(default=None, max_length=32, description="ended trials of all, such as 12/50")
    algorithm: str | None = Field(default=None, max_length=64, description="searcher and scheduler, such as random + asha")
    grid_size: Count | None = Field(default=None, description="the cells of the grid; 1 without one")
    trials: Trials | None = Field(default=None, description="how many trials there are, by what has become of them")
    best_trial: TrialSummary | None = Field(default=None, description="the best trial so far")
    top_trials: list[TrialSummary] | None = Field(
        default=None, max_length=10, json_schema_extra=_BY_NAME, description="the best trials, best first"
    )
    last_trials: list[EndedTrial] | None = Field(
        default=None, max_length=10, json_schema_extra=_BY_NAME, description="the trials that ended last, the latest first"
    )
    start_time: Time | None = Field(default=None, description="when the experiment was taken up")
    last_report_time: Time | None = Field(default=None, description="when a trial last reported")
    finish_time: Time | None = Field(default=None, description="when it finished")
    journal: Journal | None = Field(default=None, description="where the truth about it is")
    selector: str | None = Field(
        default=None, max_length=256, description="the label selector of its pods, for the scale subresource"
    )
