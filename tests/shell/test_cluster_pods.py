"""An experiment's pods in Kubernetes, against an API server of a few lines: real HTTP, and whatever may go wrong with it."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import itertools
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from kubetune_operator import status
from kubetune_operator.cluster import Wanted
from kubetune_operator.cluster.home import Home
from kubetune_operator.cluster.kubernetes import Api, ApiAway, ApiRefused
from kubetune_operator.cluster.pods import OVERDUE, Pods
from kubetune_operator.core.plan import PodPhase
from kubetune_operator.core.standing import Key
from kubetune_operator.reserved import ATTEMPT, EXPERIMENT_UID, TRIAL
from tests.shell.standin import PODS, StandIn, api_of

HOME = Home("team", "exp", "uid-of-exp")
KEY = (3, 1)
NAME = "exp-00003-1"
AWAY = [pytest.param(status_code, id=str(status_code)) for status_code in (429, 500, 503)]
Json = dict[str, Any]


def manifest(wanted: Wanted, owner: str = HOME.uid, *, restricted: bool = False) -> Json:
    return {
        "metadata": {
            "name": f"exp-{wanted.trial:05d}-{wanted.attempt}",
            "labels": {EXPERIMENT_UID: HOME.uid, TRIAL: str(wanted.trial), ATTEMPT: str(wanted.attempt)},
            "ownerReferences": [{"uid": owner, "controller": True}],
        },
        "spec": {"securityContext": {"runAsNonRoot": True}} if restricted else {},
    }


class Server(StandIn):
    """Keeps pods of one namespace, and notes what was asked."""

    def __init__(self) -> None:
        self.pods: dict[str, Json] = {}
        self.asked: list[str] = []
        self.status = 0  # with which everything is answered …
        self.words = "Trouble it is"  # … and these words
        self.page = 500
        self.meanwhile: Callable[[Json], None] = lambda _pod: (
            None
        )  # what happens to a pod before an answer that tells of it comes
        self.deleted: asyncio.Queue[str] = asyncio.Queue()
        self._uids = itertools.count(1)
        super().__init__(
            [
                web.post(PODS, self._create),
                web.get(PODS, self._list),
                web.get(PODS + "/{name}", self._get),
                web.delete(PODS + "/{name}", self._delete),
            ]
        )

    def put(self, pod: Json) -> Json:
        made = copy.deepcopy(pod)
        made["metadata"] |= {"uid": f"pod-{next(self._uids)}", "namespace": "team", "creationTimestamp": "2026-11-24T10:00:00Z"}
        made["metadata"]["resourceVersion"] = "99"
        made["status"] = {"phase": "Pending"}
        self.pods[made["metadata"]["name"]] = made
        return made

    def count(self, verb: str) -> int:
        return sum(one.startswith(verb) for one in self.asked)

    def _refusal(self, code: int, reason: str) -> web.Response:
        return web.json_response({"kind": "Status", "reason": reason, "message": f"{reason} it is"}, status=code)

    def _note(self, request: web.Request) -> web.Response | None:
        self.asked.append(f"{request.method} {request.match_info.get('name', '')}".rstrip())
        if not self.status:
            return None
        return web.json_response({"kind": "Status", "reason": "Trouble", "message": self.words}, status=self.status)

    async def _create(self, request: web.Request) -> web.Response:
        if refused := self._note(request):
            return refused
        body = await request.json()
        assert request.query["fieldValidation"] == "Strict"
        if body["metadata"]["name"] in self.pods:
            return self._refusal(409, "AlreadyExists")
        if "dryRun" in request.query:
            return web.json_response(body, status=201)
        made = self.put(body)
        answer = web.json_response(made, status=201)
        self.meanwhile(made)
        return answer

    async def _list(self, request: web.Request) -> web.Response:
        if refused := self._note(request):
            return refused
        label, _, value = request.query["labelSelector"].partition("=")
        found = [pod for _, pod in sorted(self.pods.items()) if pod["metadata"]["labels"].get(label) == value]
        start = int(request.query.get("continue", "0"))
        end = start + min(self.page, int(request.query["limit"]))
        more = {"continue": str(end)} if end < len(found) else {}
        answer = web.json_response({"items": found[start:end], "metadata": more})
        for pod in found[start:end]:
            self.meanwhile(pod)
        return answer

    async def _get(self, request: web.Request) -> web.Response:
        if refused := self._note(request):
            return refused
        pod = self.pods.get(request.match_info["name"])
        if pod is None:
            return self._refusal(404, "NotFound")
        answer = web.json_response(pod)
        self.meanwhile(pod)
        return answer

    async def _delete(self, request: web.Request) -> web.Response:
        if refused := self._note(request):
            return refused
        pod = self.pods.get(request.match_info["name"])
        if pod is None:
            return self._refusal(404, "NotFound")
        if (await request.json())["preconditions"]["uid"] != pod["metadata"]["uid"]:
            return self._refusal(409, "Conflict")
        pod["metadata"] |= {"deletionTimestamp": status.stamp(time.time() + 30), "deletionGracePeriodSeconds": 30}
        self.deleted.put_nowait(pod["metadata"]["name"])
        self.meanwhile(pod)
        return web.json_response(pod)


def later(pod: Json, **status: Any) -> Json:
    """Give a pod as it is after a change: of its versions, which are numbers, the next but many."""
    return {**pod, "metadata": {**pod["metadata"], "resourceVersion": "101"}, "status": {**pod["status"], **status}}


class World:
    """One experiment's pods over a server; a test says which attempts are open."""

    def __init__(self, server: Server, api: Api) -> None:
        self.server = server
        self.api = api
        self.bound: dict[Key, str] = {}
        self.kept: set[Key] = set()
        self.told: list[tuple[str, str]] = []
        self.pods = self.anew()

    def anew(self) -> Pods:
        """Give what an operator that was started again has."""
        return Pods(
            self.api,
            HOME,
            manifest,
            lambda: self.bound,
            self.kept.__contains__,
            lambda reason, text: self.told.append((reason, text)),
        )

    async def made(self, key: Key = KEY) -> Json:
        """Have the pod of an attempt that has said hello; give it as the server has it."""
        self.bound[key] = ""
        await self.pods.observe()
        await self.pods.create(Wanted(*key, {}))
        pod = self.server.pods[f"exp-{key[0]:05d}-{key[1]}"]
        self.bound[key] = pod["metadata"]["uid"]
        return pod

    async def woken(self) -> None:
        """Wait until another turn may be worth it."""
        self.pods.woke.clear()
        async with asyncio.timeout(5):
            await self.pods.woke.wait()

    async def phase(self, key: Key = KEY) -> PodPhase | None:
        found = (await self.pods.observe()).get(key)
        return found.phase if found else None


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    server = Server()
    async with api_of(await server.open()) as api:
        yield World(server, api)
    await server.close()


