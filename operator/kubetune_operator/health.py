"""Whether the operator lives and is ready, for the kubelet. Liveness is that the event loop turns, and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from aiohttp import web

TURN, LATEST = 1.0, 30.0  # seconds between two looks at the clock, and without one until the loop counts as stuck


class Health:
    """Serves /healthz and /readyz in plain HTTP: they say nothing about anybody."""

    def __init__(self, ready: Callable[[], bool]) -> None:
        """`ready` says whether reports are taken and events heard."""
        self._ready = ready
        self._turned = time.monotonic()
        self._runner: web.AppRunner | None = None
        self._turning: asyncio.Task[None] | None = None

    async def open(self, port: int) -> None:
        """Listen on all addresses."""
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, None, port).start()
        self._turning = asyncio.create_task(self._turn())

    async def close(self) -> None:
        """Stop listening."""
        if self._turning is not None:
            self._turning.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _turn(self) -> None:
        while True:
            self._turned = time.monotonic()
            await asyncio.sleep(TURN)

    async def _healthz(self, _: web.Request) -> web.Response:
        late = time.monotonic() - self._turned
        return web.Response(status=200 if late < LATEST else 500, text=f"the event loop turned {late:.1f} s ago\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        ready = self._ready()
        return web.Response(status=200 if ready else 503, text="ready\n" if ready else "not ready: still starting\n")
