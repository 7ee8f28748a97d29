"""Who speaks: a projected ServiceAccount token, checked against the cluster's own keys without asking the cluster.

The API server is asked for its keys and its issuer, not about tokens: a report costs no round trip, and known keys go on
working while it is away. Which attempt a pod is, and whether that is still open, is not known here.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from joserfc import jwk, jws, jwt
from joserfc.errors import JoseError

from kubetune_operator.errors import KubetuneError, Unauthenticated, Unavailable, shown
from kubetune_operator.reserved import AUDIENCE

logger = logging.getLogger(__name__)

Fetch = Callable[[str], Awaitable[Mapping[str, Any]]]  # a path of the API server -> what it answers
PublicKey = jwk.RSAKey | jwk.ECKey
_V = TypeVar("_V")

DISCOVERY = "/.well-known/openid-configuration"
KEYS = "/openid/v1/jwks"
ROLE = "system:service-account-issuer-discovery"
ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "ES256", "ES384", "ES512"})  # what an API server can sign with
LEEWAY = 60  # seconds that clocks may differ; the API server grants as many
MAX_TOKEN = 8192  # characters; those of a cluster have about a thousand
FRESH = 600.0  # seconds after which the keys are read anew, to learn which ones are no longer trusted
PATIENCE = 5.0  # seconds for the API server to answer
PAUSE, PAUSE_AFTER_FAILURE = 10.0, 1.0  # seconds from one question to the API server to the next
GOOD_FOR, BAD_FOR = 60.0, 5.0  # seconds that a verdict is remembered
GOOD_ONES, BAD_ONES = 16384, 1024  # verdicts; apart, so that a flood of bad tokens pushes no good one out


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says of the pod that holds it."""

    namespace: str
    pod_name: str
    pod_uid: str
    service_account: str


@dataclass(frozen=True, slots=True)
class Trust:
    """The cluster as it said of itself: its issuer and the keys with which it signs."""

    issuer: str
    keys: Mapping[str, PublicKey]


class _Unknown(Unauthenticated):
    """Signed by a key or for an issuer that the cluster did not have when it was last asked."""


class Verifier:
    """Checks tokens. Verdicts are remembered for a while, keys until the cluster names others."""

    def __init__(self, fetch: Fetch, now: Callable[[], float] = time.time) -> None:
        """`fetch` raises OSError or any KubetuneError where there is no answer."""
        self._fetch = fetch
        self._now = now
        self._trust = Trust("", {})
        self._read = 0.0  # when the keys were last read, or were to be read for their age
        self._asked = float("-inf")
        self._problem = ""  # why the last question was not answered
        self._asking = asyncio.Lock()
        self._good: _Recent[Claims] = _Recent(GOOD_ONES, GOOD_FOR)
        self._bad: _Recent[str] = _Recent(BAD_ONES, BAD_FOR)

    async def verify(self, token: str) -> Claims:
        """Say whose token it is. Raises Unauthenticated, or Unavailable when the keys for it cannot be had."""
        if len(token) > MAX_TOKEN:
            raise Unauthenticated(f"a token must have at most {MAX_TOKEN} characters, got {len(token)}")
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        claims = self._good.get(digest, self._now())
        if claims is not None:
            return claims
        reason = self._bad.get(digest, self._now())
        if reason is not None:
            raise Unauthenticated(reason)
        try:
            claims, expiry = await self._judge(token)
        except Unauthenticated as refusal:
            self._bad.put(digest, str(refusal), self._now())
            raise
        self._good.put(digest, claims, self._now(), expiry)
        return claims

    async def _judge(self, token: str) -> tuple[Claims, float]:
        await self._keep_fresh()
        trust = self._trust
        try:
            return judge(token, trust, self._now())
        except _Unknown:
            await self._refresh()
            if self._trust is trust:
                raise
            return judge(token, self._trust, self._now())

    async def _keep_fresh(self) -> None:
        """Read the keys anew when they are old: one that is no longer trusted is not missed by any token."""
        if not self._trust.keys or 0 <= self._now() - self._read < FRESH:
            return
        self._read = self._now()  # also where it fails: nobody whose key is known waits for the API server twice
        try:
            await self._refresh()
        except Unavailable as error:
            logger.warning("the known keys go on being trusted: %s", error)

    async def _refresh(self) -> None:
        """Ask the cluster, unless that was just done. Raises Unavailable where it did not answer."""
        async with self._asking:
            if 0 <= self._now() - self._asked < (PAUSE_AFTER_FAILURE if self._problem else PAUSE):
                if self._problem:
                    raise Unavailable(self._problem)
                return
            try:
                async with asyncio.timeout(PATIENCE):
                    self._trust = read_trust(await self._fetch(DISCOVERY), await self._fetch(KEYS))
            except (OSError, KubetuneError) as error:
                why = str(error) or f"no answer within {PATIENCE:.0f} s"
                self._problem = f"the cluster's keys cannot be read, as the ClusterRole {ROLE} lets every service account: {why}"
                raise Unavailable(self._problem) from error
            else:
                self._problem = ""
                self._read = self._now()
            finally:
                self._asked = self._now()