# --- created ---


async def test_a_pod_is_created_once_and_seen_at_once(world: World) -> None:
    pod = await world.made()
    assert world.pods.woke.is_set()
    found = (await world.pods.observe())[KEY]
    assert (found.uid, found.phase, found.deleting) == (pod["metadata"]["uid"], PodPhase.RUNNING, False)
    assert world.server.asked == ["GET", "POST"]
    assert world.pods.capacity() is None


async def test_an_event_that_comes_before_the_answer_to_the_creation_is_newer(world: World) -> None:
    world.server.meanwhile = lambda pod: world.pods.hear(later(pod, phase="Failed"), deleted=False)
    await world.made()
    assert await world.phase() is PodPhase.ENDED


async def test_one_that_we_made_before_a_crash_is_taken_for_ours(world: World) -> None:
    first = await world.made()
    pods = world.anew()
    await pods.create(Wanted(*KEY, {}))
    assert (await pods.observe())[KEY].uid == first["metadata"]["uid"]
    assert world.told == []


@pytest.mark.parametrize(
    "stranger",
    [
        pytest.param(manifest(Wanted(*KEY, {}), owner="another"), id="another's"),
        pytest.param({"metadata": {"name": NAME, "labels": {}}}, id="nobody's"),
        pytest.param(manifest(Wanted(3, 2, {})) | {}, id="ours by another number"),
    ],
)
async def test_a_stranger_of_that_name_is_told_of_and_left_alone(world: World, stranger: Json) -> None:
    stranger = copy.deepcopy(stranger)
    stranger["metadata"]["name"] = NAME
    world.server.put(stranger)
    world.bound[KEY] = ""
    await world.pods.create(Wanted(*KEY, {}))
    assert await world.pods.observe() == {}
    await world.pods.delete(KEY)
    await world.pods.forget(KEY)
    assert [reason for reason, _ in world.told] == ["PodNameTaken"]
    assert NAME in world.told[0][1]
    assert world.server.count("DELETE") == 0


