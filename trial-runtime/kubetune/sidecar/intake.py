"""Questions to the intake and its answers, over a connection that is kept and made anew when it has to be.

Address and token are read anew for each connection: the intake may have been started again elsewhere, and tokens are renewed.
Whether and when to ask again is the shipper's business.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator

from kubetune.sidecar.connection import Connection, Endpoint, connect
from kubetune.sidecar.waiting import Wait

_SECONDS = 15.0  # for one request, the connection included; the intake answers when the reports are on its disk


class Refused(Exception):
    """The intake answered, but not with 200."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"the intake answered {status} {body[:200].decode('utf-8', 'replace')}".rstrip())
        self.status = status


def written(path: str) -> Endpoint:
    """Read where the intake listens from a file, {"url": ..., "ca": ...}: it may have been started again elsewhere."""
    with open(path, encoding="utf-8") as file:
        found = json.load(file)
    if not isinstance(found, dict):
        raise ValueError(f"{path}: must hold a JSON object with url and ca, got {type(found).__name__}")  # noqa: TRY004
    return Endpoint(str(found.get("url")), found.get("ca"))


class Intake:
    """The intake, as `endpoint` and the file with our token say."""

    def __init__(self, endpoint: Callable[[], Endpoint], token: str) -> None:
        """`endpoint` says where it listens. Raises OSError or ValueError where that cannot be known now."""
        self._endpoint = endpoint
        self._token = token
        self._bearer = ""
        self._connection: Connection | None = None

    def ask(self, path: str, body: bytes) -> Generator[Wait, None, dict[str, object]]:
        """Post `body` and give the answer. Raises OSError, ValueError or Refused; asking again is always safe."""
        if self._connection is not None:
            try:
                return (yield from self._once(self._connection, path, body))
            except ConnectionError:  # it had been idle and the other side has let go of it: not a failure yet
                pass
        self._connection = yield from self._connect()
        return (yield from self._once(self._connection, path, body))

    def _connect(self) -> Generator[Wait, None, Connection]:
        endpoint = self._endpoint()
        with open(self._token, encoding="utf-8") as file:
            self._bearer = file.read().strip()
        return (yield from connect(endpoint, _SECONDS))

    def _once(self, connection: Connection, path: str, body: bytes) -> Generator[Wait, None, dict[str, object]]:
        answered = False
        try:
            status, said = yield from connection.post(path, self._bearer, body)
            if status != 200:
                raise Refused(status, said)
            answer = json.loads(said)
            if not isinstance(answer, dict):
                raise ValueError(f"the intake's answer must be a JSON object, got {said[:80]!r}")  # noqa: TRY004
            answered = connection.usable
            return answer
        finally:
            if not answered:
                connection.close()
                self._connection = None
