"""The Kubernetes API as plain dicts: the requests that the operator makes, and what a refusal means.

The one importer of the Kubernetes client. What the objects are for is not known here. Nothing is retried: every caller is a
loop that comes again.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from kubetune_operator.errors import ClusterError

EXPERIMENTS = "/apis/kubetune.dev/v1alpha1"
EVENTS = "/apis/events.k8s.io/v1"
CORE = "/api/v1"
TIMEOUT = 30.0  # seconds for one request
SILENCE = 300.0  # seconds in which a followed log may say nothing: then it is asked for anew, as somebody may have dropped it
PIECE = 64 * 1024  # bytes of a log at once
PAGE = 500  # objects of a LIST at once: thousands of pods in one answer would cost hundreds of megabytes
RETRYABLE = frozenset({408, 429, 500, 502, 503, 504})
OK = 200
MERGE_PATCH = "application/merge-patch+json"

Object = Mapping[str, Any]


class ApiRefused(ClusterError):
    """The API server said no; the same request will be refused again until something changes."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message or reason)
        self.status = status
        self.reason = reason  # "AlreadyExists", "Forbidden", "Invalid", …


class ApiAway(ClusterError):
    """The API server did not answer, or not now: ask again later."""


class Api:
    """The API server, as the operator's service account (or a kubeconfig) sees it."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    @classmethod
    async def connect(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read where the API server is and who we are: in a pod, or else by KUBECONFIG. Nothing is asked yet."""
        settings = Configuration()
        settings.connection_pool_maxsize = 0  # no bound: each followed log holds a connection, and must not keep others waiting
        settings.client_session_kwargs = {"read_bufsize": PIECE}
        if "KUBERNETES_SERVICE_HOST" in environ:
            config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]  # reads the token anew each minute
        else:
            await config.load_kube_config(config_file=environ.get("KUBECONFIG"), client_configuration=settings)  # type: ignore[no-untyped-call]
        return cls(ApiClient(settings))

    async def close(self) -> None:
        """Let the connections go."""
        await self._client.close()  # type: ignore[no-untyped-call]

    async def experiment(self, namespace: str, name: str) -> Object | None:
        """Give a TuneExperiment; None if there is none."""
        return await self._get(_experiment(namespace, name))

    async def experiments(self, namespace: str | None) -> Sequence[Object]:
        """List the TuneExperiments of a namespace, or of all."""
        where = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
        return await self._list(f"{EXPERIMENTS}{where}/tuneexperiments", {})

    async def patch_status(self, namespace: str, name: str, status: Mapping[str, Any]) -> None:
        """Replace the named fields of a TuneExperiment's status; None removes one."""
        path = f"{_experiment(namespace, name)}/status"
        made = await self._call("PATCH", path, body={"status": status}, content=MERGE_PATCH)
        if left := _left(made.get("status") or {}, status):
            await self._call("PATCH", path, body={"status": left}, content=MERGE_PATCH)

    async def delete_experiment(self, namespace: str, name: str, uid: str) -> None:
        """Delete a TuneExperiment, if it still is this one."""
        await self._delete(_experiment(namespace, name), uid)

    async def pod(self, namespace: str, name: str) -> Object | None:
        """Give a pod; None if there is none."""
        return await self._get(_pod(namespace, name))

    async def pods(self, namespace: str, selector: str) -> Sequence[Object]:
        """List the pods that have these labels."""
        return await self._list(f"{CORE}/namespaces/{quote(namespace, safe='')}/pods", {"labelSelector": selector})

    async def create_pod(self, namespace: str, pod: Object, *, dry_run: bool = False) -> Object:
        """Create a pod, or only ask whether it could be."""
        query = {"fieldValidation": "Strict", **({"dryRun": "All"} if dry_run else {})}
        return await self._call("POST", f"{CORE}/namespaces/{quote(namespace, safe='')}/pods", query=query, body=pod)

    async def delete_pod(self, namespace: str, name: str, uid: str) -> None:
        """Delete a pod with its own grace period, if it still is this one; that it is gone already is no error."""
        await self._delete(_pod(namespace, name), uid)

    async def log(self, namespace: str, pod: str, container: str, *, new: bool = False) -> AsyncGenerator[bytes]:
        """Follow what a container prints, from its beginning or only what is `new`, until it has ended."""
        query = {"container": container, "follow": "true", **({"tailLines": "0"} if new else {})}
        timeout = aiohttp.ClientTimeout(sock_connect=TIMEOUT, sock_read=SILENCE)
        with _away_where("the API server cannot be reached"):
            response = await self._send("GET", f"{_pod(namespace, pod)}/log", query=query, patience=timeout)
        try:
            with _away_where(f"the log of {pod} has broken off"):
                if response.status != OK:
                    _answer(response.status, await response.content.read(PIECE))
                async for data in response.content.iter_chunked(PIECE):
                    yield data
        finally:
            response.close()

    async def namespace(self, name: str) -> Object | None:
        """Give a namespace; None if there is none."""
        return await self._get(f"{CORE}/namespaces/{quote(name, safe='')}")

    async def emit(self, namespace: str, event: Object) -> None:
        """Create an Event (events.k8s.io/v1)."""
        await self._call("POST", f"{EVENTS}/namespaces/{quote(namespace, safe='')}/events", body=event)

    async def raw(self, path: str) -> Object:
        """Get a path of the API server that answers JSON, such as /openid/v1/jwks."""
        return await self._call("GET", path)

    async def _get(self, path: str) -> Object | None:
        try:
            return await self._call("GET", path)
        except ApiRefused as refused:
            if refused.status == 404:
                return None
            raise

    async def _list(self, path: str, query: Mapping[str, str]) -> Sequence[Object]:
        found: list[Object] = []
        more = ""
        while True:
            page = await self._call("GET", path, query={**query, "limit": str(PAGE), **({"continue": more} if more else {})})
            found += page["items"]
            more = page["metadata"].get("continue") or ""
            if not more:
                return found

    async def _delete(self, path: str, uid: str) -> None:
        try:
            await self._call("DELETE", path, body={"preconditions": {"uid": uid}})
        except ApiRefused as refused:
            if refused.status not in {404, 409}:  # gone, or another one by now
                raise

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content: str = "application/json",
    ) -> Object:
        with _away_where("the API server cannot be reached"):
            response = await self._send(method, path, query=query, body=body, content=content)
            data = await response.read()
        return _answer(response.status, data)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content: str = "application/json",
        patience: float | aiohttp.ClientTimeout = TIMEOUT,
    ) -> aiohttp.ClientResponse:
        request = await self._client.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params={"Accept": "application/json, */*;q=0.5", "Content-Type": content},
            auth_settings=["BearerToken"],
        )
        _, url, headers, *_ = request
        answer = await self._client.call_api(method, url, headers, body=body, _request_timeout=patience)
        response: aiohttp.ClientResponse = answer.response
        return response


