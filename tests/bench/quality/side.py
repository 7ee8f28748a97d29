"""One rule of one tool, run in that tool's environment: reads what to do, says what the rule found.

python -m tests.bench.quality.side ray 'Ray ASHA' TABLE '{"seeds": 30, ...}'     a line of JSON for each world
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.quality import loop, tables


def main(tool: str, rule: str, path: Path, task: dict[str, Any]) -> int:
    """Run the rule on the table, in every world."""
    make: Callable[[int, int], loop.Rule] = importlib.import_module(f"tests.bench.quality.{tool}_rules").RULES[rule]
    table = tables.read(path)
    for world in loop.worlds(table, task):
        found = [loop.run(make(table.length, seed), table, table.order(seed), world) for seed in range(task["seeds"])]
        print(
            json.dumps({"rule": rule, "table": table.name, "workers": world.workers, "start": world.start, "found": found}),
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), json.loads(sys.argv[4])))
