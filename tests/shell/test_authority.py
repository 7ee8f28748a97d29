"""The operator's certificates: how they come about, how long they last, and that a real sidecar believes the right ones only."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import logging
import select
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from kubetune.sidecar.connection import Connection, Endpoint, connect
from kubetune.sidecar.waiting import Wait
from kubetune_operator import certificates
from kubetune_operator.authority import FILE, Authority
from kubetune_operator.core.records import Created, Started, Suggested
from kubetune_operator.core.standing import Key
from kubetune_operator.errors import AuthorityError
from kubetune_operator.experiment import Experiment
from kubetune_operator.intake import Intake
from tests.sim.world import spec

NAMES = ("kubetune.kubetune", "kubetune.kubetune.svc", "kubetune.kubetune.svc.cluster.local")
DAY = 86400.0
_T = TypeVar("_T")


class Clock:
    """A clock that is set by hand; it begins at the real time, because TLS knows no other."""

    def __init__(self, days: float = 0) -> None:
        self.now = time.time() + days * DAY

    def __call__(self) -> float:
        return self.now

    def go(self, days: float) -> None:
        self.now += days * DAY


def shown(authority: Authority) -> x509.Certificate:
    """Give the certificate that is shown, by asking for it as anybody could."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    return handshake(authority, client)


def handshake(authority: Authority, client: ssl.SSLContext) -> x509.Certificate:
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(back, there, server_hostname=NAMES[1])
    answering = authority.context.wrap_bio(there, back, server_side=True)
    for side in (asking, answering):
        with pytest.raises(ssl.SSLWantReadError, match=r"."):
            side.do_handshake()
    asking.do_handshake()
    found = asking.getpeercert(binary_form=True)
    assert found
    return x509.load_der_x509_certificate(found)


def ca(authority: Authority) -> x509.Certificate:
    return x509.load_pem_x509_certificate(authority.ca_pem.encode())


def utc(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)


# --- coming about ---


def test_it_is_founded_once_and_closed_to_others(tmp_path: Path) -> None:
    first = Authority.open(tmp_path / "authority", NAMES)
    folder, file = tmp_path / "authority", tmp_path / "authority" / FILE
    assert [path.name for path in folder.iterdir()] == [FILE]
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, file)] == [0o700, 0o600]
    folder.chmod(0o2770)  # as the kubelet leaves a volume of a group
    file.chmod(0o660)
    second = Authority.open(folder, NAMES)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, file)] == [0o700, 0o600]
    assert second.ca_pem == first.ca_pem
    assert shown(second) != shown(first), "the server's key is on no disk: each process has its own"


def test_it_is_for_its_names_alone(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path / "authority", NAMES)
    limits = ca(authority).extensions.get_extension_for_class(x509.NameConstraints)
    assert limits.critical
    assert [name.value for name in limits.value.permitted_subtrees or ()] == list(NAMES)
    assert ca(authority).extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    names = shown(authority).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == list(NAMES)


def test_what_it_makes_is_what_strict_clients_take(tmp_path: Path) -> None:
    """Python 3.13 is strict unless told otherwise."""
    authority = Authority.open(tmp_path / "authority", NAMES)
    client = ssl.create_default_context(cadata=authority.ca_pem)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    assert handshake(authority, client) == shown(authority)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lambda good: b"", id="empty"),
        pytest.param(lambda good: good[:100], id="half-written"),
        pytest.param(lambda good: good[: good.index(b"-----BEGIN CERTIFICATE")], id="key-without-certificate"),
        pytest.param(lambda good: good[good.index(b"-----BEGIN CERTIFICATE") :], id="certificate-without-key"),
        pytest.param(lambda good: good.replace(b"MI", b"IM", 1), id="garbled"),
        pytest.param(lambda good: key_of(another()) + good[good.index(b"-----BEGIN CERT") :], id="another-key"),
    ],
)
def test_a_damaged_authority_is_an_error_and_never_made_anew(tmp_path: Path, content: Callable[[bytes], bytes]) -> None:
    folder = tmp_path / "authority"
    Authority.open(folder, NAMES)
    damaged = content((folder / FILE).read_bytes())
    (folder / FILE).write_bytes(damaged)
    with pytest.raises(AuthorityError, match=r"ca\.pem: must hold.*running pods trust.*restore the file"):
        Authority.open(folder, NAMES)
    assert (folder / FILE).read_bytes() == damaged


def test_an_authority_that_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "authority" / FILE).mkdir(parents=True)
    with pytest.raises(AuthorityError, match=r"must hold.*Is a directory"):
        Authority.open(tmp_path / "authority", NAMES)


