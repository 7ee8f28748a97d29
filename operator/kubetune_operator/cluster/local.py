"""This machine as a cluster: an attempt is a folder, an agent process and the program it runs.

The agent (`kubetune.sidecar.agent`) is to us what kubelet and sidecar are in Kubernetes: it outlives this process, so that
an experiment whose runner was killed finds its trials again, still running. What an attempt's folder holds is said there.
A pod is seen from the moment its agent has claimed the folder; claiming is exclusive, so starting twice runs once.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kubetune import wire
from kubetune_operator.cluster import Wanted
from kubetune_operator.cluster.agents import LOG, Agent, Agents
from kubetune_operator.core.plan import Pod, PodPhase
from kubetune_operator.core.records import End
from kubetune_operator.core.space import nested
from kubetune_operator.core.standing import Key

TRIES = 3  # agents that may die in one folder before we give it up
LEAVING = 1.0  # seconds that an agent has to go by itself, once its attempt is closed
UNREADABLE = (OSError, ValueError, KeyError, TypeError)  # what reading a folder raises that is not as it was written
BOOT = Path("/proc/sys/kernel/random/boot_id")
POLL = 0.5  # seconds, where the kernel cannot tell us of a process's end


@dataclass(frozen=True, slots=True)
class Launch:
    """What an agent is to run; its fields are those of the folder's pod.json."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    stdout: str | None
    stderr: str | None
    grace: float
    flush: float


@dataclass(slots=True)
class _Seen:
    """What this process knows of one attempt's folder beside what is in it."""

    folder: Path
    uid: str
    agent: Agent | None = None  # ours; None for one that an earlier process started
    agents: int = 0  # how many we have started
    begun: float | None = None  # when its program began
    drained: bool = False  # one was started to ship what a dead one left
    deleting: bool = False
    forgotten: bool = False
    gpus: tuple[str, ...] = ()
    watched: set[int] = field(default_factory=set)


