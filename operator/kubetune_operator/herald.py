"""What Kubernetes shows of an experiment: its status and its Events. What they say is made in `status`; here is when they go out.

One write a second for an experiment and five for the operator, changed conditions first; an API server that is away is waited
out, and what is written then is what is true then.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import itertools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubetune_operator.cluster.kubernetes import Api, ApiAway, ApiRefused
from kubetune_operator.core.records import Ended, Finished, Outcome, Record, Refused

logger = logging.getLogger(__name__)
EACH, ALL = 1.0, 0.2  # seconds between two writes, of one experiment and of all
RETRY = 5.0
MAX_NOTE = 1024  # characters of an Event
TROUBLES_PER_MINUTE = 10

Place = tuple[str, str]  # namespace, name
Render = Callable[[], Mapping[str, Any]]


@dataclass(slots=True)
class _Pending:
    """What is known of the status of one experiment."""

    render: Render | None = None  # makes what is to be written; None: nothing is
    written: Mapping[str, Any] = field(default_factory=dict)
    not_before: float = 0.0

    def again(self, render: Render | None) -> None:
        """Take back what could not be written, unless a newer one has come."""
        self.render = self.render or render


class Statuses:
    """The one writer of statuses."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._pending: dict[Place, _Pending] = {}
        self._woke = asyncio.Event()

    def offer(self, place: Place, render: Render) -> None:
        """Have this status written when it is its turn."""
        self._pending.setdefault(place, _Pending()).render = render
        self._woke.set()

    async def write(self, place: Place, status: Mapping[str, Any]) -> None:
        """Write these fields now. Raises ApiAway or ApiRefused."""
        await self._api.patch_status(*place, status)
        pending = self._pending.setdefault(place, _Pending())
        pending.written = {**pending.written, **status}

    def forget(self, place: Place) -> None:
        """Let go of an experiment that is no more."""
        self._pending.pop(place, None)

    async def run(self) -> None:
        """Write what is offered, for ever."""
        while True:
            due = self._due()
            if due is None:
                self._woke.clear()
                waits = [one.not_before for one in self._pending.values() if one.render]
                timeout = max(0.01, min(waits) - _now()) if waits else None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeout):  # wait_for loses a cancellation that comes with the bell
                        await self._woke.wait()
                continue
            await self._write(*due)
            await asyncio.sleep(ALL)

    def _due(self) -> tuple[Place, Mapping[str, Any]] | None:
        """Choose whose turn it is: changed conditions, then who has waited longest; what has not changed needs none."""
        now = _now()
        chosen: tuple[Place, Mapping[str, Any]] | None = None
        for place, pending in sorted(self._pending.items(), key=lambda item: item[1].not_before):
            if pending.render is None or pending.not_before > now:
                continue
            try:
                status = pending.render()
            except Exception:  # of one experiment: it is to hold up no other
                logger.exception("%s/%s: a fault of kubetune's: its status cannot be made", *place)
                pending.render = None
                continue
            if status == pending.written:
                pending.render = None
                continue
            if _words(status) != _words(pending.written):
                return place, status
            chosen = chosen or (place, status)
        return chosen

    async def _write(self, place: Place, status: Mapping[str, Any]) -> None:
        pending = self._pending[place]
        pending.render, render = None, pending.render
        pending.not_before = _now() + EACH
        try:
            await self._api.patch_status(*place, status)
            pending.written = status
        except ApiAway as away:
            logger.warning("%s/%s: its status was not written: %s", *place, away)
            pending.again(render)
            pending.not_before = _now() + RETRY
        except ApiRefused as refused:
            if refused.status != 404:  # deleted meanwhile
                logger.error("%s/%s: its status was refused: %s", *place, refused)  # noqa: TRY400 - no traceback helps
        except Exception:
            logger.exception("%s/%s: a fault of kubetune's: its status cannot be sent", *place)


def _now() -> float:
    """Tell the time as the event loop has it."""
    return asyncio.get_running_loop().time()


def _words(status: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    return [(one["type"], one["status"], one["reason"]) for one in status.get("conditions", ())]


class Events:
    """Kubernetes Events of one operator; what cannot be sent is logged and let go."""

    def __init__(self, api: Api, instance: str) -> None:
        """`instance` is the operator's own pod."""
        self._api = api
        self._instance = instance
        self._number = itertools.count()
        self._tasks: set[asyncio.Task[None]] = set()

    def emit(self, about: Mapping[str, Any], kind: str, reason: str, note: str) -> None:
        """Send one: `about` is the object's reference, `kind` Normal or Warning."""
        now = dt.datetime.now(dt.UTC)
        event = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{about['name']}.{time.time_ns():x}{next(self._number):x}", "namespace": about["namespace"]},
            "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": "kubetune.dev/operator",
            "reportingInstance": self._instance,
            "action": reason,
            "reason": reason,
            "regarding": about,
            "note": note[: MAX_NOTE - 1] + "…" if len(note) > MAX_NOTE else note,
            "type": kind,
        }
        task = asyncio.create_task(self._send(event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, event: Mapping[str, Any]) -> None:
        try:
            await self._api.emit(event["metadata"]["namespace"], event)
        except (ApiAway, ApiRefused) as error:
            logger.warning("event %s of %s was not sent: %s", event["reason"], event["regarding"]["name"], error)


class Herald:
    """Tells of one experiment, in the place where a terminal has its progress."""

    def __init__(self, events: Events, about: Mapping[str, Any], changed: Callable[[], None]) -> None:
        """`about` is the experiment's reference; `changed` is called when its status may be another."""
        self._events = events
        self._about = about
        self._changed = changed
        self._told: list[float] = []  # when
        self._refused: set[int] = set()  # trials

    def note(self, text: str) -> None:
        """Say what the user should know."""
        self.warn("Notice", text)

    def warn(self, reason: str, text: str) -> None:
        """Say what is wrong."""
        logger.warning("%s/%s: %s: %s", self._about["namespace"], self._about["name"], reason, text)
        self._events.emit(self._about, "Warning", reason, text)

    def trouble(self, reason: str, text: str) -> bool:
        """Say what is wrong, unless much was said in the last minute; say whether it was."""
        now = _now()
        self._told = [one for one in self._told if one > now - 60]
        if len(self._told) >= TROUBLES_PER_MINUTE:
            return False
        self._told.append(now)
        self.warn(reason, text)
        return True

    def say(self, reason: str, text: str) -> None:
        """Say what has happened."""
        logger.info("%s/%s: %s: %s", self._about["namespace"], self._about["name"], reason, text)
        self._events.emit(self._about, "Normal", reason, text)

    def refused(self, lines: Sequence[Refused]) -> None:
        """Say which report lines were refused: of each trial the first."""
        for line in lines:
            text = f"trial {line.trial}: line {line.number + 1} of its reports: {line.reason}"
            if line.trial not in self._refused and self.trouble("ReportRefused", text):
                self._refused.add(line.trial)

    def update(self, records: Sequence[Record]) -> None:
        """Take note of what was recorded."""
        for record in records:
            if isinstance(record, Ended) and record.outcome is Outcome.FAILED:
                self.trouble("TrialFailed", f"trial {record.trial}: {record.reason}: {record.message}")
            elif isinstance(record, Finished):
                self.say("ExperimentFinished", f"{record.reason}: {record.message}" if record.message else record.reason)
        self._changed()
