"""Whose token it is: forged ones, each with the rule that it breaks, and what is remembered for how long."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetune_operator.errors import ClusterError, Unauthenticated, Unavailable
from kubetune_operator.identity import Claims, Verifier, judge, read_trust
from tests.shell.tokens import (
    ISSUER,
    NOW,
    OTHER_P256,
    OTHER_RSA,
    P256,
    P384,
    RSA,
    Cluster,
    b64,
    bound,
    by_secret,
    claims,
    pem,
    public,
    token,
    unsigned,
)

POD = Claims("team-a", "digits-00012-0", "6d2a1f0e-54a1-4ea9-8d3a-0b1f6c3e9f10", "default")
TRUST = read_trust({"issuer": ISSUER}, {"keys": [public(RSA, "now")]})
TWICE = json.dumps(claims(aud=None))[:-1] + ', "aud": ["another"], "aud": ["kubetune.dev/reporter"]}'


@dataclass
class Bench:
    """A verifier, its cluster and its clock."""

    cluster: Cluster = field(default_factory=Cluster)
    now: float = NOW

    def __post_init__(self) -> None:
        self.verifier = Verifier(self.cluster.fetch, lambda: self.now)

    async def takes(self, given: str, at: float = 0) -> bool:
        """Say whether the token is believed so many seconds after the start."""
        self.now = NOW + at
        try:
            return await self.verifier.verify(given) == POD
        except Unauthenticated:
            return False


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize(
    "good",
    [
        pytest.param(token(RSA), id="rsa"),
        pytest.param(token(P256, kid="ec"), id="p-256"),
        pytest.param(token(P384, kid="ec-384"), id="p-384"),
        pytest.param(token(RSA, typ="JWT"), id="with-a-type"),
        pytest.param(token(RSA, claims(aud="kubetune.dev/reporter")), id="an-audience-that-is-no-list"),
        pytest.param(token(RSA, claims(aud=["another", "kubetune.dev/reporter"])), id="two-audiences"),
        pytest.param(token(RSA, claims(exp=NOW - 59)), id="expired-within-what-clocks-differ"),
        pytest.param(token(RSA, claims(nbf=NOW + 59, iat=NOW + 59)), id="valid-soon-within-what-clocks-differ"),
        pytest.param(token(RSA, claims(nbf=None, iat=None, jti=None)), id="only-what-is-needed"),
    ],
)
async def test_a_pods_token_says_which_pod(bench: Bench, good: str) -> None:
    assert await bench.verifier.verify(good) == POD


def tampered(given: str, part: int, change: Callable[[str], str]) -> str:
    parts = given.split(".")
    parts[part] = change(parts[part])
    return ".".join(parts)


FORGED = [
    (
        "another-audience",
        token(RSA, claims(aud=["https://kubernetes.default.svc"])),
        "for kubetune.dev/reporter.*got aud .*default.svc",
    ),
    ("an-audience-that-only-begins-so", token(RSA, claims(aud="kubetune.dev/reporter2")), "for kubetune.dev/reporter"),
    ("audiences-within-a-list", token(RSA, claims(aud=[["kubetune.dev/reporter"]])), "for kubetune.dev/reporter"),
    ("no-audience", token(RSA, claims(aud=None)), "aud"),
    ("no-pod", token(RSA, bound(pod=None)), "bound to a pod.*pod must be an object"),
    ("nothing-of-kubernetes", token(RSA, claims(**{"kubernetes.io": None})), "bound to a pod.*kubernetes.io"),
    ("a-pod-without-uid", token(RSA, bound(pod={"name": "digits-00012-0"})), "bound to a pod.*uid"),
    ("a-pod-with-an-empty-uid", token(RSA, bound(pod={"name": "digits-00012-0", "uid": ""})), "bound to a pod.*uid"),
    ("a-pod-whose-name-is-a-list", token(RSA, bound(pod={"name": ["a"], "uid": "b"})), "bound to a pod.*name"),
    ("no-namespace", token(RSA, bound(namespace=None)), "bound to a pod.*namespace"),
    ("alg-none", unsigned(), "must fit"),
    ("alg-none-with-a-signature", unsigned(token(RSA).split(".")[2]), "must fit"),
    ("alg-none-in-capitals", tampered(unsigned(), 0, lambda _: b64('{"alg": "NONE", "kid": "now"}')), "must fit"),
    ("hmac-with-the-public-key", by_secret(pem(RSA)), "must fit"),
    ("hmac-with-the-listed-key", by_secret(json.dumps(public(RSA, "now")).encode()), "must fit"),
    ("hmac-with-nothing", by_secret(b""), "must fit"),
    ("a-kid-that-is-not-listed", token(RSA, kid="yesterday"), "one of the cluster's keys, got kid 'yesterday'"),
    ("no-kid", token(RSA, kid=None), "one of the cluster's keys"),
    ("a-kid-that-is-a-list", token(RSA, kid=["now"]), "one of the cluster's keys"),
    ("another-keys-kid", token(RSA, kid="ec"), "must fit"),
    ("another-clusters-key-with-our-kid", token(OTHER_RSA), "signature"),
    ("its-own-key-in-the-header", token(OTHER_P256, kid="ec", jwk=public(OTHER_P256, "ec")), "signature"),
    ("its-own-key-at-an-address", token(OTHER_RSA, jku="https://attacker.example/keys"), "signature"),
    ("another-algorithm-of-the-same-key", token(RSA, alg="RS512"), "must fit"),
    ("a-padding-that-clusters-do-not-use", token(RSA, alg="PS256"), "must fit"),
    ("a-curve-that-is-not-the-keys", token(P384, alg="ES256", kid="ec"), "signature"),
    ("an-unknown-critical-header", token(RSA, crit=["exp"], exp=1), "must fit"),
    ("a-critical-header-that-is-a-number", token(RSA, crit=7), "must fit"),
    ("expired", token(RSA, claims(exp=NOW - 61)), "valid at 1800000000.*expired.*got exp 1799999939"),
    ("without-an-end", token(RSA, claims(exp=None)), "exp"),
    ("an-end-that-is-text", token(RSA, claims(exp="tomorrow")), "exp"),
    ("an-end-that-is-true", token(RSA, claims(exp=True)), "exp"),
    ("an-end-that-never-comes", token(RSA, claims(exp=float("inf"))), "exp"),
    ("an-end-that-is-no-number", token(RSA, claims(exp=float("nan"))), "exp"),
    ("not-yet-valid", token(RSA, claims(nbf=NOW + 61)), "not yet valid"),
    ("issued-tomorrow", token(RSA, claims(iat=NOW + 86400)), "future"),
    ("another-issuer", token(RSA, claims(iss="https://another.example")), f"issuer must be {ISSUER}, got 'https://another"),
    ("no-issuer", token(RSA, claims(iss=None)), "issuer"),
    ("another-pod-put-in", tampered(token(RSA), 1, lambda _: b64(json.dumps(bound(pod={"name": "b", "uid": "c"})))), "signature"),
    ("the-header-said-anew", tampered(token(RSA), 0, lambda _: b64('{"kid": "now", "alg": "RS256"}')), "signature"),
    ("a-signature-cut-short", token(RSA)[:-20], "signature"),
    ("no-signature", token(RSA).rpartition(".")[0] + ".", "signature"),
    ("two-parts", token(RSA).rpartition(".")[0], "a signed JWT"),
    ("four-parts", token(RSA) + ".e30", "a signed JWT"),
    ("an-elliptic-signature-of-noughts", tampered(token(P256, kid="ec"), 2, lambda _: b64(bytes(64))), "signature"),
    ("claims-said-twice", token(RSA, TWICE), "each said once.*'aud'"),
    ("claims-that-are-a-list", token(RSA, "[]"), "must be an object"),
    ("claims-that-are-not-json", token(RSA, "{"), "must be JSON"),
    ("a-deep-header", f"{b64('[' * 300)}.e30.e30", "a signed JWT"),
    ("a-header-that-is-a-list", b64('["alg", "kid"]') + ".e30.e30", "a signed JWT"),
    ("giant", token(RSA, claims(padding="x" * 8192)), "at most 8192 characters, got 1"),
    ("empty", "", "a signed JWT"),
    ("not-ascii", "é.é.é", "a signed JWT"),
    ("half-a-character", "\ud800", "a signed JWT"),
]


@pytest.mark.parametrize(("forged", "rule"), [pytest.param(forged, rule, id=name) for name, forged, rule in FORGED])
async def test_a_forged_token_is_refused_by_its_rule_and_never_repeated(bench: Bench, forged: str, rule: str) -> None:
    for _ in range(2):  # judged, then remembered
        with pytest.raises(Unauthenticated, match=rule) as refusal:
            await bench.verifier.verify(forged)
        assert "eyJ" not in str(refusal.value)
        assert len(str(refusal.value)) < 500


@given(
    st.text()
    | st.lists(st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps)).map(
        lambda parts: ".".join(map(b64, parts))
    )
    | st.dictionaries(
        st.sampled_from(["alg", "kid", "crit", "b64", "typ"]), st.sampled_from(["RS256", "now", True, 1, ["b64"], None])
    ).map(lambda header: f"{b64(json.dumps(header))}.{b64('{}')}.AAAA")
)
def test_whatever_comes_is_refused_in_the_same_way(given: str) -> None:
    with pytest.raises(Unauthenticated, match="a token"):
        judge(given, TRUST, NOW)


async def test_a_key_that_is_new_is_asked_for_once(bench: Bench) -> None:
    assert await bench.takes(token(RSA))
    bench.cluster.keys = [public(RSA, "now"), public(OTHER_RSA, "next")]
    assert await bench.takes(token(OTHER_RSA, kid="next"), at=20)
    assert await bench.takes(token(RSA), at=20), "the key before it is listed still"
    assert bench.cluster.asked == 2


async def test_unknown_keys_make_no_more_than_one_question_in_ten_seconds(bench: Bench) -> None:
    for number in range(300):
        assert not await bench.takes(token(OTHER_RSA, kid=f"random-{number}"), at=number / 10)
    assert bench.cluster.asked == 3


async def test_many_who_come_at_once_make_one_question(bench: Bench) -> None:
    assert await asyncio.gather(*(bench.takes(token(RSA, claims(jti=str(number)))) for number in range(20))) == [True] * 20
    assert bench.cluster.asked == 1


async def test_an_issuer_that_was_renamed_is_asked_for(bench: Bench) -> None:
    assert await bench.takes(token(RSA))
    bench.cluster.issuer = "https://oidc.example/cluster"
    assert await bench.takes(token(RSA, claims(iss="https://oidc.example/cluster")), at=20)
    assert not await bench.takes(token(RSA, claims(jti="old")), at=20)


async def test_a_key_that_the_cluster_has_given_up_is_not_believed_for_long(bench: Bench) -> None:
    assert await bench.takes(token(RSA))
    bench.cluster.keys = [public(P256, "ec")]
    assert await bench.takes(token(RSA), at=599)
    assert not await bench.takes(token(RSA), at=660)


@pytest.mark.parametrize(
    "away", [ConnectionRefusedError("refused"), TimeoutError(), ClusterError("the API server answered 503")], ids=repr
)
async def test_without_the_api_server_known_keys_go_on_and_others_are_to_come_again(bench: Bench, away: Exception) -> None:
    assert await bench.takes(token(RSA))
    bench.cluster.away = away
    assert await bench.takes(token(RSA, claims(exp=NOW + 9000)), at=5000)
    with pytest.raises(Unavailable, match="keys cannot be read, as the ClusterRole system:service-account-issuer-discovery"):
        await bench.takes(token(OTHER_RSA, kid="next"), at=5001)
    bench.cluster.away = None
    bench.cluster.keys = [public(OTHER_RSA, "next")]
    assert await bench.takes(token(OTHER_RSA, claims(exp=NOW + 9000), kid="next"), at=5003), (
        "that it was away is not held against it"
    )


async def test_known_keys_are_not_held_up_by_an_api_server_that_is_away(bench: Bench) -> None:
    assert await bench.takes(token(RSA))
    bench.cluster.away = TimeoutError()
    for at in range(600, 1200, 2):
        assert await bench.takes(token(RSA, claims(jti=str(at))), at)
    assert bench.cluster.asked == 2, "once in ten minutes"


async def test_before_the_api_server_was_ever_reached_nobody_is_refused_for_good(bench: Bench) -> None:
    bench.cluster.away = ConnectionRefusedError("refused")
    for at in (0, 0.1, 0.2, 1.5):
        with pytest.raises(Unavailable, match="refused"):
            await bench.takes(token(RSA), at)
    assert bench.cluster.asked == 2, "one question a second"
    bench.cluster.away = None
    assert await bench.takes(token(RSA), at=3)


@pytest.mark.slow
async def test_an_api_server_that_does_not_answer_is_not_waited_for() -> None:
    async def never(_path: str) -> Mapping[str, Any]:
        await asyncio.sleep(3600)
        return {}

    with pytest.raises(Unavailable, match="no answer within 5 s"):
        await asyncio.wait_for(Verifier(never, lambda: NOW).verify(token(RSA)), 10)


@pytest.mark.parametrize(
    ("issuer", "keys"),
    [
        pytest.param(ISSUER, [], id="no-key"),
        pytest.param(ISSUER, None, id="no-list"),
        pytest.param(ISSUER, [{"kty": "oct", "kid": "now", "k": "c2VjcmV0", "alg": "HS256"}], id="a-symmetric-key"),
        pytest.param(ISSUER, [public(RSA, "now") | {"use": "enc"}], id="a-key-for-something-else"),
        pytest.param(ISSUER, [public(RSA, "now") | {"n": "!"}, 7, {}], id="broken-keys"),
        pytest.param("", [public(RSA, "now")], id="no-issuer"),
        pytest.param(None, [public(RSA, "now")], id="an-issuer-that-is-null"),
    ],
)
async def test_a_cluster_that_lists_nothing_to_go_by_is_asked_again(bench: Bench, issuer: Any, keys: Any) -> None:
    bench.cluster.issuer, bench.cluster.keys = issuer, keys
    with pytest.raises(Unavailable, match="must hold a key with a kid"):
        await bench.takes(by_secret(b"secret"))


async def test_a_broken_key_beside_a_good_one_does_no_harm(bench: Bench) -> None:
    bench.cluster.keys = [{"kty": "AKP", "kid": "pq", "alg": "ML-DSA-44"}, public(P256, "p") | {"crv": "P-0"}, public(RSA, "now")]
    assert await bench.takes(token(RSA))


async def test_a_good_verdict_is_remembered_for_a_minute(bench: Bench) -> None:
    assert await bench.takes(token(RSA))
    bench.cluster.keys = [public(OTHER_RSA, "next")]
    assert await bench.takes(token(OTHER_RSA, kid="next"), at=20), "from now on the first key is not known any more"
    assert await bench.takes(token(RSA), at=59)
    assert not await bench.takes(token(RSA), at=61)


async def test_a_good_verdict_does_not_outlive_its_token(bench: Bench) -> None:
    expiring = token(RSA, claims(exp=NOW - 30))
    assert await bench.takes(expiring)
    assert not await bench.takes(expiring, at=31)


async def test_a_bad_verdict_is_remembered_for_five_seconds(bench: Bench) -> None:
    early = token(RSA, claims(nbf=NOW + 61))
    assert not await bench.takes(early)
    assert not await bench.takes(early, at=4.9)
    assert await bench.takes(early, at=5.1)


async def test_a_flood_of_bad_tokens_pushes_out_bad_verdicts_only(bench: Bench) -> None:
    early = token(RSA, claims(nbf=NOW + 61))
    assert await bench.takes(token(RSA))
    assert not await bench.takes(early)
    bench.cluster.keys = [public(OTHER_RSA, "next"), public(RSA, "renamed")]
    assert await bench.takes(token(OTHER_RSA, kid="next"), at=20)
    early = token(RSA, claims(nbf=NOW + 82), kid="renamed")
    assert not await bench.takes(early, at=21)
    for number in range(1024):
        assert not await bench.takes(f"rubbish {number}", at=22)
    assert await bench.takes(early, at=23), "its verdict made room"
    assert await bench.takes(token(RSA), at=24), "by its verdict alone: its key is gone"


async def test_a_clock_that_is_set_back_prolongs_nothing(bench: Bench) -> None:
    assert await bench.takes(token(RSA, claims(nbf=None, iat=None)))
    bench.cluster.keys = [public(OTHER_RSA, "next")]
    assert await bench.takes(token(OTHER_RSA, claims(nbf=None, iat=None), kid="next"), at=-3000), "asked at once"
    assert not await bench.takes(token(RSA, claims(nbf=None, iat=None)), at=-3000)


def test_kubetune_run_imports_nothing_of_this() -> None:
    """It would be a second of its start."""
    code = (
        "import sys, kubetune_operator.commands.run; print({'cryptography', 'joserfc', 'kopf', 'kubernetes'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
