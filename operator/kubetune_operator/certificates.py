"""A certificate authority for a handful of DNS names, as values: founding it, signing for a server, reading it back.

No files, no clock, no network: `authority` has those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey
DAY = timedelta(days=1)
SKEW = timedelta(hours=1)  # that a node's clock may be behind ours
AUTHORITY_LIFE, SERVER_LIFE = 3650 * DAY, 90 * DAY
EVERY_ADDRESS = [x509.IPAddress(IPv4Network("0.0.0.0/0")), x509.IPAddress(IPv6Network("::/0"))]


@dataclass(frozen=True, slots=True)
class Pair:
    """A private key and the certificate for it."""

    key: Key
    certificate: x509.Certificate

    @property
    def secret(self) -> bytes:
        """Give both as PEM, the key first."""
        form = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()) + self.public

    @property
    def public(self) -> bytes:
        """Give the certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def lasts(self, now: datetime, margin: timedelta) -> bool:
        """Say whether the certificate is valid, and will be for so long."""
        return self.certificate.not_valid_before_utc <= now < self.certificate.not_valid_after_utc - margin


def new_key() -> Key:
    """Draw a key."""
    return ec.generate_private_key(ec.SECP256R1())


def establish(key: Key, names: Sequence[str], now: datetime) -> Pair:
    """Make an authority of this key. Whoever steals it can pose as these names and as nothing else."""
    name = _name("kubetune authority")
    builder = _builder(name, name, key, (now, AUTHORITY_LIFE))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs=True), critical=True)
    limits = x509.NameConstraints(permitted_subtrees=[x509.DNSName(one) for one in names], excluded_subtrees=EVERY_ADDRESS)
    return Pair(key, builder.add_extension(limits, critical=True).sign(key, hashes.SHA256()))


def permits(authority: Pair, names: Sequence[str]) -> bool:
    """Say whether the authority is for just these names."""
    try:
        limits = authority.certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return False
    return {one.value for one in limits.permitted_subtrees or ()} == set(names)


def sign(authority: Pair, names: Sequence[str], now: datetime) -> Pair:
    """Make a server's key and a certificate for these names."""
    key = new_key()
    builder = _builder(_name("kubetune"), authority.certificate.subject, key, (now, SERVER_LIFE))
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False)
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    return Pair(key, builder.add_extension(signer, critical=False).sign(authority.key, hashes.SHA256()))


def read(pem: bytes) -> Pair:
    """Read back what `secret` gave for an authority. Raises ValueError with what is wrong with it."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
        certificate = x509.load_pem_x509_certificate(pem)
    except (TypeError, UnsupportedAlgorithm) as error:  # encrypted, or of a kind that was never written here
        raise ValueError(str(error)) from error
    if not isinstance(key, Key) or key.public_key() != certificate.public_key():
        raise ValueError("the certificate is not that of the key")
    return Pair(key, certificate)


def _builder(subject: x509.Name, issuer: x509.Name, key: Key, life: tuple[datetime, timedelta]) -> x509.CertificateBuilder:
    start, length = life
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=start - SKEW,
        not_valid_after=start + length,
    ).add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
