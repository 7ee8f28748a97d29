"""The first pod's dry run: what ends an experiment before it has any, what is waited for, and what is said meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.shell.lives import Json, body, operating, served, until

pytestmark = pytest.mark.slow  # a status is written once a second, and each waits for one or several

FIRST = "exp-00000-0"
POD = f'pods "{FIRST}" is forbidden: '
UNPRIVILEGED = POD + 'violates PodSecurity "restricted:latest": runAsNonRoot != true (pod or container "trial" must set it)'
POLICY = POD + "ValidatingAdmissionPolicy 'owners' with binding 'all' denied request: a pod must have an owner"
DENIED = 'admission webhook "check.example.com" denied the request: images come from our registry'
NO_ACCOUNT = POD + 'error looking up service account team/trainer: serviceaccount "trainer" not found'
DOWN = 'Internal error occurred: failed calling webhook "check.example.com": failed to call webhook: connection refused'
FULL = POD + "exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0"


def restricted(pod: Json) -> bool:
    return bool((pod["spec"].get("securityContext") or {}).get("runAsNonRoot"))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        pytest.param(422, f'Pod "{FIRST}" is invalid: spec.containers[0].image: Required value', id="invalid"),
        pytest.param(403, UNPRIVILEGED, id="Pod Security, restricted or not"),
        pytest.param(403, POLICY, id="a policy"),
        pytest.param(403, DENIED, id="a webhook that has looked at it"),
    ],
)
async def test_what_will_always_be_refused_ends_the_experiment_before_any_pod(tmp_path: Path, code: int, words: str) -> None:
    async with served() as (server, api), operating(server, api, tmp_path) as operator:
        server.refusal = lambda _pod: (code, words)
        server.apply(body())
        await until(lambda: server.condition("Finished").get("status") == "True")
        assert server.condition("Finished")["reason"] == "TemplateRejected"
        assert words in server.condition("Finished")["message"]
        assert server.reasons() == ["TemplateRejected", "ExperimentFinished"]
        assert not server.pods
        assert not operator.failures


@pytest.mark.parametrize(
    ("code", "words"),
    [
        pytest.param(403, NO_ACCOUNT, id="no service account yet"),
        pytest.param(500, DOWN, id="a webhook that is down"),
    ],
)
async def test_what_may_pass_is_said_once_and_waited_for(tmp_path: Path, code: int, words: str) -> None:
    async with served() as (server, api), operating(server, api, tmp_path):
        server.refusal = lambda _pod: (code, words)
        server.apply(body(numSamples=1))
        await until(lambda: server.rehearsed == 1)
        for _ in range(3):
            server.rings(server.tunes["exp"])
            await asyncio.sleep(0.1)
        assert server.rehearsed == 1, "however often the bell rings"
        await until(lambda: server.condition("Finished").get("reason") == "PodRefused")
        assert server.condition("Finished")["status"] == "False"
        assert words in server.condition("Finished")["message"]
        assert server.tunes["exp"]["status"]["state"] == "PodRefused"
        assert server.reasons() == ["PodRefused"]
        server.refusal = lambda _pod: None
        await until(lambda: FIRST in server.pods)
        await until(lambda: server.tunes["exp"]["status"]["state"] == "Running")
        assert server.reasons() == ["PodRefused", "ExperimentStarted"]


async def test_one_that_is_deleted_meanwhile_makes_room_at_once(tmp_path: Path) -> None:
    """And does not sleep on while it could be deleted and applied again."""
    async with served() as (server, api), operating(server, api, tmp_path) as operator:
        server.refusal = lambda _pod: (403, NO_ACCOUNT)
        server.apply(body())
        await until(lambda: server.rehearsed == 2)
        server.refusal = lambda _pod: None
        server.delete()
        server.apply(body())
        await until(lambda: FIRST in server.pods, seconds=1)
        owner = server.pods[FIRST]["metadata"]["ownerReferences"][0]["uid"]
        assert owner == server.tunes["exp"]["metadata"]["uid"]
        assert not operator.failures


async def test_a_full_quota_says_nothing_of_the_template(tmp_path: Path) -> None:
    """Each pod waits for room by itself, and the status says so."""
    async with served() as (server, api), operating(server, api, tmp_path):
        server.refusal = lambda _pod: (403, FULL)
        server.apply(body(numSamples=2))
        await until(lambda: server.condition("Finished").get("reason") == "QuotaExceeded")
        trials = server.tunes["exp"]["status"]["trials"]
        assert (trials["started"], trials["running"], trials["waiting"]) == (2, 0, 2)
        assert "2 pods cannot begin: QuotaExceeded: " in server.condition("Finished")["message"]
        server.refusal = lambda _pod: None
        await until(lambda: len(server.pods) == 2)
        await until(lambda: server.tunes["exp"]["status"]["trials"]["running"] == 2)
        assert server.tunes["exp"]["status"]["state"] == "Running"
        assert server.reasons().count("QuotaExceeded") == 1


async def test_one_with_trials_is_not_rehearsed_again(tmp_path: Path) -> None:
    """A policy that came in between refuses pods, and ends nothing."""
    async with served() as (server, api):
        server.apply(body(numSamples=2, maxConcurrentTrials=1))
        async with operating(server, api, tmp_path):
            await until(lambda: FIRST in server.pods)
        rehearsed = server.rehearsed
        server.refusal = lambda _pod: (403, DENIED)
        server.apply(body(numSamples=2, maxConcurrentTrials=2))
        async with operating(server, api, tmp_path):
            await until(lambda: "1 pod cannot begin: PodRefused" in server.condition("Finished").get("message", ""))
        assert server.rehearsed == rehearsed
        assert server.condition("Finished")["status"] == "False"
        assert server.reasons() == ["ExperimentStarted", "PodRefused"]


async def test_its_pods_are_restricted_where_pod_security_asks_for_that_also_after_a_restart(tmp_path: Path) -> None:
    async with served() as (server, api):
        server.refusal = lambda pod: None if restricted(pod) else (403, UNPRIVILEGED)
        server.apply(body(numSamples=2, maxConcurrentTrials=1))
        async with operating(server, api, tmp_path):
            await until(lambda: FIRST in server.pods)
        server.apply(body(numSamples=2, maxConcurrentTrials=2))
        async with operating(server, api, tmp_path):
            await until(lambda: "exp-00001-0" in server.pods)
        assert all(restricted(pod) for pod in server.pods.values())
        assert server.reasons() == ["ExperimentStarted"]


async def test_where_it_does_not_they_are_as_they_were_written(tmp_path: Path) -> None:
    async with served() as (server, api), operating(server, api, tmp_path):
        server.apply(body(numSamples=2))
        await until(lambda: len(server.pods) == 2)
        assert not any(restricted(pod) for pod in server.pods.values())


async def test_the_last_pod_of_an_ended_experiment_goes_though_its_deletion_fails_at_first(tmp_path: Path) -> None:
    async with served() as (server, api), operating(server, api, tmp_path) as operator:
        wanted = body(numSamples=1)
        wanted["spec"]["trial"]["retainPods"] = "None"
        server.apply(wanted)
        await until(lambda: FIRST in server.pods)
        server.refused_deletions = 1
        pod = server.pods[FIRST]
        pod["metadata"]["resourceVersion"] = "2"  # the answer to its creation may come after this event
        pod["status"] = {"phase": "Failed", "containerStatuses": [{"name": "trial", "state": {"terminated": {"exitCode": 3}}}]}
        operator.experiments.hear_pod(pod, deleted=False, listed=False)
        await until(lambda: server.condition("Finished").get("status") == "True")
        await until(lambda: not server.pods)
        assert server.refused_deletions == 0