FULL = 'pods "exp-00003-1" is forbidden: exceeded quota: none, requested: pods=1, used: pods=4, limited: pods=4'
DOWN = 'Internal error occurred: failed calling webhook "a.b.c": failed to call webhook: connection refused'
LACKS = 'pods "exp-00003-1" is forbidden: error looking up service account team/trainer: serviceaccount "trainer" not found'
CONFLICT = 'Operation cannot be fulfilled on resourcequotas "none": the object has been modified; please apply your changes'


@pytest.mark.parametrize(
    ("code", "words", "reason"),
    [
        pytest.param(403, FULL, "QuotaExceeded", id="a full quota"),
        pytest.param(403, LACKS, "PodRefused", id="no service account"),
        pytest.param(500, DOWN, "PodRefused", id="a webhook that is down"),
    ],
)
async def test_a_refusal_is_trouble_told_once_and_tried_again_after_a_pause(
    world: World, code: int, words: str, reason: str
) -> None:
    """Not at every turn, of which each report makes one."""
    world.bound[KEY] = ""
    await world.pods.observe()
    world.server.status, world.server.words = code, words
    for _ in range(5):
        await world.pods.create(Wanted(*KEY, {}))
        await world.pods.observe()
    assert world.server.count("POST") == 1
    trouble = world.pods.troubles[KEY]
    assert trouble.reason == reason
    assert words in trouble.message
    assert world.told == [(reason, f"pod {NAME}: {trouble.message}")]
    world.server.status = 0
    await world.woken()
    await world.pods.create(Wanted(*KEY, {}))
    assert NAME in world.server.pods
    assert world.pods.troubles == {}


async def test_a_full_quota_is_asked_for_by_one_pod_for_all(world: World) -> None:
    keys = [(number, 0) for number in range(50)]
    world.bound |= dict.fromkeys(keys, "")
    await world.pods.observe()
    world.server.status, world.server.words = 403, FULL
    for tries in (1, 2):
        for _ in range(3):
            for key in keys:
                await world.pods.create(Wanted(*key, {}))
            await world.pods.observe()
        assert world.server.count("POST") == tries
        assert {trouble.reason for trouble in world.pods.troubles.values()} == {"QuotaExceeded"}
        assert len({trouble.since for trouble in world.pods.troubles.values()}) == 1
        assert len(world.pods.troubles) == 50
        assert len(world.told) == 1
        if tries == 1:
            await world.woken()
    world.server.status = 0
    await world.woken()
    for key in keys:
        await world.pods.create(Wanted(*key, {}))
    assert len(world.server.pods) == 50, "a freed quota is used at once, and by all"
    assert world.pods.troubles == {}


async def test_a_pod_that_is_refused_for_itself_holds_up_no_other(world: World) -> None:
    world.server.put({"metadata": {"name": NAME, "labels": {}}})
    world.bound |= {KEY: "", (4, 0): ""}
    for _ in range(3):
        for key in world.bound:
            await world.pods.create(Wanted(*key, {}))
        await world.pods.observe()
    assert "exp-00004-0" in world.server.pods
    assert {key: trouble.reason for key, trouble in world.pods.troubles.items()} == {KEY: "PodNameTaken"}
    assert [reason for reason, _ in world.told] == ["PodNameTaken"]


async def test_the_trouble_of_a_pod_that_is_not_wanted_any_more_is_over(world: World) -> None:
    world.bound[KEY] = ""
    world.server.status, world.server.words = 403, LACKS
    await world.pods.create(Wanted(*KEY, {}))
    world.server.status = 0
    del world.bound[KEY]
    await world.pods.observe()
    assert world.pods.troubles == {}


