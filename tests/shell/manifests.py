"""Pod templates for tests."""

from __future__ import annotations

from typing import Any

Template = dict[str, Any]


def template(*args: Any, env: Any = None, **container: Any) -> Template:
    """Give a template of one container, `trial`, that runs `run` with these args."""
    filled = {"name": "trial", "command": ["run"], "args": list(args), **container}
    return {"spec": {"containers": [filled if env is None else {**filled, "env": env}]}}
