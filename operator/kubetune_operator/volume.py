"""The operator's volume: its identity, and where an experiment's folder is on it. What is in that folder is not known here."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

from kubetune_operator.errors import KubetuneError
from kubetune_operator.files import ExperimentFolder
from kubetune_operator.journal import epochs

logger = logging.getLogger(__name__)
IDENTITY, RESULTS, NAMESPACE_UID = "volume-id", "results", ".namespace-uid"


class Volume:
    """A mounted volume."""

    def __init__(self, root: Path) -> None:
        """Read the volume's identity, or give it one. Raises KubetuneError where it cannot be written."""
        self.root = root
        self.results = root / RESULTS
        try:
            self.results.mkdir(parents=True, exist_ok=True)
            self.identity = _identity(root / IDENTITY)
        except OSError as error:
            raise KubetuneError(
                f"{root}: the volume cannot be used: {error.strerror}; is it mounted, and ours to write?"
            ) from error
        self._settled: dict[str, str] = {}  # namespaces by name: the uid for which its folder was looked at

    async def settle(self, namespace: str, uid_of: Callable[[str], Awaitable[str]]) -> None:
        """See that the folder of this namespace is of today's: one of an earlier namespace of that name is put aside.

        Asked each time: a namespace may be deleted and made anew while we run.
        """
        uid = await uid_of(namespace)
        if self._settled.get(namespace) == uid:
            return
        folder = self.results / namespace
        mark = folder / NAMESPACE_UID
        known = mark.read_text().strip() if mark.exists() else ""
        if known and known != uid:
            aside = self.results / f"{namespace}.{known[:8]}"
            if aside.exists():
                raise KubetuneError(
                    f"{aside}: must not be there, as the results of an earlier namespace {namespace} belong there"
                )
            logger.warning("namespace %s is not the one that it was: its earlier results are in %s now", namespace, aside)
            folder.rename(aside)
        if known != uid:
            folder.mkdir(exist_ok=True)
            _write(mark, uid)
        self._settled[namespace] = uid

    def folder(self, namespace: str, name: str, uid: str) -> ExperimentFolder:
        """Say where this experiment's folder is, whether or not there is one."""
        return ExperimentFolder.of(self.results, namespace, name, uid)

    def has_journal(self, folder: ExperimentFolder) -> bool:
        """Say whether the folder holds a journal."""
        return folder.path.is_dir() and bool(list(epochs(folder.path)))


def _identity(path: Path) -> str:
    try:
        known = path.read_text().strip()
    except FileNotFoundError:
        known = ""
    if not known:
        known = str(uuid.uuid4())
        _write(path, known)
    return known


def _write(path: Path, text: str) -> None:
    aside = path.with_name(f"{path.name}.tmp")
    with aside.open("w") as file:
        file.write(f"{text}\n")
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
