"""What the API server's words on a pod that it does not take mean; they are its own, as Kubernetes 1.29 to 1.35 has them."""

from __future__ import annotations

import pytest

from kubetune_operator.cluster import refusals
from kubetune_operator.cluster.kubernetes import ApiAway, ApiRefused

POD = 'pods "exp-00000-0" is forbidden: '
POLICY = "ValidatingAdmissionPolicy 'owners' with binding 'all' denied request: a pod must have an owner"
SECURITY = 'violates PodSecurity "restricted:latest": runAsNonRoot != true (pod or container "trial" must set it)'
DENIED = 'admission webhook "check.example.com" denied the request: images come from our registry'
FULL = "exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        pytest.param(422, 'Pod "exp-00000-0" is invalid: spec.containers[0].image: Required value', id="a rule of the API"),
        pytest.param(400, 'strict decoding error: unknown field "spec.containers[0].imgae"', id="a field that is not there"),
        pytest.param(403, POD + SECURITY, id="Pod Security"),
        pytest.param(422, POD + POLICY, id="a policy"),
        pytest.param(403, POD + POLICY, id="a policy whose reason is Forbidden"),
        pytest.param(403, POD + POLICY.replace("Validating", "Mutating"), id="a mutating policy"),
        pytest.param(403, DENIED, id="a webhook"),
        pytest.param(409, DENIED, id="a webhook with a code of its own"),
    ],
)
def test_rules_and_policies_stay(code: int, words: str) -> None:
    refused = ApiRefused(code, "Forbidden", words)
    assert refusals.stays(refused)
    assert refusals.reason(refused) == "PodRefused"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        pytest.param(
            403, POD + 'error looking up service account team/x: serviceaccount "x" not found', id="no service account yet"
        ),
        pytest.param(
            403, POD + "unable to create new content in namespace team because it is being terminated", id="a namespace that goes"
        ),
        pytest.param(
            403,
            'pods is forbidden: User "system:serviceaccount:kubetune:kubetune" cannot create resource "pods" in API group "" in '
            'the namespace "team"',
            id="no right, for a moment",
        ),
        pytest.param(403, POD + "no PriorityClass with name high was found", id="no priority class yet"),
        pytest.param(403, POD + "maximum cpu usage per Container is 1, but limit is 2", id="a LimitRange, which can be changed"),
        pytest.param(403, POD + f'error looking up service account team/x: serviceaccount "{DENIED}" not found', id="quoted"),
        pytest.param(404, 'namespaces "team" not found', id="no namespace"),
        pytest.param(401, "Unauthorized", id="a token that has just expired"),
    ],
)
def test_everything_else_passes(code: int, words: str) -> None:
    refused = ApiRefused(code, "Forbidden", words)
    assert not refusals.stays(refused)
    assert not refusals.says_nothing(refused)
    assert refusals.reason(refused) == "PodRefused"


@pytest.mark.parametrize(
    ("code", "words", "reason"),
    [
        pytest.param(403, POD + FULL, "QuotaExceeded", id="full"),
        pytest.param(403, POD + "status unknown for quota: none, resources: pods", "QuotaExceeded", id="not counted yet"),
        pytest.param(403, POD + "insufficient quota to consume: cpu", "QuotaExceeded", id="not allotted"),
        pytest.param(400, 'admission webhook "a.b.c" does not support dry run', "PodRefused", id="no dry run"),
        pytest.param(409, 'pods "exp-00000-0" already exists', "", id="it exists"),
        pytest.param(409, 'Operation cannot be fulfilled on resourcequotas "none": it was modified', "", id="others are faster"),
    ],
)
def test_some_say_nothing_of_the_pod(code: int, words: str, reason: str) -> None:
    refused = ApiRefused(code, "", words)
    assert refusals.says_nothing(refused)
    assert not refusals.stays(refused)
    assert refusals.reason(refused) == reason


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        pytest.param(
            'the API server answered 500: Internal error occurred: failed calling webhook "a.b.c": refused',
            "PodRefused",
            id="down",
        ),
        pytest.param(f"the API server answered 500: {DENIED}", "PodRefused", id="a webhook with a fault"),
        pytest.param("the API server answered 503: the server is currently unable to handle the request", "", id="busy"),
        pytest.param("the API server cannot be reached: ClientConnectorError", "", id="away"),
    ],
)
def test_a_webhook_that_does_not_answer_is_trouble_and_an_api_server_that_does_not_is_none(words: str, reason: str) -> None:
    assert refusals.reason(ApiAway(words)) == reason


def test_only_pod_security_is_answered_with_the_restricted_defaults() -> None:
    assert refusals.by_pod_security(ApiRefused(403, "Forbidden", POD + SECURITY))
    assert not refusals.by_pod_security(ApiRefused(403, "Forbidden", DENIED + ": " + SECURITY))
    assert not refusals.by_pod_security(ApiRefused(422, "Invalid", POD + POLICY))