@contextmanager
def _away_where(what: str) -> Iterator[None]:
    """Turn what a broken connection raises into ApiAway, which says what has failed."""
    try:
        yield
    except (aiohttp.ClientError, OSError) as error:
        raise ApiAway(f"{what}: {type(error).__name__}: {error}") from error


def _left(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Give the patch that removes from objects what is not wanted in them: merging has left it there."""
    left: dict[str, Any] = {}
    for name, value in wanted.items():
        here = found.get(name)
        if isinstance(value, Mapping) and isinstance(here, Mapping):
            surplus = dict.fromkeys(here.keys() - value.keys()) | _left(here, value)
            left |= {name: surplus} if surplus else {}
    return left


def _answer(status: int, data: bytes) -> Object:
    try:
        found = json.loads(data)
    except ValueError:
        found = {}
    if 200 <= status < 300 and isinstance(found, dict):
        return found
    said = found if isinstance(found, dict) else {}
    message = str(said.get("message") or data[:300].decode(errors="replace"))
    if status in RETRYABLE:
        raise ApiAway(f"the API server answered {status}: {message}")
    raise ApiRefused(status, str(said.get("reason") or status), message)


def _experiment(namespace: str, name: str) -> str:
    return f"{EXPERIMENTS}/namespaces/{quote(namespace, safe='')}/tuneexperiments/{quote(name, safe='')}"


def _pod(namespace: str, name: str) -> str:
    return f"{CORE}/namespaces/{quote(namespace, safe='')}/pods/{quote(name, safe='')}"
