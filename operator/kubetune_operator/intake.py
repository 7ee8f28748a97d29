"""The HTTP server to which sidecars bring reports. The wire is said in `kubetune.wire`; what a line means is not known here.

Whose lines they are follows from the bearer token, through `Identity`; what becomes of them is the experiment's business.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeGuard

from aiohttp import web

from kubetune.wire import EOF, GONE, HELLO, HELLO_FIRST, LOGS, MAX_BODY, REPORTS, VERSION
from kubetune_operator.core.records import End
from kubetune_operator.core.standing import Key
from kubetune_operator.errors import AttemptClosed, AttemptUnbound, Forbidden, JournalError, Unauthenticated, Unavailable
from kubetune_operator.experiment import Experiment, Line

logger = logging.getLogger(__name__)
MAX_TAIL = 4096  # characters of a failed program's last words
MAX_DIGITS = 18  # of an offset
MAX_CODE = 2**31  # no exit code and no signal comes near it
PATIENCE = 15.0  # seconds for a body to arrive; a sidecar waits no longer for its answer

# A token -> its experiment, attempt and pod uid. Raises Unauthenticated, Forbidden, AttemptClosed or Unavailable.
Identity = Callable[[str], Awaitable[tuple[Experiment, Key, str]]]


# An experiment's attempt, stream, offset and bytes -> the offset wanted next, and whether no more of it is. Raises OSError.
Keep = Callable[[Experiment, Key, str, int, bytes], Awaitable[tuple[int, bool]]]
NO_SPACE = 507
STREAMS = ("stdout", "stderr")
SILENCE = 60.0  # seconds after a refusal was logged until another of its status is: who sends them must not fill the log


class _Handler(Protocol):
    async def __call__(self, experiment: Experiment, key: Key, uid: str, body: Mapping[str, Any], /) -> Mapping[str, Any]: ...


class Malformed(Exception):
    """A body that is not what the wire says; the sender is at fault and told so (400)."""


class Late(Exception):
    """A body that did not arrive in time (408)."""


STATUSES: Mapping[type[Exception], int] = {
    Malformed: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    Late: 408,
    AttemptUnbound: HELLO_FIRST,
    AttemptClosed: GONE,
    JournalError: 503,
    Unavailable: 503,
    OSError: NO_SPACE,  # nothing was taken, and the sender will come again
}


class Intake:
    """Serves the wire for as long as it is open."""

    def __init__(self, identity: Identity, patience: float = PATIENCE, keep: Keep | None = None) -> None:
        """`keep` takes a trial's output; None where it does not come this way."""
        self._identity = identity
        self._keep = keep
        self._patience = patience
        self._full: set[str] = set()  # paths whose latest request found no space
        self._refusals = Refusals()
        self._runner: web.AppRunner | None = None

    async def open(self, host: str = "127.0.0.1", port: int = 0, ssl_context: ssl.SSLContext | None = None) -> str:
        """Listen; give the URL under which this machine reaches us. `host` "" is every address, `port` 0 any that is free."""
        app = web.Application(client_max_size=MAX_BODY + 1024)
        app.router.add_post(HELLO, self._route(_hello))
        app.router.add_post(REPORTS, self._route(_reports))
        app.router.add_post(EOF, self._route(_eof))
        if self._keep is not None:
            app.router.add_post(LOGS, self._logs(self._keep))
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, backlog=1024, ssl_context=ssl_context)
        await site.start()
        return f"{'https' if ssl_context else 'http'}://{host or 'localhost'}:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        """Stop listening."""
        if self._runner:
            await self._runner.cleanup()

    def _route(self, handler: _Handler) -> Callable[[web.Request], Any]:
        async def serve(request: web.Request) -> web.Response:
            try:
                found = await self._identity(_token(request))
                return self._answer(request, await handler(*found, await self._body(request)))
            except tuple(STATUSES) as error:
                return self._refusal(request, error)

        return serve

    def _logs(self, keep: Keep) -> Callable[[web.Request], Any]:
        async def serve(request: web.Request) -> web.Response:
            try:
                experiment, key, uid = await self._identity(_token(request))
                experiment.require(key, uid)
                stream, offset = request.query.get("stream", ""), request.query.get("offset", "")
                if stream not in STREAMS or not (offset.isascii() and offset.isdigit() and len(offset) <= MAX_DIGITS):
                    raise Malformed("must be ?stream=stdout or stderr&offset=N")
                wanted, full = await keep(experiment, key, stream, int(offset), await self._bytes(request))
                return self._answer(request, {"next": wanted, "closed": full})
            except tuple(STATUSES) as error:
                return self._refusal(request, error)

        return serve

    def _answer(self, request: web.Request, body: Mapping[str, Any]) -> web.Response:
        self._full.discard(request.path)
        return web.json_response(body)

    def _refusal(self, request: web.Request, error: Exception) -> web.Response:
        status = next(status for kind, status in STATUSES.items() if isinstance(error, kind))
        if status == NO_SPACE:
            if request.path not in self._full:
                logger.warning("answered %d: %s", status, error)
            self._full.add(request.path)
        elif status != GONE:  # a late word of a closed attempt is ordinary
            self._refusals.log(status, str(error), asyncio.get_running_loop().time())
        return web.json_response({"error": str(error)}, status=status)

    async def _bytes(self, request: web.Request) -> bytes:
        try:
            async with asyncio.timeout(self._patience):
                return await request.read()
        except TimeoutError as error:
            raise Late(f"the body must arrive within {self._patience:.0f} s") from error

    async def _body(self, request: web.Request) -> Mapping[str, Any]:
        return _read(await self._bytes(request))


class Refusals:
    """Logs of each status one refusal in a while, and with the next one how many were passed over."""

    def __init__(self) -> None:
        self._due: dict[int, float] = {}
        self._passed: Counter[int] = Counter()

    def log(self, status: int, why: str, now: float) -> None:
        """Log a refusal, unless one of this status was logged just now."""
        if now < self._due.get(status, now):
            self._passed[status] += 1
            return
        self._due[status] = now + SILENCE
        passed = self._passed.pop(status, 0)
        logger.warning("answered %d: %s%s", status, why, f" ({passed} more like it since the last one said)" if passed else "")


async def _hello(experiment: Experiment, key: Key, uid: str, body: Mapping[str, Any], /) -> Mapping[str, Any]:
    if body.get("wire") != VERSION:
        raise Malformed(f"wire version must be {VERSION}, got {body.get('wire')!r}")
    return {"wire": VERSION, "next": await experiment.hello(key, uid)}


async def _reports(experiment: Experiment, key: Key, uid: str, body: Mapping[str, Any], /) -> Mapping[str, Any]:
    first, lines = body.get("first"), body.get("lines")
    if not _count(first) or not isinstance(lines, list) or not all(map(_is_line, lines)):
        raise Malformed('must be {"first": N, "lines": [LINE, ...]}')
    answer = await experiment.report(key, uid, first, lines)
    return {"next": answer.next, "stop": answer.stop, "reason": answer.reason, "refused": answer.refused}


async def _eof(experiment: Experiment, key: Key, uid: str, body: Mapping[str, Any], /) -> Mapping[str, Any]:
    if not _count(body.get("next")):
        raise Malformed('must be {"next": N, ...}')
    end = End(
        exit_code=_one(body, "exit_code", int),
        signal=_one(body, "signal", int),
        terminated=bool(body.get("terminated")),
        killed=bool(body.get("killed")),
        error=_words(_one(body, "error", str))[:MAX_TAIL] or None,
        oom=bool(body.get("oom")),
        tail=_words(_one(body, "tail", str))[-MAX_TAIL:],
    )
    wanted, closed = await experiment.drained(key, uid, body["next"], end)
    return {"next": wanted, "closed": closed}


def _token(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("a request must say who speaks: Authorization: Bearer TOKEN")
    return token.strip()


def _read(data: bytes) -> Mapping[str, Any]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise Malformed("the body must be a JSON object")
    return body


def _count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_line(line: Line | Any) -> bool:
    if isinstance(line, str):
        return True
    return isinstance(line, dict) and all(isinstance(line.get(name), str) for name in ("refused", "digest"))


def _words(text: str | None) -> str:
    """Give text that UTF-8 can hold, as status and Events must: JSON has an escape for half a surrogate pair."""
    return (text or "").encode("utf-8", "replace").decode()


def _one(body: Mapping[str, Any], name: str, kind: type) -> Any:
    value = body.get(name)
    if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
        raise Malformed(f"{name} must be {kind.__name__} or null, got {value!r}")
    if isinstance(value, int) and abs(value) >= MAX_CODE:
        raise Malformed(f"{name} must be less than {MAX_CODE}")
    return value
