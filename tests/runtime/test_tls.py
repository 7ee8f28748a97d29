"""TLS between sidecar and intake, and what the whole of it costs in memory."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.runtime.conftest import Trial
from tests.runtime.intake import Attempt, Server, wait_until
from tests.runtime.test_lines import peak

LIMIT = 20 * 1024  # KiB
NAMES = {"127.0.0.1": x509.IPAddress(ipaddress.ip_address("127.0.0.1")), "elsewhere.example": x509.DNSName("elsewhere.example")}


class Authority:
    """A certificate authority and what it has signed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority of {folder.name}")])
        certificate = self._builder(self._name, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.file = folder / "ca.pem"
        self.file.write_bytes(certificate.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def context(self, name: str) -> ssl.SSLContext:
        """Give what a server of this name needs."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName([NAMES[name]])
        certificate = self._builder(subject, key).add_extension(names, critical=False).sign(self._key, hashes.SHA256())
        pem = self._folder / f"{name}.pem"
        pem.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        return context

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return x509.CertificateBuilder(
            issuer_name=self._name,
            subject_name=subject,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - datetime.timedelta(hours=1),
            not_valid_after=now + datetime.timedelta(hours=1),
        )


@pytest.fixture
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def secure(attempt: Attempt, authority: Authority) -> Iterator[Server]:
    server = Server(attempt, tls=authority.context("127.0.0.1"))
    yield server
    server.stop()


def test_reports_travel_over_tls(trial: Trial, attempt: Attempt, authority: Authority, secure: Server) -> None:
    trial.point_to(secure.url, authority.file)
    assert trial.run("sh", "-c", "for i in 1 2 3; do echo {} >> $KUBETUNE_REPORTS; sleep 0.05; done") == 0
    assert len(attempt.lines) == 3
    assert attempt.connections == 1


def test_large_batches_travel_over_tls(trial: Trial, attempt: Attempt, authority: Authority, secure: Server) -> None:
    trial.point_to(secure.url, authority.file)
    code = "import kubetune\nfor i in range(200): kubetune.report(i=i, text='x' * 60000)"
    assert trial.run(sys.executable, "-c", code) == 0
    assert [metrics["i"] for metrics in attempt.metrics] == list(range(200))


def test_another_authority_is_not_believed(
    trial: Trial, attempt: Attempt, secure: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    trial.point_to(secure.url, Authority(tmp_path_factory.mktemp("another")).file)
    assert nothing_was_told(trial, attempt, "certificate verify failed")


def test_the_systems_authorities_do_not_know_ours(trial: Trial, attempt: Attempt, secure: Server) -> None:
    trial.point_to(secure.url)
    assert nothing_was_told(trial, attempt, "certificate verify failed")


def test_a_certificate_for_another_name_is_not_believed(trial: Trial, attempt: Attempt, authority: Authority) -> None:
    server = Server(attempt, tls=authority.context("elsewhere.example"))
    trial.point_to(server.url, authority.file)
    assert nothing_was_told(trial, attempt, "IP address mismatch")
    server.stop()


def nothing_was_told(trial: Trial, attempt: Attempt, reason: str) -> bool:
    """Run a trial that cannot be greeted until it is ended; say whether the reason was given and nothing sent."""
    trial.pod("sh", "-c", "touch started", flush=0.2)
    agent = trial.start()
    assert agent.stderr is not None
    said = agent.stderr.readline()
    agent.terminate()
    assert agent.wait(timeout=20) == 4
    return reason in said and attempt.hellos == 0 and attempt.eof is None and not (trial.folder / "started").exists()


def test_the_agent_needs_less_than_20_mib_with_tls_after_a_thousand_reports(
    trial: Trial, attempt: Attempt, authority: Authority, secure: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    trial.point_to(secure.url, authority.file)
    loop = "import kubetune, os, time\nfor i in range(1000): kubetune.report(i=i, loss=0.1, accuracy=i / 3); time.sleep(0.0005)"
    trial.pod("sh", "-c", '"$0" -c "$1"; while ! test -e go; do sleep 0.01; done', sys.executable, loop)
    agent = trial.start()
    wait_until(lambda: len(attempt.lines) == 1000)
    kib = peak(agent.pid)
    (trial.folder / "go").touch()
    assert agent.wait(timeout=20) == 0
    with capsys.disabled():
        print(f"\nagent: peak {kib / 1024:.1f} MiB with TLS after 1,000 reports (Python {sys.version.split()[0]})")  # noqa: T201
    assert kib < LIMIT