async def test_pods_that_come_and_go_under_a_quota_are_not_told_of_one_by_one(world: World) -> None:
    for number in range(2):
        world.bound = {(number, 0): ""}
        world.server.status, world.server.words = 403, FULL
        await world.pods.create(Wanted(number, 0, {}))
        world.server.status = 0
        await world.woken()
        await world.pods.create(Wanted(number, 0, {}))
        assert world.pods.troubles == {}
    assert len(world.server.pods) == 2
    assert [reason for reason, _ in world.told] == ["QuotaExceeded"]


async def test_others_that_were_counted_at_the_same_moment_are_no_trouble(world: World) -> None:
    world.server.status, world.server.words = 409, CONFLICT
    await world.pods.create(Wanted(*KEY, {}))
    assert (world.told, world.pods.troubles) == ([], {})
    world.server.status = 0
    await world.woken()
    await world.pods.create(Wanted(*KEY, {}))
    assert NAME in world.server.pods


@pytest.mark.parametrize("code", AWAY)
async def test_while_the_api_server_is_away_nothing_is_told(world: World, code: int) -> None:
    world.server.status = code
    await world.pods.create(Wanted(*KEY, {}))
    assert (world.told, world.server.pods) == ([], {})


# --- deleted ---


async def test_a_deleted_pod_is_on_its_way_out_at_once(world: World) -> None:
    await world.made()
    await world.pods.delete(KEY)
    assert (await world.pods.observe())[KEY].deleting
    assert "deletionTimestamp" in world.server.pods[NAME]["metadata"]


@pytest.mark.parametrize("asked_by", ["turn", "closing"])
async def test_a_pod_that_is_gone_before_its_deletion_is_answered_is_gone(world: World, asked_by: str) -> None:
    """As one is which no node has taken: nothing is waited for, and the event may come first."""

    def goes(pod: Json) -> None:
        del world.server.pods[NAME]
        world.pods.hear(later(pod), deleted=True)

    await world.made()
    world.server.meanwhile = goes
    if asked_by == "turn":
        await world.pods.delete(KEY)
        assert await world.phase() is PodPhase.GONE
    else:
        del world.bound[KEY]
        await world.pods.forget(KEY)
        assert world.pods.cleared


async def test_a_change_that_is_heard_before_a_deletion_is_answered_stands(world: World) -> None:
    await world.made()
    world.server.meanwhile = lambda pod: world.pods.hear(later(pod, phase="Failed"), deleted=False)
    await world.pods.delete(KEY)
    assert await world.phase() is PodPhase.ENDED


async def test_another_pod_of_that_name_is_not_deleted(world: World) -> None:
    pod = await world.made()
    pod["metadata"]["uid"] = "another"
    await world.pods.delete(KEY)
    assert world.server.count("DELETE") == 1
    assert "deletionTimestamp" not in world.server.pods[NAME]["metadata"]


async def test_what_is_gone_already_is_no_error(world: World) -> None:
    await world.made()
    world.server.pods.clear()
    await world.pods.delete(KEY)
    assert world.server.count("DELETE") == 1


@pytest.mark.parametrize("asked_by", ["turn", "the end"])
async def test_a_pod_that_was_kept_goes_once_newer_ones_are_kept_instead(world: World, asked_by: str) -> None:
    """Long before the pods are listed again: hundreds may fail within minutes."""
    oldest = "exp-00000-0"
    for number in range(3):
        key = (number, 0)
        await world.made(key)
        del world.bound[key]
        world.kept.add(key)
        world.kept.discard((number - 2, 0))
        await world.pods.forget(key)
    assert world.pods.woke.is_set()
    if asked_by == "turn":
        await world.pods.observe()
    else:
        clearing = asyncio.create_task(world.pods.clear())
        async with asyncio.timeout(5):
            assert await world.server.deleted.get() == oldest
        clearing.cancel()
    assert [name for name, pod in world.server.pods.items() if "deletionTimestamp" in pod["metadata"]] == [oldest]
    assert world.server.count("DELETE") == 1


