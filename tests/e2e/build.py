"""Builds the images that the suite installs, before it starts: inside the cluster's network there is no index to install from.

python -m tests.e2e.build      prints the docker-archives, for KUBETUNE_IMAGES
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.cluster import cluster, images, kind, progress

ROOT = Path(__file__).parents[2]
VERSION = re.findall(r'^version = "(.*)"$', (ROOT / "operator/pyproject.toml").read_text(), re.MULTILINE)[0]
INPUTS = {  # what each image depends on, so that only what has changed is built anew
    "operator": ("requirements/operator.txt", "operator/kubetune_operator", "trial-runtime/kubetune"),
    "runtime": ("requirements/launcher.txt", "trial-runtime"),
    "examples": ("requirements/examples.txt", "examples"),
}


def main() -> int:
    """Build them all."""
    found = cluster.current()
    try:
        docker = found.docker if found else kind.Docker(private=not cluster.official())
        for target, inputs in INPUTS.items():
            tag = f"docker.io/kubetune/{target}:{VERSION}"
            paths = [ROOT / each for each in inputs]
            print(images.build(ROOT / "Dockerfile", target, tag=tag, inputs=paths, docker=docker), flush=True)
    except progress.CannotHave as error:  # no cluster then, which is for `tests.cluster` to judge
        progress.say(f"no images: {error}")
    except progress.Failed as error:
        progress.say(f"failed: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
