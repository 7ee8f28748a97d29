"""The parent of one trial's program on this machine: `spawner` forks it; alone it is python -I -S .../agent.py FOLDER [--drain].

FOLDER is as `folder` says. With --drain an agent that died is cleaned up after: its program is killed and its reports are sent.
Exit code 0: all is sent; 2: FOLDER cannot be used; 3: another agent has or had this trial; 4: not all could be sent in time.
"""

from __future__ import annotations

import os
import sys

_HERE = os.path.abspath(__file__)
sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(_HERE))))  # the last place: nothing hides the standard library

from kubetune.sidecar import log  # noqa: E402 - found by the line above
from kubetune.sidecar.folder import Folder  # noqa: E402
from kubetune.sidecar.intake import Intake, written  # noqa: E402
from kubetune.sidecar.program import Pod  # noqa: E402
from kubetune.sidecar.shipper import Shipper  # noqa: E402
from kubetune.sidecar.supervisor import Supervisor  # noqa: E402
from kubetune.sidecar.tail import Tail  # noqa: E402

UNUSABLE, CLAIMED = 2, 3


def run(path: str, *, drain: bool) -> int:
    """Run, or clean up after, the trial of one folder; give the exit code."""
    folder = Folder(path)
    try:
        if not folder.claim(again=drain):
            return CLAIMED
        pod = Pod(folder.pod)
        os.close(os.open(folder.reports, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        log.say(f"{folder.pod}: {type(error).__name__}: {error}")
        return UNUSABLE
    intake = Intake(lambda: written(pod.endpoint), folder.token)
    supervisor = Supervisor(folder, pod, Shipper(folder, Tail(folder.reports), intake))
    return supervisor.drain() if drain else supervisor.run()


def main(arguments: list[str]) -> int:
    """Read the command line, and run."""
    paths = [argument for argument in arguments if argument != "--drain"]
    if len(paths) != 1:
        log.say("usage: agent.py FOLDER [--drain]")
        return UNUSABLE
    return run(paths[0], drain="--drain" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