class Local:
    """Runs attempts as processes of this machine."""

    def __init__(
        self,
        folder: Path,
        launch: Callable[[Wanted], Launch],
        *,
        open_attempts: Collection[Key] = (),
        gpus: tuple[str, ...] = (),
        each: int = 0,
    ) -> None:
        """Find the open attempts that an earlier process left in `folder`; `each` of the `gpus` go to every attempt."""
        self.woke = asyncio.Event()
        self._folder = folder
        self._launch = launch
        self._gpus = gpus
        self._each = each
        self._room: int | None = None
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._agents = Agents(folder, self.woke)
        self._cleared: set[asyncio.Future[None]] = set()  # folders on their way out
        self._seen: dict[Key, _Seen] = {}
        self._tokens: dict[str, Key] = {}
        for key, path in _folders(folder):
            try:
                self._adopt(key, path).forgotten = key not in open_attempts
            except UNREADABLE:  # no file in it is synced: after a power cut this pod is one that is gone, whatever is left of it
                _discard(path)

    def allow(self, room: int | None) -> None:
        """Set how many attempts fit on this machine at once."""
        self._room = room

    def capacity(self) -> int | None:
        """Say how many attempts fit at once."""
        return self._room

    def serve_at(self, url: str) -> None:
        """Tell the agents, those of an earlier process too, where reports go now."""
        _write(self._folder / "endpoint.json", json.dumps({"url": url, "ca": None}))

    def attempt(self, token: str) -> tuple[Key, str] | None:
        """Say which attempt and which pod has this token."""
        key = self._tokens.get(_token_digest(token))
        return None if key is None else (key, self._seen[key].uid)

    async def observe(self) -> Mapping[Key, Pod]:
        """Look at every attempt's folder and agent."""
        pods: dict[Key, Pod] = {}
        for key, seen in list(self._seen.items()):
            if seen.forgotten:
                self._clear(key, seen)
            elif (pod := self._look(key, seen)) is not None:
                pods[key] = pod
        return pods

    async def create(self, wanted: Wanted) -> None:
        """Start an agent for this attempt, unless its folder is claimed or an agent is on its way."""
        key = (wanted.trial, wanted.attempt)
        seen = self._seen.get(key)
        if seen is None:
            path = self._folder / f"{wanted.trial}-{wanted.attempt}"
            self._prepare(key, path, wanted)
            seen = self._adopt(key, path)
        if (seen.folder / "claim").exists() or (seen.agent is not None and seen.agent.running):
            return
        if seen.agents < TRIES:
            self._start(seen)

    async def delete(self, key: Key) -> None:
        """Ask the agent to end its program."""
        seen = self._seen.get(key)
        if seen is None:
            return
        pid = _claimant(seen.folder)
        if pid is not None:  # else it is told as soon as it has come
            seen.deleting = True
            _signal(pid, signal.SIGTERM)

    async def forget(self, key: Key) -> None:
        """Remove the attempt's folder, once its agent is gone."""
        seen = self._seen.get(key)
        if seen is not None:
            seen.forgotten = True
            self._clear(key, seen)

    async def close(self) -> None:
        """Wait for the agents of closed attempts to go; nothing that they could still say would count."""
        until = time.monotonic() + LEAVING
        while leaving := [seen for seen in self._seen.values() if seen.forgotten]:
            if time.monotonic() > until:
                for pid in filter(None, (_claimant(seen.folder) for seen in leaving)):
                    _signal(pid, signal.SIGKILL)
            await self.observe()
            await asyncio.sleep(0.01)
        self._agents.close()
        await asyncio.gather(*self._cleared)

    def kill(self) -> None:
        """Kill every program now; its agent lives on to say so."""
        for seen in self._seen.values():
            status = _status(seen.folder)
            if _claimant(seen.folder) is not None and status.get("state") == "running":
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(int(status["pid"]), signal.SIGKILL)

    def _prepare(self, key: Key, path: Path, wanted: Wanted) -> None:
        launch = self._launch(wanted)
        env = {**launch.env, wire.ENV_REPORTS: str(path / "reports.jsonl"), wire.ENV_PARAMS_FILE: str(path / "params.json")}
        gpus = self._free_gpus()
        if self._each:
            env["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        path.mkdir(mode=0o700, exist_ok=True)
        _write(path / "params.json", json.dumps(nested(wanted.params), ensure_ascii=False))
        _write(path / "token", secrets.token_urlsafe(32))
        pod = asdict(launch) | {
            "env": env,
            "endpoint": str(self._folder / "endpoint.json"),
            "uid": secrets.token_hex(8),
            "gpus": gpus,
            "boot": _boot(),
        }
        _write(path / "pod.json", json.dumps(pod))  # last: a folder without it counts for nothing

    def _adopt(self, key: Key, path: Path) -> _Seen:
        pod = json.loads((path / "pod.json").read_text(encoding="utf-8"))
        if pod["boot"] != _boot():
            raise ValueError(f"{path}: the machine has been started anew since; its reports may never have reached the disk")
        seen = _Seen(path, str(pod["uid"]), gpus=tuple(pod["gpus"]))
        token = (path / "token").read_text(encoding="utf-8")
        if not token:
            raise ValueError(f"{path / 'token'}: must hold a token, got nothing")
        self._seen[key] = seen
        self._tokens[_token_digest(token)] = key
        return seen

    def _start(self, seen: _Seen, *, drain: bool = False) -> None:
        seen.agents += 1
        seen.agent = self._agents.start(seen.folder, drain=drain)

    def _look(self, key: Key, seen: _Seen) -> Pod | None:
        if not (seen.folder / "claim").exists():
            if seen.agents >= TRIES and seen.agent is not None and not seen.agent.running:
                end = End(error=f"AgentFailed: {_tail(seen.folder / 'agent.log') or _tail(self._folder / LOG)}")
                return Pod(seen.uid, PodPhase.ENDED, seen.deleting, end)
            return None
        pid = _claimant(seen.folder)
        if pid is not None:
            if seen.agent is None:
                self._watch(pid, seen)
            if seen.begun is None:
                seen.begun = _status(seen.folder).get("started")
            return Pod(seen.uid, PodPhase.RUNNING, seen.deleting, begun=seen.begun)
        if seen.agent is not None and seen.agent.running:
            return Pod(seen.uid, PodPhase.RUNNING, seen.deleting)  # it is just taking its place, or just leaving it
        found = _end(seen.folder)
        if not seen.drained and (found is None or seen.agent is None or seen.agent.code != 0):
            seen.drained = True  # what the dead one has not shipped is in its folder still
            self._start(seen, drain=True)
            return Pod(seen.uid, PodPhase.RUNNING, seen.deleting)
        return Pod(seen.uid, PodPhase.ENDED, seen.deleting, found or End(error=wire.LOST))

    def _free_gpus(self) -> tuple[str, ...]:
        taken = {gpu for seen in self._seen.values() if not seen.forgotten for gpu in seen.gpus}
        return tuple(gpu for gpu in self._gpus if gpu not in taken)[: self._each]

    def _watch(self, pid: int, seen: _Seen) -> None:
        """Wake when this process ends, whoever started it."""
        if pid in seen.watched:
            return
        seen.watched.add(pid)
        loop = asyncio.get_running_loop()
        try:
            descriptor = os.pidfd_open(pid)
        except (AttributeError, OSError):
            loop.call_later(POLL, self._again, pid, seen)
            return

        def ended() -> None:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            self.woke.set()

        loop.add_reader(descriptor, ended)

    def _again(self, pid: int, seen: _Seen) -> None:
        seen.watched.discard(pid)
        self.woke.set()

    def _clear(self, key: Key, seen: _Seen) -> None:
        if seen.agent is not None and seen.agent.running:
            return
        if _claimant(seen.folder) is not None:
            return
        del self._seen[key]
        self._tokens = {digest: owner for digest, owner in self._tokens.items() if owner != key}
        # In a thread: on some disks each file takes a millisecond.
        gone = asyncio.ensure_future(asyncio.to_thread(_remove, seen.folder))
        self._cleared.add(gone)
        gone.add_done_callback(self._cleared.discard)


def _boot() -> str:
    """Say which of the machine's starts this is; nothing where it does not tell."""
    try:
        return BOOT.read_text(encoding="ascii")
    except OSError:
        return ""


def _remove(path: Path) -> None:
    (path / "pod.json").unlink(missing_ok=True)  # first: half a folder counts for nothing
    shutil.rmtree(path, ignore_errors=True)


def _discard(path: Path) -> None:
    """Remove a folder that cannot be read; should an agent live in it all the same, it is to end its program and go."""
    pid = _claimant(path)
    if pid is not None:
        _signal(pid, signal.SIGTERM)
    _remove(path)


def _folders(folder: Path) -> Iterator[tuple[Key, Path]]:
    for path in list(folder.iterdir()):
        trial, _, attempt = path.name.partition("-")
        if trial.isdigit() and attempt.isdigit():
            yield (int(trial), int(attempt)), path


def _claimant(folder: Path) -> int | None:
    """Give the pid of the agent that lives in this folder; None when it has none (any more)."""
    try:
        with (folder / "claim").open("rb") as claim:
            try:
                fcntl.flock(claim, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(claim.read().split()[0])
    except (FileNotFoundError, ValueError, IndexError):
        pass
    return None


def _status(folder: Path) -> Mapping[str, Any]:
    try:
        status = json.loads((folder / "status.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return status if isinstance(status, dict) else {}


def _end(folder: Path) -> End | None:
    status = _status(folder)
    if status.get("state") != "ended":
        return None
    return End(
        exit_code=status.get("exit_code"),
        signal=status.get("signal"),
        terminated=bool(status.get("terminated")),
        killed=bool(status.get("killed")),
        error=status.get("error"),
        tail=str(status.get("tail") or ""),
    )


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _token_digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _write(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.tmp")
    descriptor = os.open(beside, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:  # half a surrogate: its JSON escape
        file.write(text)
    beside.replace(path)


def _tail(path: Path, limit: int = 400) -> str:
    try:
        return path.read_bytes()[-limit:].decode(errors="replace").strip()
    except FileNotFoundError:
        return ""
