"""Every version of the test cluster. Go modules are pinned in go/*/go.mod, with sums beside; they are read there, not repeated.

kubectl and Helm are pinned in requirements/e2e.txt.
"""

from __future__ import annotations

import re
from pathlib import Path

GO = Path(__file__).parent / "go"

# Of the kind release in go/kind/go.mod: its release notes name the images built for it.
OFFICIAL_IMAGE = "kindest/node:v1.35.8@sha256:07b2536e30b803ed61d1677a79df6115f798ce64c80f9e22f6ed45afd09323c0"

NODE_SUITE = "bookworm"  # its containerd 1.6 is the oldest that Kubernetes 1.35 accepts
PYTHON_SUITE = "trixie"  # its Python is 3.13
PYTHON_IMAGE = "docker.io/library/python:3.13-slim"


def module(folder: str, path: str) -> str:
    """Give the version of a Go module that go/<folder>/go.mod pins."""
    found = re.search(rf"^(?:require)?\s+{re.escape(path)} (v\S+)", (GO / folder / "go.mod").read_text(), re.MULTILINE)
    if not found:
        raise LookupError(f"{path} is not required by {GO / folder / 'go.mod'}")
    return found[1]


KUBERNETES = module("kubernetes", "k8s.io/kubernetes")
KIND = module("kind", "sigs.k8s.io/kind")