def test_what_a_crash_left_aside_is_in_nobodys_way(tmp_path: Path) -> None:
    folder = tmp_path / "authority"
    folder.mkdir()
    (folder / "ca.new").write_bytes(b"-----BEGIN PRIV")
    assert Authority.open(folder, NAMES).ca_pem == Authority.open(folder, NAMES).ca_pem
    assert [path.name for path in folder.iterdir()] == [FILE]


def test_without_a_volume_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(AuthorityError, match="is the volume mounted"):
        Authority.open(tmp_path / "nowhere" / "authority", NAMES)


# --- lasting ---


def test_how_long_certificates_are_valid(tmp_path: Path) -> None:
    clock = Clock()
    authority = Authority.open(tmp_path / "authority", NAMES, clock)
    begins = utc(clock.now - 3600)
    assert (ca(authority).not_valid_before_utc, ca(authority).not_valid_after_utc) == (begins, utc(clock.now + 3650 * DAY))
    assert (shown(authority).not_valid_before_utc, shown(authority).not_valid_after_utc) == (begins, utc(clock.now + 90 * DAY))


def test_the_certificate_is_replaced_a_month_before_its_end(tmp_path: Path) -> None:
    clock = Clock()
    authority = Authority.open(tmp_path / "authority", NAMES, clock)
    first, context = shown(authority), authority.context
    clock.go(59.9)
    authority.look()
    assert shown(authority) == first
    clock.go(0.2)
    authority.look()
    assert shown(authority).not_valid_after_utc == utc(clock.now + 90 * DAY)
    assert authority.context is context


@pytest.mark.parametrize(
    ("days", "names"), [(3650 - 364, NAMES), (4000, NAMES), (-400, NAMES), (0, (*NAMES, "kubetune.another.svc"))]
)
def test_an_authority_that_ends_or_has_new_names_keeps_its_key(tmp_path: Path, days: float, names: tuple[str, ...]) -> None:
    """Pods that hold its old certificate go on trusting it while that one is valid."""
    clock = Clock()
    before = Authority.open(tmp_path / "authority", NAMES, clock)
    clock.go(days)
    after = Authority.open(tmp_path / "authority", names, clock)
    assert after.ca_pem != before.ca_pem
    assert ca(after).public_key() == ca(before).public_key()
    assert ca(after).not_valid_after_utc == utc(clock.now + 3650 * DAY)
    assert Authority.open(tmp_path / "authority", names, clock).ca_pem == after.ca_pem
    shown(after).verify_directly_issued_by(ca(before))


@pytest.mark.parametrize(
    ("days", "names"), [(3650 - 364, NAMES), (0, (*NAMES, "kubetune.another.svc"))], ids=["ends", "new names"]
)
def test_on_a_full_volume_it_goes_on_with_a_certificate_that_is_kept_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, days: float, names: tuple[str, ...]
) -> None:
    """The key is what pods trust; another certificate for it can be made at each start."""
    clock, folder = Clock(), tmp_path / "authority"
    before = Authority.open(folder, NAMES, clock)
    clock.go(days)
    (folder / FILE).with_suffix(".new").mkdir()  # in the way of what is written, as a full disk is
    after = Authority.open(folder, names, clock)
    assert "cannot be written" in caplog.text
    shown(after).verify_directly_issued_by(ca(before))
    assert ca(after).not_valid_after_utc == utc(clock.now + 3650 * DAY)
    (folder / FILE).with_suffix(".new").rmdir()
    kept = Authority.open(folder, names, clock)
    assert ca(kept).public_key() == ca(before).public_key()
    assert Authority.open(folder, names, clock).ca_pem == kept.ca_pem


def test_without_a_key_it_needs_a_volume_that_can_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "authority"
    (folder / FILE).with_suffix(".new").mkdir(parents=True)
    with pytest.raises(AuthorityError, match="cannot be written"):
        Authority.open(folder, NAMES)


def test_an_authority_that_ends_while_the_operator_runs_is_handed_to_new_pods(tmp_path: Path) -> None:
    clock = Clock()
    authority = Authority.open(tmp_path / "authority", NAMES, clock)
    before = authority.ca_pem
    clock.go(3300)
    authority.look()
    assert authority.ca_pem != before


async def test_it_looks_by_itself_and_survives_what_it_finds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock, folder = Clock(), secret(tmp_path, NAMES)
    authority = Authority.mounted(folder, NAMES[1])
    first = shown(authority)
    task = asyncio.create_task(authority.renew(every=0.01))
    (folder / "tls.key").write_bytes(b"half")
    with caplog.at_level(logging.ERROR):
        await until(lambda: len(caplog.records) >= 2)
    assert "must hold tls.crt, tls.key and ca.crt" in caplog.text
    assert shown(authority) == first
    secret(tmp_path, NAMES, clock.now)
    await until(lambda: shown(authority) != first)
    task.cancel()


