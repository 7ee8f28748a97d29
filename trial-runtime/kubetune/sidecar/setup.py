"""The sidecar's first step in a pod: puts launcher and SDK into the volume from which the trial's container takes them.

    FOLDER/kubetune-launch   the launcher
    FOLDER/sdk/kubetune/     what a program imports: nothing of the sidecar, nothing of the command line

Each appears whole, by rename, and what exists is not touched: a sidecar that is started again finds its work done, and the
launcher may be running by then.
"""

from __future__ import annotations

import os
from collections.abc import Callable

LAUNCHER, SDK = "kubetune-launch", "sdk"

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def install(launcher: str, folder: str) -> None:
    """Put the launcher, which lies at this path, and the SDK into the folder."""
    _once(os.path.join(folder, LAUNCHER), lambda aside: _copy(launcher, aside, 0o755))
    _once(os.path.join(folder, SDK), _copy_sdk)


def _once(path: str, make: Callable[[str], None]) -> None:
    if os.path.lexists(path):
        return
    aside = f"{path}.new"  # one that was left half made is written over
    make(aside)
    os.rename(aside, path)


def _copy_sdk(aside: str) -> None:
    package = os.path.join(aside, os.path.basename(_PACKAGE))
    os.makedirs(package, exist_ok=True)
    for folder in (aside, package):
        os.chmod(folder, 0o755)  # noqa: S103 - the program is another user
    for name in os.listdir(_PACKAGE):
        source = os.path.join(_PACKAGE, name)
        if os.path.isfile(source):  # the packages in it are not a program's business
            _copy(source, os.path.join(package, name), 0o644)


def _copy(source: str, target: str, mode: int) -> None:
    with open(source, "rb") as given, open(target, "wb") as made:
        made.write(given.read())
    os.chmod(target, mode)  # whatever the umask
