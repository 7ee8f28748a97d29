"""An experiment whose journal is open: the parts that work on it, and how they are put together. Who turns them is its `life`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kubetune_operator import api, manifests
from kubetune_operator.cluster import Wanted
from kubetune_operator.cluster.home import Home
from kubetune_operator.cluster.kubernetes import Api, Object
from kubetune_operator.cluster.output import Followed, Output
from kubetune_operator.cluster.pods import Pods
from kubetune_operator.core.standing import Key
from kubetune_operator.experiment import Experiment
from kubetune_operator.files import Files
from kubetune_operator.herald import Events, Herald, Statuses
from kubetune_operator.logs import Copies, Logs
from kubetune_operator.opening import Found
from kubetune_operator.publish import Publisher
from kubetune_operator.reconcile import Reconciler
from kubetune_operator.replaying import Replaying
from kubetune_operator.resource import retained
from kubetune_operator.settings import Settings
from kubetune_operator.volume import Volume


@dataclass(frozen=True, slots=True)
class Shared:
    """What all experiments of one operator share."""

    settings: Settings
    api: Api
    volume: Volume
    statuses: Statuses
    events: Events
    runtime: Callable[[], manifests.Runtime]  # as new pods get it: its CA certificate may change
    replaying: Replaying


@dataclass(frozen=True, slots=True)
class Opened:
    """The parts of one experiment."""

    wanted: api.Experiment
    experiment: Experiment
    pods: Pods
    reconciler: Reconciler
    publisher: Publisher
    copies: Copies
    output: Output

    async def close(self) -> None:
        """Let go of it. A report that was taken until then is in the files, too: its experiment may be deleted."""
        await self.output.close()
        await self.experiment.close()
        self.reconciler.part()


def put_together(shared: Shared, home: Home, found: Found, herald: Herald) -> Opened:
    """Make the parts that work on an experiment which was found; nothing is done yet."""
    experiment, folder = found.experiment, found.folder
    history = experiment.history
    mine = api.parse(experiment.body)

    def bound() -> Mapping[Key, str]:
        return {key: attempt.uid for key, attempt in history.open.items()}

    def manifest(one: Wanted, *, restricted: bool) -> Object:
        return manifests.pod(mine, home.uid, one, shared.runtime(), restricted=restricted)

    def kept(key: Key) -> bool:
        return retained(history, mine.trial.retain_pods, key)

    pods = Pods(shared.api, home, manifest, bound, kept, herald.warn)
    publisher = Publisher(history, mine.name, Files(folder, events=mine.tensorboard), herald)
    copies = Copies(Logs(folder, mine.logs.files, mine.logs.max_bytes_per_trial), home.experiment)
    output = Output(shared.api, home.namespace, copies)
    cluster = pods if manifests.wraps(mine) or not mine.logs.files else Followed(pods, output)
    reconciler = Reconciler(experiment, cluster, publisher, shared.replaying)
    return Opened(mine, experiment, pods, reconciler, publisher, copies, output)