# --- a mounted Secret ---


def secret(folder: Path, names: tuple[str, ...], at: float | None = None) -> Path:
    """Write a Secret as cert-manager fills it, with an authority that is not ours."""
    moment = utc(time.time() if at is None else at)
    signer = certificates.establish(certificates.new_key(), NAMES, moment)
    return fill(folder, signer.public, certificates.sign(signer, names, moment))


def fill(folder: Path, ca_pem: bytes, server: certificates.Pair) -> Path:
    found = folder / "secret"
    found.mkdir(exist_ok=True)
    (found / "tls.crt").write_bytes(server.public)
    (found / "tls.key").write_bytes(key_of(server))
    (found / "ca.crt").write_bytes(ca_pem)
    return found


def key_of(pair: certificates.Pair) -> bytes:
    return pair.secret.removesuffix(pair.public)


def another() -> certificates.Pair:
    return certificates.establish(certificates.new_key(), NAMES, utc(time.time()))


def test_a_mounted_certificate_is_shown_and_followed(tmp_path: Path) -> None:
    folder = secret(tmp_path, NAMES)
    authority = Authority.mounted(folder, NAMES[1])
    first = authority.ca_pem
    assert shown(authority) == x509.load_pem_x509_certificate((folder / "tls.crt").read_bytes())
    authority.look()
    assert authority.ca_pem == first == (folder / "ca.crt").read_text()
    secret(tmp_path, NAMES)
    authority.look()
    assert shown(authority) == x509.load_pem_x509_certificate((folder / "tls.crt").read_bytes())
    assert authority.ca_pem == (folder / "ca.crt").read_text() != first


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda folder: (folder / "ca.crt").unlink(), "No such file.*ca.crt"),
        (lambda folder: (folder / "tls.key").write_bytes(key_of(another())), "MISMATCH|mismatch"),
        (lambda folder: (folder / "tls.crt").write_bytes(b"-----BEGIN"), "PEM|SSL"),
        (lambda folder: (folder / "ca.crt").write_bytes(another().public), "verify failed"),
        (lambda folder: secret(folder.parent, ("another.svc",)), "permitted subtree violation|mismatch"),
        (lambda folder: secret(folder.parent, NAMES[:1]), "Hostname mismatch"),
        (lambda folder: secret(folder.parent, NAMES, time.time() - 91 * DAY), "expired"),
        (lambda folder: secret(folder.parent, NAMES, time.time() + DAY), "not yet valid"),
    ],
    ids=["no-ca", "another-key", "no-certificate", "another-ca", "another-name", "not-our-name", "expired", "not-yet-valid"],
)
def test_a_mounted_certificate_that_a_sidecar_would_not_believe_is_an_error(
    tmp_path: Path, spoil: Callable[[Path], Any], why: str
) -> None:
    folder = secret(tmp_path, NAMES)
    spoil(folder)
    with pytest.raises(
        AuthorityError, match=rf"secret: must hold .* {NAMES[1]}: (?s:.)*({why})(?s:.)*correct the mounted Secret"
    ):
        Authority.mounted(folder, NAMES[1])


# --- a sidecar's connection to the intake ---


@dataclass
class Service:
    """An open intake behind the Service's name."""

    authority: Authority
    clock: Clock
    folder: Path
    port: int
    name: str = NAMES[1]

    async def connect(self, ca_pem: str | None = None) -> Connection:
        """Connect as the sidecar does, with the CA certificate that its pod was given."""
        file = self.folder / "given.pem"
        file.write_text(ca_pem or self.authority.ca_pem)
        return await drive(connect(Endpoint(f"https://{self.name}:{self.port}", str(file)), 10.0))

    async def hello(self, connection: Connection) -> dict[str, Any]:
        status, answer = await drive(connection.post("/v1/hello", "good", b'{"wire": 1}'))
        assert status == 200
        found: dict[str, Any] = json.loads(answer)
        return found


