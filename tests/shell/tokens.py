"""A cluster that signs tokens, made by hand on the bare primitives, so that any forgery can be written down too."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

SigningKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
ISSUER = "https://kubernetes.default.svc.cluster.local"
NOW = 1_800_000_000.0
CURVES = {"secp256r1": ("P-256", 32, hashes.SHA256()), "secp384r1": ("P-384", 48, hashes.SHA384())}
RSA = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
P256 = ec.generate_private_key(ec.SECP256R1())
OTHER_P256 = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())


def claims(**changes: Any) -> dict[str, Any]:
    """Give the claims of a trial's pod as a cluster makes them, with changes; None takes a claim away."""
    made: dict[str, Any] = {
        "aud": ["kubetune.dev/reporter"],
        "exp": int(NOW) + 3600,
        "iat": int(NOW),
        "iss": ISSUER,
        "jti": "3f6b5a0e-7a0f-4f0e-8f3a-2f9d3c1b0a11",
        "kubernetes.io": {
            "namespace": "team-a",
            "node": {"name": "worker", "uid": "dd4a1b6e-0c36-4c02-9b3a-9d9a0a8f7d55"},
            "pod": {"name": "digits-00012-0", "uid": "6d2a1f0e-54a1-4ea9-8d3a-0b1f6c3e9f10"},
            "serviceaccount": {"name": "default", "uid": "0a3c5f27-3d57-4d0c-a1d9-6a2a2e6d5c1f"},
        },
        "nbf": int(NOW),
        "sub": "system:serviceaccount:team-a:default",
    }
    return {name: value for name, value in (made | changes).items() if value is not None}


def bound(**changes: Any) -> dict[str, Any]:
    """Give claims whose binding to a pod has these changes."""
    return claims(**{"kubernetes.io": claims()["kubernetes.io"] | changes})


def token(key: SigningKey, said: Mapping[str, Any] | str | None = None, **header: Any) -> str:
    """Sign claims (or any text) as the key can; the header says what it is told to."""
    named = {"alg": _algorithm(key), "kid": "now"} | header
    payload = said if isinstance(said, str) else json.dumps(claims() if said is None else said)
    signed = f"{b64(json.dumps({name: value for name, value in named.items() if value is not None}))}.{b64(payload)}"
    return f"{signed}.{b64(_signature(key, signed.encode()))}"


def unsigned(signature: str = "") -> str:
    """Make a token that says it needs no signature."""
    return f"{b64(json.dumps({'alg': 'none', 'kid': 'now'}))}.{b64(json.dumps(claims()))}.{signature}"


def by_secret(secret: bytes) -> str:
    """Sign with a secret that everybody knows."""
    signed = f"{b64(json.dumps({'alg': 'HS256', 'kid': 'now'}))}.{b64(json.dumps(claims()))}"
    return f"{signed}.{b64(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def pem(key: SigningKey) -> bytes:
    """Give the public key as PEM."""
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def public(key: SigningKey, kid: str) -> dict[str, Any]:
    """Give the public key as a cluster lists it."""
    listed: dict[str, Any] = {"use": "sig", "kid": kid, "alg": _algorithm(key)}
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        return listed | {"kty": "RSA", "n": b64(numbers.n.to_bytes(256)), "e": b64(numbers.e.to_bytes(3))}
    curve, size, _ = CURVES[key.curve.name]
    point = key.public_key().public_numbers()
    return listed | {"kty": "EC", "crv": curve, "x": b64(point.x.to_bytes(size)), "y": b64(point.y.to_bytes(size))}


def b64(data: bytes | str) -> str:
    """Encode as tokens do."""
    return base64.urlsafe_b64encode(data.encode() if isinstance(data, str) else data).rstrip(b"=").decode()


@dataclass
class Cluster:
    """What an API server answers of itself, and how often it was asked."""

    keys: list[Any] = field(default_factory=lambda: [public(RSA, "now"), public(P256, "ec"), public(P384, "ec-384")])
    issuer: Any = ISSUER
    away: Exception | None = None
    asked: int = 0

    async def fetch(self, path: str) -> Mapping[str, Any]:
        self.asked += path == "/.well-known/openid-configuration"  # the first of the two
        if self.away:
            raise self.away
        answers = {
            "/.well-known/openid-configuration": {"issuer": self.issuer, "jwks_uri": "https://192.0.2.1:6443/openid/v1/jwks"},
            "/openid/v1/jwks": {"keys": self.keys},
        }
        return answers[path]


def _algorithm(key: SigningKey) -> str:
    return "RS256" if isinstance(key, rsa.RSAPrivateKey) else f"ES{key.curve.key_size}"


def _signature(key: SigningKey, data: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    _, size, digest = CURVES[key.curve.name]
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
    return r.to_bytes(size) + s.to_bytes(size)
