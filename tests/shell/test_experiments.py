"""All experiments of one operator, and whose pod a token is. The lives are of resources that cannot be taken up, so none goes far."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from kubetune_operator.cluster.kubernetes import Api, ApiAway, Object
from kubetune_operator.errors import AttemptClosed, Forbidden, KubetuneError, Unavailable
from kubetune_operator.experiments import Experiments
from kubetune_operator.herald import Events, Statuses
from kubetune_operator.identity import Claims, Verifier
from kubetune_operator.life import Shared
from kubetune_operator.manifests import Runtime
from kubetune_operator.settings import Settings
from kubetune_operator.volume import Volume