@pytest_asyncio.fixture
async def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    real = socket.getaddrinfo

    def resolve(host: bytes | str, *rest: Any, **named: Any) -> Any:
        return real("127.0.0.1" if isinstance(host, bytes) and host.endswith(b".svc") else host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    (tmp_path / "journal").mkdir()
    experiment = Experiment.create(tmp_path / "journal", Created("exp", "default", "uid", {}, 1.0), spec(), lambda: 5.0)
    await experiment.record([Suggested(0, {"x": 0.5}, 2.0), Started(0, 0, 3.0)])

    async def identity(_token: str) -> tuple[Experiment, Key, str]:
        return experiment, (0, 0), "pod-1"

    clock = Clock(days=-61)
    authority = Authority.open(tmp_path / "authority", NAMES, clock)
    intake = Intake(identity)
    url = await intake.open(ssl_context=authority.context)
    assert url.startswith("https://127.0.0.1:")
    yield Service(authority, clock, tmp_path, int(url.rpartition(":")[2]))
    await intake.close()
    await experiment.close()


async def drive(conversation: Generator[Wait, None, _T]) -> _T:
    """Resume a conversation whenever it can go on, in a thread of its own, as the sidecar's loop does."""

    def run() -> _T:
        while True:
            try:
                wait = next(conversation)
            except StopIteration as end:
                answer: _T = end.value
                return answer
            poll = select.poll()
            poll.register(wait.descriptor, wait.events)
            poll.poll(max(0.0, wait.until - time.monotonic()) * 1000)

    return await asyncio.to_thread(run)


async def until(true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not come true within 10 s")


async def test_a_sidecar_speaks_to_the_intake(service: Service) -> None:
    connection = await service.connect()
    assert await service.hello(connection) == {"wire": 1, "next": 0}
    body = json.dumps({"first": 0, "lines": ['{"accuracy": 0.1}']}).encode()
    status, answer = await drive(connection.post("/v1/reports", "good", body))
    assert (status, json.loads(answer)["next"]) == (200, 1)
    connection.close()


async def test_another_authority_is_not_believed(service: Service) -> None:
    another = Authority.open(service.folder / "another", NAMES)
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
        await service.connect(another.ca_pem)


async def test_another_name_is_not_believed(service: Service) -> None:
    service.name = "kubetune.another.svc"
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        await service.connect()


@pytest.mark.parametrize("name", ["kubernetes.default.svc", "10.96.0.1"])
def test_a_stolen_authority_can_pose_as_nobody_else(tmp_path: Path, name: str) -> None:
    authority = Authority.open(tmp_path / "authority", NAMES)
    stolen = certificates.read((tmp_path / "authority" / FILE).read_bytes())
    posing = x509.DNSName(name) if name[0] == "k" else x509.IPAddress(ipaddress.ip_address(name))
    forged = certificates.sign(stolen, NAMES, utc(time.time()))
    builder = x509.CertificateBuilder(
        issuer_name=forged.certificate.issuer,
        subject_name=forged.certificate.subject,
        public_key=forged.key.public_key(),
        serial_number=1,
        not_valid_before=forged.certificate.not_valid_before_utc,
        not_valid_after=forged.certificate.not_valid_after_utc,
    ).add_extension(x509.SubjectAlternativeName([posing]), critical=False)
    forged = certificates.Pair(forged.key, builder.sign(stolen.key, hashes.SHA256()))
    with pytest.raises(AuthorityError, match=r"(permitted|excluded) subtree violation"):
        Authority.mounted(fill(tmp_path, authority.ca_pem.encode(), forged), name)


async def test_a_renewal_is_seen_by_new_connections_and_ends_no_old_one(service: Service) -> None:
    old = await service.connect()
    await service.hello(old)
    before = shown(service.authority)
    service.clock.go(61)
    service.authority.look()
    assert (await service.hello(old))["next"] == 0
    new = await service.connect()
    await service.hello(new)
    pem = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", service.port))
    assert x509.load_pem_x509_certificate(pem.encode()) == shown(service.authority) != before
    assert (await service.hello(old))["next"] == 0
    old.close()
    new.close()


async def test_plain_http_is_not_answered(service: Service) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(b"POST /v1/hello HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    assert b"HTTP/1.1" not in await reader.read()
    writer.close()


@pytest.mark.slow
def test_the_operator_does_not_begin_with_a_certificate_that_no_sidecar_would_believe(tmp_path: Path) -> None:
    folder = secret(tmp_path, ("elsewhere.example",))
    environ = {
        "KUBETUNE_NAMESPACE": "kubetune",
        "KUBETUNE_RUNTIME_IMAGE": "kubetune/runtime:1",
        "KUBETUNE_ROOT": str(tmp_path),
        "KUBETUNE_TLS_FOLDER": str(folder),
    }
    command = [sys.executable, "-m", "kubetune_operator"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"kubetune: {folder}: must hold tls.crt, tls.key and ca.crt, by which a sidecar believes that it "
    )
    assert "speaks to kubetune.kubetune.svc: " in done.stderr
