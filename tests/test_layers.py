"""The import contracts of pyproject.toml hold, and a deliberate breach of each fails the build."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINT_IMPORTS = Path(sysconfig.get_path("scripts")) / "lint-imports"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Copy both packages and the contracts, so that a breach can be written into them."""
    for package in (ROOT / "operator/kubetune_operator", ROOT / "trial-runtime/kubetune"):
        shutil.copytree(package, tmp_path / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts on the packages in `folder`, not on the installed ones."""
    return subprocess.run(
        [LINT_IMPORTS, "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_contracts_hold(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.slow  # each is a whole run of the linter
@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        pytest.param("kubetune_operator/core/trials.py", "import time", "Core is pure", id="core-reads-the-clock"),
        pytest.param("kubetune_operator/core/plan.py", "from datetime import datetime", "Core is pure", id="core-reads-the-date"),
        pytest.param("kubetune_operator/core/history.py", "import pathlib", "Core is pure", id="core-touches-files"),
        pytest.param("kubetune_operator/core/plan.py", "import asyncio", "Core is pure", id="core-runs-a-loop"),
        pytest.param("kubetune_operator/core/spec.py", "import pydantic", "Core is pure", id="core-needs-a-library"),
        pytest.param("kubetune_operator/errors.py", "import os", "Core is pure", id="core-touches-files-through-another"),
        pytest.param("kubetune_operator/core/bounds.py", "import kubetune_operator.core.plan", "Inside core", id="up-in-core"),
        pytest.param("kubetune_operator/errors.py", "import kubetune_operator.core.bounds", "The operator's layers", id="up"),
        pytest.param("kubetune_operator/files.py", "import kubetune_operator.journal", "The operator's layers", id="a-sibling"),
        pytest.param(
            "kubetune_operator/core/schedulers/fifo.py",
            "import kubetune_operator.core.schedulers.asha",
            "No searcher or scheduler knows another",
            id="a-scheduler-knows-another",
        ),
        pytest.param("kubetune/wire.py", "import requests", "the standard library only", id="the-runtime-needs-a-library"),
        pytest.param("kubetune/wire.py", "import kubetune._report", "The trial runtime's layers", id="the-wire-knows-the-sdk"),
        pytest.param(
            "kubetune/_trial.py", "import kubetune_operator.errors", "nothing of the operator", id="the-sdk-knows-the-operator"
        ),
        pytest.param("kubetune_operator/journal.py", "import kubetune._report", "only the wire", id="the-operator-uses-the-sdk"),
    ],
)
def test_a_breach_is_found(copy: Path, module: str, line: str, broken: str) -> None:
    with (copy / module).open("a") as file:
        file.write(f"\n{line}\n")
    done = lint(copy)
    assert done.returncode == 1, done.stdout + done.stderr
    assert any(broken in found and "BROKEN" in found for found in done.stdout.splitlines()), done.stdout


def test_a_module_without_a_place_is_found(copy: Path) -> None:
    (copy / "kubetune_operator/core/stray.py").write_text('"""Belongs nowhere."""\n')
    done = lint(copy)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "stray" in done.stdout
