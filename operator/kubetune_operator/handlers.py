"""kopf, as a bell: it watches experiments and their pods, and each event rings. The one importer of kopf.

Only event handlers are used, so kopf writes nothing on any object: no finalizer, no annotation, no status. What the bell is
for is in `experiments`. kopf never comes back: when it ends, for whatever reason, the process is to end.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import kopf

from kubetune_operator.experiments import Experiments
from kubetune_operator.reserved import EXPERIMENT

GROUP, VERSION, PLURAL = "kubetune.dev", "v1alpha1", "tuneexperiments"
LOGIN_FOR = dt.timedelta(minutes=45)  # then the token is read anew: kopf does so on a 401 alone
Login = Callable[..., Any]


class _Everything(Collection[Any]):
    """Every task: kopf is not to cancel those of others in its loop."""

    def __contains__(self, _: object) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0


class _NoDiffs(kopf.DiffBaseStorage):
    """No handler of ours asks for differences, and making them is most of what an event costs."""

    def build(self, *, body: Any, extra_fields: Any = None) -> Any:
        return {}

    def fetch(self, *, body: Any) -> Any:
        return None

    async def store(self, **_: Any) -> None:  # type: ignore[override]
        return None


async def watch(experiments: Experiments, namespaces: Collection[str], stop: asyncio.Event, ready: asyncio.Event) -> None:
    """Watch until `stop`; `ready` is set once each experiment that was there has been heard of."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(_login)

    async def seen_experiment(*, body: Mapping[str, Any], type: str | None, **_: Any) -> None:  # noqa: A002 - kopf's name
        if type != "DELETED":
            experiments.hear_experiment(body, listed=type is None)
        else:
            experiments.hear_experiment(body, listed=False)

    async def seen_pod(*, body: Mapping[str, Any], type: str | None, **_: Any) -> None:  # noqa: A002 - kopf's name
        experiments.hear_pod(body, deleted=type == "DELETED", listed=type is None)

    kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)(seen_experiment)
    kopf.on.event("v1", "pods", registry=registry)(seen_pod)
    started = asyncio.Event()
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=_settings(),
        namespaces=list(namespaces),
        clusterwide=not namespaces,
        standalone=True,
        identity="kubetune",  # type: ignore[arg-type]  # it would ask for a user name, and the image has none
        stop_flag=stop,
        ready_flag=started,
    )

    async def hear() -> None:
        await started.wait()  # kopf says so before it has asked for anything
        await experiments.heard(namespaces)
        ready.set()

    hearing = asyncio.create_task(hear(), name="hearing")
    try:
        await kopf.run_tasks(tasks, ignored=_Everything())
    finally:
        hearing.cancel()


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.networking.connect_timeout = 10
    settings.networking.request_timeout = 60
    settings.watching.label_selectors["v1", "pods"] = EXPERIMENT
    settings.watching.chunk_size = 500
    settings.queueing.idle_timeout = 1.0
    settings.persistence.finalizer = f"{GROUP}/finalizer"
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=f"kopf.{GROUP}", v1=False)
    return settings


def _login(**arguments: Any) -> kopf.ConnectionInfo | None:
    found = kopf.login_with_service_account(**arguments) or kopf.login_with_kubeconfig(**arguments)
    return dataclasses.replace(found, expiration=dt.datetime.now(dt.UTC) + LOGIN_FOR) if found else None
