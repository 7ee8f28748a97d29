"""One keep-alive HTTP/1.1 connection, written by hand: http.client would be a fifth of the sidecar's memory.

Nothing blocks but the look-up of a name. When to ask, and what to do about an error, is not decided here.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Generator

from kubetune.sidecar.waiting import Patience, Wait

_MAX_HEAD = 16 * 1024
_MAX_ANSWER = 1024 * 1024
_PIECE = 64 * 1024


class Endpoint:
    """Where the intake listens."""

    __slots__ = ("authority", "ca", "host", "port", "tls")

    def __init__(self, url: str, ca: str | None) -> None:
        scheme, _, rest = url.partition("://")
        self.authority = rest.rstrip("/")
        host, _, port = self.authority.rpartition(":")
        if scheme not in ("http", "https") or not host or not port.isdigit() or int(port) > 65535 or "/" in host:
            raise ValueError(f"the intake's address must be http(s)://HOST:PORT, got {url!r}")
        self.tls = scheme == "https"
        self.host = host.strip("[]")
        self.port = int(port)
        self.ca = ca  # a PEM, or a file of it; None: what the system trusts


class Connection:
    """A connection and what was read from it. Once `usable` is false, or after any error, it can only be closed."""

    def __init__(self, connected: socket.socket, authority: str, patience: Patience) -> None:
        self.usable = True
        self._socket = connected
        self._patience = patience
        self._authority = authority
        self._buffer = b""

    def close(self) -> None:
        """Let go of the connection."""
        self.usable = False
        self._socket.close()

    def post(self, path: str, token: str, body: bytes) -> Generator[Wait, None, tuple[int, bytes]]:
        """Send one request; give the status and the body of the answer."""
        self._patience.renew()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._authority}\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        rest = memoryview(head.encode("ascii") + body)
        while rest:
            try:
                rest = rest[self._socket.send(rest[:_PIECE]) :]
            except OSError as error:
                yield self._patience.after(error, self._socket, select.POLLOUT)
        status, headers = yield from self._head()
        while status < 200:  # "100 Continue" and its like only announce the answer
            status, headers = yield from self._head()
        return status, (yield from self._body(headers))

    def _head(self) -> Generator[Wait, None, tuple[int, dict[str, str]]]:
        head = yield from self._up_to(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        protocol, _, rest = first.partition(" ")
        if not protocol.startswith("HTTP/1.") or not rest[:3].isdigit():
            raise ValueError(f"the intake does not speak HTTP/1.1: it said {first[:80]!r}")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip().lower()
        if protocol == "HTTP/1.0" or headers.get("connection") == "close":
            self.usable = False
        return int(rest[:3]), headers

    def _body(self, headers: dict[str, str]) -> Generator[Wait, None, bytes]:
        if headers.get("transfer-encoding") == "chunked":  # not our intake's way, but a proxy's before it
            return (yield from self._chunked())
        length = headers.get("content-length", "")
        if not length.isdigit() or int(length) > _MAX_ANSWER:
            raise ValueError(f"the intake's answer must say its length, at most {_MAX_ANSWER} bytes, got {length!r}")
        return (yield from self._exactly(int(length)))

    def _chunked(self) -> Generator[Wait, None, bytes]:
        body = b""
        while True:
            size = int((yield from self._up_to(b"\r\n")).partition(b";")[0], 16)
            if not 0 <= size <= _MAX_ANSWER - len(body):
                raise ValueError(f"the intake's answer must be at most {_MAX_ANSWER} bytes")
            if size == 0:
                break
            body += yield from self._exactly(size)
            yield from self._up_to(b"\r\n")
        while (yield from self._up_to(b"\r\n")):
            pass  # a trailer
        return body

    def _up_to(self, mark: bytes) -> Generator[Wait, None, bytes]:
        while mark not in self._buffer:
            if len(self._buffer) > _MAX_HEAD:
                raise ValueError(f"the head of the intake's answer is longer than {_MAX_HEAD} bytes")
            yield from self._read()
        found, _, self._buffer = self._buffer.partition(mark)
        return found

    def _exactly(self, size: int) -> Generator[Wait, None, bytes]:
        while len(self._buffer) < size:
            yield from self._read()
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found

    def _read(self) -> Generator[Wait, None, None]:
        try:
            piece = self._socket.recv(_PIECE)
        except OSError as error:
            yield self._patience.after(error, self._socket, select.POLLIN)
            return
        if not piece:
            raise ConnectionResetError("the intake closed the connection")
        self._buffer += piece


def connect(endpoint: Endpoint, seconds: float) -> Generator[Wait, None, Connection]:
    """Connect to the first of the endpoint's addresses that answers; this and each request may take so many seconds."""
    patience = Patience(seconds)
    problem = OSError(f"{endpoint.host} has no address")
    host = endpoint.host.encode("ascii")  # as bytes: what Python loads to encode a name is a twentieth of the sidecar's memory
    for family, kind, protocol, _, address in socket.getaddrinfo(host, endpoint.port, type=socket.SOCK_STREAM):
        candidate = socket.socket(family, kind, protocol)
        try:
            yield from _reach(candidate, address, patience)
            if endpoint.tls:
                from kubetune.sidecar import tls  # noqa: PLC0415 - see there

                patience.wants = tls.WANTS
                candidate = yield from tls.secure(candidate, host, endpoint.ca, patience)
            return Connection(candidate, endpoint.authority, patience)
        except OSError as error:
            candidate.close()
            problem = error
    raise problem


def _reach(candidate: socket.socket, address: object, patience: Patience) -> Generator[Wait, None, None]:
    candidate.setblocking(False)  # noqa: FBT003 - its only argument
    candidate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while True:
        code = candidate.connect_ex(address)  # type: ignore[arg-type]  # as getaddrinfo gave it
        if code in (0, errno.EISCONN):
            return
        if code not in (errno.EINPROGRESS, errno.EALREADY):
            raise OSError(code, os.strerror(code))
        yield patience.after(BlockingIOError(), candidate, select.POLLOUT)