@pytest.mark.parametrize("kept", [True, False])
async def test_the_pod_of_a_closed_attempt_goes_unless_it_is_kept(world: World, *, kept: bool) -> None:
    await world.made()
    if kept:
        world.kept.add(KEY)
    del world.bound[KEY]
    await world.pods.forget(KEY)
    await world.pods.observe()
    assert world.server.count("DELETE") == (not kept)


async def test_the_pod_of_a_closed_attempt_goes_after_a_restart_too(world: World) -> None:
    await world.made()
    del world.bound[KEY]
    assert await world.anew().observe() == {}
    assert "deletionTimestamp" in world.server.pods[NAME]["metadata"]


@pytest.mark.parametrize("code", [403, 429])
async def test_a_deletion_that_failed_is_made_good_after_a_pause(world: World, code: int) -> None:
    """And not at once, however many turns are made meanwhile."""
    await world.made()
    del world.bound[KEY]
    world.server.status = code
    world.pods.woke.clear()
    await world.pods.forget(KEY)
    assert not world.pods.woke.is_set()
    for _ in range(5):
        await world.pods.observe()
    assert world.server.count("DELETE") == 1
    assert world.server.count("GET") == 1, "a failed deletion is no reason to list"
    world.server.status = 0
    await world.woken()
    await world.pods.observe()
    assert "deletionTimestamp" in world.server.pods[NAME]["metadata"]


async def test_so_is_one_of_an_attempt_that_is_open(world: World) -> None:
    await world.made()
    world.server.status = 429
    for _ in range(5):
        await world.pods.delete(KEY)
    assert world.server.count("DELETE") == 1
    world.server.status = 0
    await world.woken()
    await world.pods.delete(KEY)
    assert "deletionTimestamp" in world.server.pods[NAME]["metadata"]


async def test_after_the_end_what_is_left_is_deleted_however_late_it_shows(world: World) -> None:
    """No turn is made any more: neither for a deletion that failed, nor for a pod whose creation nobody heard of."""
    await world.made()
    world.bound.clear()
    world.server.status = 500
    await world.pods.forget(KEY)
    late = world.server.put(manifest(Wanted(4, 0, {})))
    clearing = asyncio.create_task(world.pods.clear())
    world.server.status = 0
    async with asyncio.timeout(5):
        assert await world.server.deleted.get() == NAME
        world.pods.hear(late, deleted=False)
        assert await world.server.deleted.get() == late["metadata"]["name"]
    clearing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await clearing


# --- gone ---


async def test_that_a_pod_is_gone_is_believed_after_a_get(world: World) -> None:
    """An event may be of an earlier watch: the pod is asked for, and then it counts."""
    pod = await world.made()
    world.pods.hear(pod, deleted=True)
    assert await world.phase() is PodPhase.RUNNING
    assert world.server.asked[-1] == f"GET {NAME}"
    world.pods.hear(pod, deleted=True)
    world.server.pods.clear()
    assert await world.phase() is PodPhase.GONE


async def test_what_a_list_lacks_is_asked_for(world: World) -> None:
    pod = await world.made()
    labels = pod["metadata"].pop("labels")
    pod["metadata"]["labels"] = {}
    world.pods.distrust()
    asked = len(world.server.asked)
    pod["metadata"]["labels"] = {name: value for name, value in labels.items() if name != EXPERIMENT_UID}
    assert await world.phase() is PodPhase.RUNNING
    assert world.server.asked[asked:] == ["GET", f"GET {NAME}"]


async def test_a_pod_that_went_while_nobody_looked_is_missed_after_a_restart(world: World) -> None:
    await world.made()
    world.server.pods.clear()
    world.pods = world.anew()
    assert await world.phase() is None
    assert world.server.asked[-1] == f"GET {NAME}"


async def test_another_pod_in_its_place_is_not_it(world: World) -> None:
    await world.made()
    del world.server.pods[NAME]
    world.server.put(manifest(Wanted(*KEY, {})))
    world.pods = world.anew()
    assert await world.phase() is None


async def test_the_end_of_an_earlier_pod_is_not_that_of_this_one(world: World) -> None:
    earlier = copy.deepcopy(await world.made())
    earlier["metadata"]["uid"] = "earlier"
    world.pods.hear(earlier, deleted=True)
    asked = len(world.server.asked)
    assert await world.phase() is PodPhase.RUNNING
    assert len(world.server.asked) == asked


