"""The operator's process: python -m kubetune_operator. Wiring, start and end; crash-only: what fails for good ends all of it.

Start order: volume, then what reports need, then the API. The intake serves without the API server; the kubelet starts us again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import time

from kubetune_operator import handlers, manifests
from kubetune_operator.authority import Authority
from kubetune_operator.cluster.kubernetes import Api
from kubetune_operator.errors import KubetuneError
from kubetune_operator.experiments import Experiments
from kubetune_operator.health import Health
from kubetune_operator.herald import Events, Statuses
from kubetune_operator.identity import Verifier
from kubetune_operator.intake import Intake
from kubetune_operator.opened import Shared
from kubetune_operator.replaying import Replaying
from kubetune_operator.settings import Settings
from kubetune_operator.volume import Volume

logger = logging.getLogger("kubetune_operator")


def main() -> int:
    """Run the operator until it is told to end (0) or cannot go on (1)."""
    try:
        settings = Settings.read(os.environ)
        _log(settings)
        return asyncio.run(_run(settings))
    except KubetuneError as error:
        sys.stderr.write(f"kubetune: {error}\n")
        return 1


async def _run(settings: Settings) -> int:
    volume = Volume(settings.root)
    authority = _authority(settings)
    api = await Api.connect()
    statuses = Statuses(api)
    end: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    def finish(error: BaseException | None) -> None:
        if not end.done():
            end.set_result(error)

    def runtime() -> manifests.Runtime:
        return manifests.Runtime(
            image=settings.runtime_image,
            pull_policy=settings.runtime_pull_policy,
            endpoint=settings.endpoint,
            ca_pem=authority.ca_pem,
            resources=settings.sidecar_resources,
        )

    events = Events(api, os.environ.get("HOSTNAME", "kubetune-operator"))
    shared = Shared(settings, api, volume, statuses, events, runtime, Replaying())
    experiments = Experiments(shared, Verifier(api.raw), finish)
    intake = Intake(experiments.identify, keep=experiments.keep)
    watching, stop = asyncio.Event(), asyncio.Event()
    health = Health(watching.is_set)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, finish, None)
    await intake.open("", settings.intake_port, ssl_context=authority.context)
    await health.open(settings.health_port)
    logger.info("volume %s; reports are taken at %s", volume.identity, settings.endpoint)
    tasks = [
        asyncio.create_task(handlers.watch(experiments, settings.watched, stop, watching), name="kopf"),
        asyncio.create_task(statuses.run(), name="statuses"),
        asyncio.create_task(authority.renew(), name="authority"),
    ]
    for task in tasks:
        task.add_done_callback(lambda done: finish(None if done.cancelled() else done.exception()))
    try:
        error = await end
    finally:
        stop.set()
        await experiments.close()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=5.0)
        await intake.close()
        await health.close()
        await api.close()
    if error is not None:
        logger.error("ending: %s: %s", type(error).__name__, error, exc_info=error)
        return 1
    return 0


def _authority(settings: Settings) -> Authority:
    if settings.tls is not None:
        return Authority.mounted(settings.tls, settings.service)
    return Authority.open(settings.root / "authority", _names(settings))


def _names(settings: Settings) -> tuple[str, ...]:
    name, namespace = settings.service.split(".")[:2]
    return (f"{name}.{namespace}.svc", f"{name}.{namespace}.svc.cluster.local", f"{name}.{namespace}")


class _Json(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "ts": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
        }
        if record.exc_info:
            said["error"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False)


def _log(settings: Settings) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(
        _Json() if settings.log_format == "json" else logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])
    logging.getLogger("kopf").setLevel(logging.WARNING)


if __name__ == "__main__":
    sys.exit(main())
