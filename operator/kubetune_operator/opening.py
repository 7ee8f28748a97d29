"""Opening a TuneExperiment's journal, or beginning one, or saying why neither can be. What comes of it then is in `life`.

The journal comes first: where there is one, it says what the experiment is, whatever the resource says by now.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from kubetune_operator.checked import check, spec_of
from kubetune_operator.cluster.kubernetes import Object
from kubetune_operator.core.records import Created
from kubetune_operator.errors import InvalidSpec, JournalEmpty, JournalError, JournalTooNew
from kubetune_operator.experiment import Experiment, Past
from kubetune_operator.files import ExperimentFolder
from kubetune_operator.volume import Volume

RESTART = "kubetune.dev/restart"  # an annotation: the uid of the experiment that is to start anew without its journal


class Stall(Exception):
    """Why an experiment cannot be opened: a reason of its condition, and what to do. `final`: nothing will ever come of it."""

    def __init__(self, reason: str, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.final = final


@dataclass(frozen=True, slots=True)
class Found:
    """An experiment whose journal is open; without a past, it has just begun."""

    experiment: Experiment
    folder: ExperimentFolder
    past: Past | None


def open_journal(volume: Volume, resource: Object) -> Found:
    """Open the journal of this resource, or begin it. Raises Stall, or OSError."""
    metadata = resource["metadata"]
    folder = volume.folder(metadata["namespace"], metadata["name"], metadata["uid"])
    if volume.has_journal(folder):
        try:
            return _resume(folder)
        except JournalEmpty:  # we were killed while we began it: nothing has come of it yet
            pass
    known = (resource.get("status") or {}).get("journal") or {}
    restart = (metadata.get("annotations") or {}).get(RESTART) == metadata["uid"]
    if known.get("uid") == metadata["uid"] and not restart:
        raise Stall(
            "JournalMissing",
            f"its journal is on volume {known.get('volumeID')}, which is not mounted or has lost it (mounted: "
            f"{volume.identity}); bring that volume back, or start anew and lose what was found: "
            f"kubectl annotate tuneexperiment {metadata['name']} {RESTART}={metadata['uid']}",
        )
    return _begin(volume, resource)


def _resume(folder: ExperimentFolder) -> Found:
    try:
        experiment, past = Experiment.resume(folder.path, spec_of, time.time)
    except JournalEmpty:
        raise
    except JournalTooNew as error:
        raise Stall("JournalTooNew", str(error)) from error
    except InvalidSpec as error:
        raise Stall("JournalTooNew", f"what its journal says it is, this version cannot carry out: {error}") from error
    except JournalError as error:
        raise Stall("JournalDamaged", str(error)) from error
    return Found(experiment, folder, past)


def _begin(volume: Volume, resource: Object) -> Found:
    metadata = resource["metadata"]
    try:
        wanted = check(resource, seed=random.SystemRandom().randrange(2**31), here=False)
    except InvalidSpec as refusal:
        raise Stall("InvalidSpec", str(refusal), final=True) from refusal
    folder = ExperimentFolder.create(volume.results, metadata["namespace"], metadata["name"], metadata["uid"])
    created = Created(wanted.name, wanted.namespace, metadata["uid"], wanted.body, time.time())
    return Found(Experiment.create(folder.path, created, wanted.spec, time.time), folder, None)
