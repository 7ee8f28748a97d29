"""The certificate that the intake shows, and the CA certificate by which sidecars know it.

Either the operator is its own authority, with a key in a folder of the volume, or an administrator has mounted a certificate.
A pod keeps the CA certificate that it was made with, so the authority's key is never made anew while there is one: when its
certificate nears its end, or the names change, it gets another certificate for the same key.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from kubetune_operator import certificates
from kubetune_operator.certificates import DAY, Pair
from kubetune_operator.errors import AuthorityError

logger = logging.getLogger(__name__)

FILE = "ca.pem"  # key and certificate in one file, so that no crash leaves one without the other
AUTHORITY_MARGIN, SERVER_MARGIN = 365 * DAY, 30 * DAY  # so long before its end a certificate is replaced
LOOK = 3600.0  # seconds from one look at the certificates to the next


@dataclass(frozen=True, slots=True)
class Shown:
    """What the intake shows, and what sidecars hold against it."""

    ca_pem: str
    pem: bytes  # the private key, the certificate, and any between it and the CA's


class Authority:
    """Keeps one TLS context supplied with a certificate that is valid; connections that are open stay as they are."""

    def __init__(self, current: Callable[[], Shown]) -> None:
        self._current = current
        self._shown = current()
        self.context = _context(self._shown.pem)

    @classmethod
    def open(cls, folder: Path, names: Sequence[str], now: Callable[[], float] = time.time) -> Self:
        """Be the authority whose key is in the folder, or a new one where there is none; it signs for these names alone."""
        return cls(_Own(folder, names, now).current)

    @classmethod
    def mounted(cls, folder: Path, name: str) -> Self:
        """Show the certificate of a mounted Secret (tls.crt, tls.key, ca.crt), which must be good for this name."""
        return cls(lambda: _mounted(folder, name))

    @property
    def ca_pem(self) -> str:
        """Give the CA certificate for pods that are made now."""
        return self._shown.ca_pem

    def look(self) -> None:
        """Show what is current: our own certificate is replaced before its end, a mounted one when it has changed."""
        shown = self._current()
        if shown != self._shown:
            _load(self.context, shown.pem)
            self._shown = shown
            logger.info("the intake shows a new certificate")

    async def renew(self, every: float = LOOK) -> None:
        """Look again and again, for ever. Where that fails the certificate stays, and it is said each time."""
        while True:
            await asyncio.sleep(every)
            try:
                self.look()
            except AuthorityError as error:
                logger.error("the intake's certificate stays as it is: %s", error)  # noqa: TRY400 -- the message is all there is


class _Own:
    """An authority of our own: its key is on the volume; the server's key and certificate are in memory only."""

    def __init__(self, folder: Path, names: Sequence[str], now: Callable[[], float]) -> None:
        self._file = folder / FILE
        self._names = names
        self._now = now
        self._server: Pair | None = None
        _make_private(folder)
        self._authority = _read(self._file) or self._found()

    def current(self) -> Shown:
        """Give what is valid and will be for some time, making it where there is none."""
        now = self._time()
        if not (self._authority.lasts(now, AUTHORITY_MARGIN) and certificates.permits(self._authority, self._names)):
            self._authority = self._certify(self._authority.key)
        if self._server is None or not self._server.lasts(now, SERVER_MARGIN):
            self._server = certificates.sign(self._authority, self._names, now)
        return Shown(self._authority.public.decode("ascii"), self._server.secret)

    def _time(self) -> datetime:
        return datetime.fromtimestamp(self._now(), UTC)

    def _found(self) -> Pair:
        """Make a key, which must be safe before anybody trusts it."""
        authority = certificates.establish(certificates.new_key(), self._names, self._time())
        try:
            _replace(self._file, authority.secret)
        except OSError as error:
            raise AuthorityError(f"{self._file}: cannot be written: {error}; the volume must be writable") from error
        return authority

    def _certify(self, key: certificates.Key) -> Pair:
        """Make another certificate for the key that is there. On a full volume it is kept in memory: the next start makes one."""
        authority = certificates.establish(key, self._names, self._time())
        try:
            _replace(self._file, authority.secret)
        except OSError as error:
            logger.warning("%s: the authority's new certificate cannot be written, and holds until we end: %s", self._file, error)
        return authority


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise AuthorityError(f"{folder}: must be a folder of ours on the volume: {error}; is the volume mounted?") from error
    _close_to_others(folder, 0o700)


def _close_to_others(path: Path, mode: int) -> None:
    """Take back what the kubelet grants the volume's group at each mount."""
    try:
        path.chmod(mode)
    except OSError as error:
        logger.warning("%s must be closed to others, and cannot be: %s", path, error)


def _read(file: Path) -> Pair | None:
    """Read the authority; none where there has never been one."""
    try:
        pem = file.read_bytes()
        _close_to_others(file, 0o600)
        return certificates.read(pem)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise AuthorityError(
            f"{file}: must hold the authority's key and certificate, and cannot be read: {error}. Nothing was changed, because "
            "running pods trust this authority: restore the file from a copy; or remove it, and then delete those pods"
        ) from error


def _replace(file: Path, content: bytes) -> None:
    aside = file.with_suffix(".new")
    descriptor = os.open(aside, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as written:
        written.write(content)
        written.flush()
        os.fsync(descriptor)
    aside.replace(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _mounted(folder: Path, name: str) -> Shown:
    try:
        certificate, key, ca = ((folder / file).read_bytes() for file in ("tls.crt", "tls.key", "ca.crt"))
        shown = Shown(ca.decode("ascii"), key.rstrip() + b"\n" + certificate)
        _rehearse(_context(shown.pem), shown.ca_pem, name)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise AuthorityError(
            f"{folder}: must hold tls.crt, tls.key and ca.crt, by which a sidecar believes that it speaks to {name}: {error}; "
            "correct the mounted Secret"
        ) from error
    return shown


def _rehearse(server: ssl.SSLContext, ca_pem: str, name: str) -> None:
    """Shake hands with ourselves as a sidecar will. Raises ssl.SSLError where it would not believe us."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=ca_pem)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    sidecar = client.wrap_bio(back, there, server_hostname=name)
    for side in (sidecar, server.wrap_bio(there, back, server_side=True)):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    sidecar.do_handshake()


def _context(pem: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    _load(context, pem)
    return context


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """Hand the context a key and certificate. It reads files only, and this key belongs on no disk."""
    with os.fdopen(os.memfd_create("certificate"), "wb") as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password="")  # never asked for on a terminal
