"""What stands in for an API server where a test says what goes wrong with it: real HTTP on the loopback, and the client to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

from kubetune_operator.cluster.kubernetes import Api

PODS = "/api/v1/namespaces/team/pods"


class StandIn:
    """Serves these routes."""

    def __init__(self, routes: Sequence[web.RouteDef]) -> None:
        app = web.Application()
        app.add_routes(routes)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

    async def open(self) -> str:
        """Listen; give the URL."""
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        """Listen no more."""
        await self._runner.cleanup()


@asynccontextmanager
async def api_of(url: str) -> AsyncIterator[Api]:
    """Give the client to one that listens there."""
    api = Api(ApiClient(Configuration(host=url)))
    try:
        yield api
    finally:
        await api.close()