def read_trust(discovery: Mapping[str, Any], keys: Mapping[str, Any]) -> Trust:
    """Read the API server's two answers. Raises Unavailable where they name no issuer, or no key that can be used."""
    issuer, listed = discovery.get("issuer"), keys.get("keys")
    known = map(_key, listed if isinstance(listed, list) else ())
    usable = {one.kid: one for one in known if one is not None and one.kid}
    if not isinstance(issuer, str) or not issuer or not usable:
        raise Unavailable(f"{KEYS} must hold a key with a kid, of type RSA or EC, and {DISCOVERY} an issuer, got {shown(issuer)}")
    return Trust(issuer, usable)


def judge(token: str, known: Trust, now: float) -> tuple[Claims, float]:
    """Say whose token it is and when it ends. Raises Unauthenticated with the rule that it breaks."""
    claims = _signed(token, known)
    _check(claims, known.issuer, now)
    bound = _object(claims, "kubernetes.io")
    pod, account = _object(bound, "pod"), _object(bound, "serviceaccount")
    found = Claims(_text(bound, "namespace"), _text(pod, "name"), _text(pod, "uid"), _text(account, "name"))
    return found, claims["exp"]


def _signed(token: str, known: Trust) -> Mapping[str, Any]:
    """Give what the cluster has signed. Nothing of a token is read before this but its header, for the key's name."""
    try:
        sealed = jws.extract_compact(token.encode("ascii"))
        kid = sealed.protected.get("kid")
    except (JoseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Unauthenticated("a token must be a signed JWT") from error
    key = known.keys.get(kid) if isinstance(kid, str) else None
    if key is None:
        raise _Unknown(f"a token must be signed by one of the cluster's keys, got kid {shown(kid)}")
    try:
        signed = jws.validate_compact(sealed, key, ALGORITHMS)
    except (JoseError, ValueError, TypeError) as error:
        raise Unauthenticated(f"a token's header must fit the cluster's key: {shown(str(error), 200)}") from error
    if not signed:
        raise Unauthenticated("a token's signature must be that of the cluster's key")
    try:
        claims = json.loads(sealed.payload, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise Unauthenticated(f"a token's claims must be JSON, each said once: {error}") from error
    if not isinstance(claims, dict):
        raise Unauthenticated(f"a token's claims must be an object, got {shown(claims)}")
    return claims


def _check(claims: Mapping[str, Any], issuer: str, now: float) -> None:
    """Hold the registered claims to their rules."""
    ours: jwt.ClaimsOption = {"essential": True, "value": AUDIENCE}
    rules = jwt.JWTClaimsRegistry(int(now), LEEWAY, exp={"essential": True}, aud=ours)
    try:
        rules.validate(dict(claims))
    except JoseError as error:
        raise Unauthenticated(
            f"a token must be for {AUDIENCE} and valid at {int(now)}: {error.description}{_got(claims)}"
        ) from error
    if claims.get("iss") != issuer:
        raise _Unknown(f"a token's issuer must be {issuer}, got {shown(claims.get('iss'))}")


def _got(claims: Mapping[str, Any]) -> str:
    return "".join(f", got {name} {shown(claims[name])}" for name in ("aud", "nbf", "iat", "exp") if name in claims)


def _key(data: Any) -> PublicKey | None:
    """Read one key; none where it is of no use here. Never a symmetric one: its text is known to everybody."""
    if not isinstance(data, dict) or data.get("use", "sig") != "sig":
        return None
    try:
        match data.get("kty"):
            case "RSA":
                return jwk.RSAKey.import_key(data)
            case "EC":
                return jwk.ECKey.import_key(data)
            case _:
                return None
    except (JoseError, ValueError, TypeError, LookupError) as error:
        logger.warning("the cluster's key %s is left out: %r", shown(data.get("kid")), error)
        return None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object whose members are said once: of two, one reader would believe the first and one the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a name is said twice among {shown([name for name, _ in pairs], 200)}")
    return found


def _object(claims: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = claims.get(name)
    if not isinstance(value, dict):
        raise Unauthenticated(f"a token must be bound to a pod: its claim {name} must be an object, got {shown(value)}")
    return value


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise Unauthenticated(f"a token must be bound to a pod: its claim {name} must be a name, got {shown(value)}")
    return value


class _Recent(Generic[_V]):
    """What was found out lately, by digest: each for so many seconds, and so many at most."""

    def __init__(self, size: int, seconds: float) -> None:
        self._size = size
        self._seconds = seconds
        self._found: dict[bytes, tuple[_V, float, float]] = {}

    def get(self, digest: bytes, now: float) -> _V | None:
        value, since, until = self._found.get(digest, (None, 0.0, 0.0))
        if since <= now < until:  # a clock that was set back makes it forget, not remember for longer
            return value
        self._found.pop(digest, None)
        return None

    def put(self, digest: bytes, value: _V, now: float, until: float = float("inf")) -> None:
        if len(self._found) >= self._size:
            del self._found[next(iter(self._found))]  # the oldest
        self._found[digest] = (value, now, min(now + self._seconds, until))
