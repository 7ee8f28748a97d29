"""The HTTP server to which sidecars bring reports. The wire is said in `kubetune.wire`; what a line means is not known here.

Whose lines they are follows from the bearer token, through `Identity`; what becomes of them is the experiment's business.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeGuard

from aiohttp import web

from kubetune.wire import EOF, HELLO, MAX_BODY, REPORTS, VERSION
from kubetune_operator.core.history import Key
from kubetune_operator.core.records import End
from kubetune_operator.errors import AttemptClosed, JournalError
from kubetune_operator.experiment import Experiment, Line

logger = logging.getLogger(__name__)
MAX_TAIL = 4096  # characters of a failed program's last words
Identity = Callable[[str], tuple[Experiment, Key, str] | None]  # token -> experiment, attempt, pod uid


class _Handler(Protocol):
    async def __call__(self, experiment: Experiment, key: Key, uid: str, body: Mapping[str, Any], /) -> Mapping[str, Any]: ...


class Malformed(Exception):
    """A body that is not what the wire says; the sender is at fault and told so (400)."""


class Intake:
    """Serves the wire for as long as it is open."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._runner: web.AppRunner | None = None

    async def open(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen; give the URL under which sidecars reach us. `port` 0 takes any that is free."""
        app = web.Application(client_max_size=MAX_BODY + 1024)
        app.router.add_post(HELLO, self._route(_hello))
        app.router.add_post(REPORTS, self._route(_reports))
        app.router.add_post(EOF, self._route(_eof))
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, backlog=1024)
        await site.start()
        return f"http://{host}:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        """Stop listening."""
        if self._runner:
            await self._runner.cleanup()

    def _route(self, handler: _Handler) -> Callable[[web.Request], Any]:
        async def serve(request: web.Request) -> web.Response:
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            found = self._identity(token.strip()) if scheme.lower() == "bearer" else None
            if found is None:
                return _refusal(401, "not a token of an attempt that is known here")
            try:
                return web.json_response(await handler(*found, await _body(request)))
            except AttemptClosed as error:
                return _refusal(410, str(error))
            except Malformed as error:
                return _refusal(400, str(error))
            except OSError as error:  # no space: nothing was taken, and the sender will come again
                return _refusal(507, str(error))
            except JournalError as error:
                return _refusal(503, str(error))

        return serve


async def _hello(experiment: Experiment, key: Key, uid: str, body: Mapping[str, Any], /) -> Mapping[str, Any]:
    if body.get("wire") != VERSION:
        raise Malformed(f"wire version must be {VERSION}, got {body.get('wire')!r}")
    return {"wire": VERSION, "next": await experiment.hello(key, uid)}


async def _reports(experiment: Experiment, key: Key, _uid: str, body: Mapping[str, Any], /) -> Mapping[str, Any]:
    first, lines = body.get("first"), body.get("lines")
    if not _count(first) or not isinstance(lines, list) or not all(map(_is_line, lines)):
        raise Malformed('must be {"first": N, "lines": [LINE, ...]}')
    answer = await experiment.report(key, first, lines)
    return {"next": answer.next, "stop": answer.stop, "reason": answer.reason, "refused": answer.refused}


async def _eof(experiment: Experiment, key: Key, _uid: str, body: Mapping[str, Any], /) -> Mapping[str, Any]:
    if not _count(body.get("next")):
        raise Malformed('must be {"next": N, ...}')
    end = End(
        exit_code=_one(body, "exit_code", int),
        signal=_one(body, "signal", int),
        terminated=bool(body.get("terminated")),
        killed=bool(body.get("killed")),
        error=_one(body, "error", str),
        tail=(_one(body, "tail", str) or "")[-MAX_TAIL:],
    )
    wanted, closed = await experiment.drained(key, body["next"], end)
    return {"next": wanted, "closed": closed}


async def _body(request: web.Request) -> Mapping[str, Any]:
    try:
        body = json.loads(await request.read())
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


def _one(body: Mapping[str, Any], name: str, kind: type) -> Any:
    value = body.get(name)
    if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
        raise Malformed(f"{name} must be {kind.__name__} or null, got {value!r}")
    return value


def _refusal(status: int, why: str) -> web.Response:
    if status != 410:  # a late word of a closed attempt is ordinary
        logger.warning("answered %d: %s", status, why)
    return web.json_response({"error": why}, status=status)
