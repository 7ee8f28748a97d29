"""The CustomResourceDefinition, made from the models: `python -m kubetune_operator.api.crd [FILE]` writes it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from kubetune_operator.api.base import MUTABLE, RULES, extra
from kubetune_operator.api.identity import API_VERSION, GROUP, KIND, MAX_NAME, VERSION
from kubetune_operator.api.schema import Schema, immutable, structural
from kubetune_operator.api.spec import Spec
from kubetune_operator.api.status import Status

PLURAL = "tuneexperiments"
FILE = Path("crds") / f"{GROUP}_{PLURAL}.yaml"  # from the root of the repository
_HEADER = "# Made by `make crds` from the models in operator/kubetune_operator/api. Do not edit.\n"

_FINISHED = '.status.conditions[?(@.type=="Finished")]'
_COLUMNS = (
    # name, type, path, priority, description
    ("State", "string", f"{_FINISHED}.reason", 0, "What the experiment does, or how it ended"),
    ("Trials", "string", ".status.progress", 0, "Ended trials of all"),
    ("Running", "integer", ".status.trials.running", 0, "Trials that run"),
    ("Failed", "integer", ".status.trials.failed", 0, "Trials that failed"),
    ("Best", "string", ".status.bestTrial.value", 0, "The best value of the objective so far"),
    ("Age", "date", ".metadata.creationTimestamp", 0, "Time since the experiment was created"),
    ("Algorithm", "string", ".status.algorithm", 1, "Searcher and scheduler"),
    ("Objective", "string", ".spec.objective.metric", 1, "The reported value that is looked at"),
    ("Best-Trial", "string", ".status.bestTrial.name", 1, "The trial that has it"),
    ("Parallel", "integer", ".spec.maxConcurrentTrials", 1, "How many trials run at once, at most"),
    ("Finish-Time", "date", ".status.finishTime", 1, "When it finished"),
    ("Message", "string", f"{_FINISHED}.message", 1, "More about the state"),
)
_SELECTABLE = (".spec.suspend", ".spec.objective.metric", ".status.state")

_NAME = f"must have at most {MAX_NAME} lower-case letters, digits and -, as pods are named after it"
_ROOT_RULES = [
    {
        "rule": f"self.metadata.name.size() <= {MAX_NAME} && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
        "message": _NAME,
        "messageExpression": f"'{_NAME}, got %s'.format([self.metadata.name])",
        "fieldPath": ".metadata.name",
        "reason": "FieldValueInvalid",
    },
    {
        # Only a lowering is looked at, so that no status update can be refused by this.
        "rule": "self.spec.numSamples >= oldSelf.spec.numSamples || !has(self.status) || !has(self.status.trials)"
        " || self.spec.numSamples * (has(self.status.gridSize) ? self.status.gridSize : 1) >= self.status.trials.started",
        "message": "must not have fewer trials than have been started",
        "fieldPath": ".spec.numSamples",
        "reason": "FieldValueInvalid",
    },
]


def manifest() -> dict[str, Any]:
    """Make the CRD."""
    names = {
        "kind": KIND,
        "listKind": f"{KIND}List",
        "plural": PLURAL,
        "singular": KIND.lower(),
        "shortNames": ["tune"],
        "categories": ["tuning"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{PLURAL}.{GROUP}",
            "labels": {"app.kubernetes.io/name": "kubetune", "app.kubernetes.io/part-of": "kubetune"},
        },
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [_version()]},
    }


def _version() -> dict[str, Any]:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.maxConcurrentTrials",
                "statusReplicasPath": ".status.trials.running",
                "labelSelectorPath": ".status.selector",
            },
        },
        "additionalPrinterColumns": [_column(*column) for column in _COLUMNS],
        "selectableFields": [{"jsonPath": path} for path in _SELECTABLE],
        "schema": {"openAPIV3Schema": _root()},
    }


def _column(name: str, kind: str, path: str, priority: int, description: str) -> dict[str, Any]:
    column = {"name": name, "type": kind, "jsonPath": path, "description": description}
    return column | ({"priority": priority} if priority else {})


def _root() -> Schema:
    spec = structural(Spec, mutability=True)
    immutable(spec, {str(field.alias) for field in Spec.model_fields.values() if extra(field).get(MUTABLE)})
    status = structural(Status, mutability=False)
    status["default"] = {"observedGeneration": -1}  # so that nobody takes an object that was never looked at for a current one
    return {
        "type": "object",
        "description": "A tuning experiment: trials of one program, each a pod, whose parameters are searched for.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"{API_VERSION}."},
            "kind": {"type": "string", "description": f"{KIND}."},
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},  # which a rule points at
            "spec": spec,
            "status": status,
        },
        RULES: _ROOT_RULES,
    }


class _Dumper(yaml.SafeDumper):
    """Write every value out: aliases save space, but nobody reads them."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def text() -> str:
    """Give the CRD as the file has it."""
    return _HEADER + yaml.dump(manifest(), Dumper=_Dumper, sort_keys=False, width=130, allow_unicode=True)


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else FILE).write_text(text(), encoding="utf-8")
