"""The other side of the wire, written once more from wire.py and as plainly as can be: a threaded server that remembers lines.

It knows one attempt. What it is to do wrong is given to it as `troubles`, one for each request to come.
"""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kubetune import wire

TOKEN = "the-token-of-this-attempt"
Trouble = Callable[["Handler"], None]


class Attempt:
    """What one attempt has told."""

    def __init__(self) -> None:
        self.lines: list[str | dict[str, str]] = []
        self.refused: dict[int, str] = {}
        self.output = {"stdout": b"", "stderr": b""}
        self.twice = 0  # bytes of output that came again
        self.room: int | None = None  # bytes of each stream that are taken
        self.rewritten: list[int] = []  # numbers that came again with another content
        self.eof: dict[str, Any] | None = None
        self.hellos = 0
        self.greeted = False
        self.connections = 0
        self.gone = False
        self.impatient = False  # hangs up after each answer, without saying so
        self.stop_from: int | None = None  # this line and all after it are answered with stop
        self.troubles: deque[Trouble] = deque()
        self.largest = 0  # bytes of a request
        self.lock = threading.Lock()

    def hello(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert asked == {"wire": wire.VERSION}
        self.hellos += 1
        self.greeted = True
        return {"wire": wire.VERSION, "next": len(self.lines)}

    def reports(self, asked: dict[str, Any]) -> dict[str, Any]:
        first, lines = asked["first"], asked["lines"]
        assert first <= len(self.lines), f"a hole: {first} after {len(self.lines)}"
        refused = []
        for number, line in enumerate(lines, first):
            if number < len(self.lines):
                if digest(line) != digest(self.lines[number]):
                    self.rewritten.append(number)
                continue
            self.lines.append(line)
            if reason := complaint(line):
                self.refused[number] = reason
                refused.append([number, reason])
        stop = bool(self.rewritten) or (self.stop_from is not None and len(self.lines) > self.stop_from)
        return {"next": len(self.lines), "stop": stop, "reason": "enough of it" if stop else "", "refused": refused}

    def logs(self, stream: str, offset: int, data: bytes) -> dict[str, Any]:
        here = self.output[stream]
        if offset <= len(here):
            again = here[offset : offset + len(data)]
            assert data.startswith(again), f"{stream} at {offset} came again, and otherwise"
            self.twice += len(again)
            self.output[stream] = (here + data[len(again) :])[: self.room]
        full = self.room is not None and len(self.output[stream]) >= self.room
        return {"next": len(self.output[stream]), "closed": full}

    def end(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["next"] > len(self.lines):
            return {"next": len(self.lines), "closed": False}
        self.eof = asked
        return {"next": len(self.lines), "closed": True}

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Give the accepted lines, read as JSON."""
        return [
            json.loads(line) for number, line in enumerate(self.lines) if number not in self.refused and isinstance(line, str)
        ]


class Handler(BaseHTTPRequestHandler):
    """One connection of a sidecar."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are written one after the other
    server: Server

    def setup(self) -> None:
        super().setup()
        with self.server.attempt.lock:
            self.server.attempt.connections += 1
            self.server.open.add(self.connection)

    def finish(self) -> None:
        with self.server.attempt.lock:
            self.server.open.discard(self.connection)
        super().finish()

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        path = urlsplit(self.path)
        attempt = self.server.attempt
        assert length <= wire.MAX_BODY
        with attempt.lock:
            attempt.largest = max(attempt.largest, length)
            if attempt.troubles:
                attempt.troubles.popleft()(self)
            elif self.headers["Authorization"] != f"Bearer {TOKEN}":
                self.answer(401, {"error": "not the token"})
            elif attempt.gone:
                self.answer(410, {"error": "closed"})
            elif path.path != wire.HELLO and not attempt.greeted:
                self.answer(409, {"error": "say hello first"})
            elif path.path == wire.LOGS:
                asked = parse_qs(path.query)
                self.answer(200, attempt.logs(asked["stream"][0], int(asked["offset"][0]), body))
            else:
                verbs = {wire.HELLO: attempt.hello, wire.REPORTS: attempt.reports, wire.EOF: attempt.end}
                self.answer(200, verbs[path.path](json.loads(body)))

    def answer(self, status: int, body: object) -> None:
        self.say(status, json.dumps(body).encode())

    def say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.server.attempt.impatient

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as http.server has it
        pass


class Server(ThreadingHTTPServer):
    """The intake of one attempt, on a port of its own; it can be stopped and started again at the same place."""

    daemon_threads = True

    def __init__(self, attempt: Attempt, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.attempt = attempt
        self.open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), Handler)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.port = self.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Go away, and every connection with it."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self.attempt.lock:
            for connection in self.open:
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent where a sidecar or a trouble has cut the connection."""


def digest(line: str | dict[str, str]) -> str:
    return hashlib.sha256(line.encode()).hexdigest() if isinstance(line, str) else line["digest"]


def complaint(line: str | dict[str, str]) -> str:
    if not isinstance(line, str):
        return line["refused"]
    try:
        return "" if isinstance(json.loads(line), dict) else "not an object"
    except ValueError:
        return "not JSON"


def status(code: int) -> Trouble:
    return lambda handler: handler.answer(code, {"error": "trouble"})


def garbage(handler: Handler) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n\r\n\r\n")
    cut(handler)


def not_an_answer(body: bytes) -> Trouble:
    return lambda handler: handler.say(200, body)


def cut(handler: Handler) -> None:
    """Close the connection without a word."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def wait_until(true: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for what must come; a test that waits here for ever has failed."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.005)