@pytest.mark.parametrize(
    ("late", "phase"),
    [pytest.param(OVERDUE - 5, PodPhase.RUNNING, id="late"), pytest.param(OVERDUE + 5, PodPhase.GONE, id="overdue")],
)
async def test_a_pod_on_a_dead_node_holds_no_slot_for_ever(world: World, late: float, phase: PodPhase) -> None:
    pod = await world.made()
    pod["metadata"]["deletionTimestamp"] = status.stamp(time.time() - late)
    world.pods.hear(pod, deleted=False)
    found = (await world.pods.observe())[KEY]
    assert (found.phase, found.deleting) == (phase, True)


# --- the API server is away ---


@pytest.mark.parametrize("code", AWAY)
async def test_what_was_seen_last_stands(world: World, code: int, caplog: pytest.LogCaptureFixture) -> None:
    pod = await world.made()
    world.server.status = code
    world.pods.hear(pod, deleted=True)
    world.pods.distrust()
    with caplog.at_level(logging.WARNING):
        assert await world.phase() is PodPhase.RUNNING
    assert [f"its pods cannot be listed: the API server answered {code}" in message for message in caplog.messages] == [
        True,
        False,
    ]
    world.server.status = 0
    world.server.pods.clear()
    assert await world.phase() is PodPhase.GONE


async def test_so_it_does_where_nobody_listens(world: World, caplog: pytest.LogCaptureFixture) -> None:
    pod = await world.made()
    await world.server.close()
    with caplog.at_level(logging.WARNING):
        await world.pods.create(Wanted(4, 0, {}))
        await world.pods.delete(KEY)
        world.pods.hear(pod, deleted=True)
        assert await world.phase() is PodPhase.RUNNING
    assert all("the API server cannot be reached" in message for message in caplog.messages)
    assert len(caplog.messages) == 3
    with pytest.raises(ApiAway, match="cannot be reached"):
        await world.pods.owns((9, 0), "pod-9")


async def test_a_bound_pod_that_was_never_seen_counts_as_running_while_it_cannot_be_asked_for(world: World) -> None:
    """As after a restart: taking it for gone would give its attempt up."""
    world.bound[KEY] = "pod-7"
    pods = world.anew()
    await pods.observe()
    world.server.status = 503
    found = (await pods.observe())[KEY]
    assert (found.uid, found.phase) == ("pod-7", PodPhase.RUNNING)


# --- listed ---


async def test_a_restarted_operator_finds_its_pods_a_page_at_a_time(world: World) -> None:
    for number in range(7):
        await world.made((number, 0))
    world.server.put(manifest(Wanted(9, 0, {}), owner="another"))
    world.server.page = 3
    world.server.asked.clear()
    found = await world.anew().observe()
    assert world.server.asked == ["GET"] * 3
    assert {key: pod.uid for key, pod in found.items()} == world.bound


async def test_it_is_listed_again_when_events_may_be_missing_and_only_then(world: World) -> None:
    await world.made()
    await world.pods.observe()
    assert world.server.count("GET") == 1
    world.pods.distrust()
    await world.pods.observe()
    assert world.server.count("GET") == 2


@pytest.mark.parametrize("asked_for", ["listed", "looked at"])
async def test_an_event_that_comes_before_an_answer_is_newer(world: World, asked_for: str) -> None:
    pod = await world.made()
    pods = world.pods if asked_for == "listed" else world.anew()
    pods.distrust()
    world.server.meanwhile = lambda pod: pods.hear(later(pod, phase="Failed"), deleted=False)
    if asked_for == "looked at":
        assert await pods.owns(KEY, pod["metadata"]["uid"])
        world.server.meanwhile = lambda _pod: None
    assert (await pods.observe())[KEY].phase is PodPhase.ENDED


async def test_a_pod_that_went_while_it_was_listed_is_gone(world: World) -> None:
    def goes(pod: Json) -> None:
        del world.server.pods[NAME]
        world.pods.hear(later(pod), deleted=True)

    await world.made()
    world.pods.distrust()
    world.server.meanwhile = goes
    assert await world.phase() is PodPhase.GONE


