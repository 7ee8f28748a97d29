"""One tool's side of the comparison, run in that tool's environment: reads what to do, says what each rule found.

python -m tests.bench.quality.side ray '{"tables": [...], "seeds": 30, ...}'     a line of JSON for each rule, table and world
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.quality import loop, tables


def main(tool: str, task: dict[str, Any]) -> int:
    """Run every rule of the tool."""
    rules: dict[str, Callable[[int, int], loop.Rule]] = importlib.import_module(f"tests.bench.quality.{tool}_rules").RULES
    for path in task["tables"]:
        table = tables.read(Path(path))
        for world in loop.worlds(table, task):
            for name, make in rules.items():
                found = [loop.run(make(table.length, seed), table, table.order(seed), world) for seed in range(task["seeds"])]
                where = {"table": table.name, "workers": world.workers, "start": world.start}
                print(json.dumps({"rule": name, **where, "found": found}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], json.loads(sys.argv[2])))