async def test_a_pod_without_a_hello_is_believed_gone_after_a_get_too(world: World) -> None:
    """A list may be older than the pod: its creation was asked for by an operator that is no more, or has had no answer."""
    pod = await world.made()
    world.bound[KEY] = ""
    world.server.pods.clear()
    world.pods.distrust()
    assert await world.phase() is PodPhase.GONE
    world.server.pods[NAME] = pod
    assert await world.phase() is PodPhase.RUNNING


async def test_an_event_changes_what_is_seen_and_wakes(world: World) -> None:
    pod = await world.made()
    world.pods.woke.clear()
    pod["status"] = {"phase": "Succeeded"}
    world.pods.hear(pod, deleted=False)
    assert world.pods.woke.is_set()
    assert await world.phase() is PodPhase.ENDED


async def test_a_strangers_event_is_not_heard(world: World) -> None:
    world.pods.woke.clear()
    world.pods.hear(world.server.put(manifest(Wanted(*KEY, {}), owner="another")), deleted=False)
    assert not world.pods.woke.is_set()


# --- whose reports ---


async def test_only_a_pod_that_we_made_for_the_attempt_is_owned(world: World) -> None:
    uid = (await world.made())["metadata"]["uid"]
    asked = len(world.server.asked)
    assert await world.pods.owns(KEY, uid)
    assert len(world.server.asked) == asked, "what was seen need not be asked for"
    assert not await world.pods.owns(KEY, "another")
    assert not await world.pods.owns((3, 0), uid)
    world.server.put(manifest(Wanted(5, 0, {}), owner="another"))
    assert not await world.pods.owns((5, 0), world.server.pods["exp-00005-0"]["metadata"]["uid"])


async def test_a_pod_that_speaks_before_its_event_came_is_owned(world: World) -> None:
    uid = (await world.made())["metadata"]["uid"]
    assert await world.anew().owns(KEY, uid)


# --- what keeps them from beginning ---


def waiting(reason: str, since: float) -> Mapping[str, Any]:
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": status.stamp(since)}
    state = {"waiting": {"reason": reason, "message": "why"}}
    return {
        "phase": "Pending",
        "conditions": [scheduled, {**scheduled, "type": "Initialized"}],
        "containerStatuses": [{"name": "trial", "state": state}],
    }


@pytest.mark.parametrize(
    ("reason", "ago", "fails"),
    [
        pytest.param("InvalidImageName", 0, True, id="hopeless"),
        pytest.param("ErrImagePull", 10, False, id="a registry may be away for a moment"),
        pytest.param("ErrImagePull", 40, True, id="but not for long"),
        pytest.param("CrashLoopBackOff", 999, False, id="what may mend itself"),
    ],
)
async def test_trouble_is_told_once_and_fails_what_cannot_begin(world: World, reason: str, ago: float, *, fails: bool) -> None:
    pod = await world.made()
    pod["status"] = waiting(reason, time.time() - ago)
    world.pods.hear(pod, deleted=False)
    await world.pods.observe()
    found = (await world.pods.observe())[KEY]
    assert found.failure == ((reason, "container trial: why") if fails else None)
    assert (found.begun, found.waits_for) == (None, f"{reason}: container trial: why")
    assert [trouble.reason for trouble in world.pods.troubles.values()] == [reason]
    assert world.told == [(reason, f"pod {NAME}: container trial: why")]
    pod["status"] = {"phase": "Running"}
    world.pods.hear(pod, deleted=False)
    await world.pods.observe()
    assert world.pods.troubles == {}


# --- the API ---


async def test_a_dry_run_makes_nothing_and_a_refusal_says_why(world: World) -> None:
    await world.api.create_pod("team", manifest(Wanted(*KEY, {})), dry_run=True)
    assert world.server.pods == {}
    world.server.status = 422
    with pytest.raises(ApiRefused, match="Trouble it is") as caught:
        await world.api.create_pod("team", manifest(Wanted(*KEY, {})), dry_run=True)
    assert (caught.value.status, caught.value.reason) == (422, "Trouble")


async def test_a_name_does_not_lead_elsewhere(world: World) -> None:
    assert await world.api.pod("team", "../pods") is None
    assert world.server.asked == ["GET ../pods"]
