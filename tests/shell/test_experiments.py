"""All experiments of one operator, and whose pod a token is. The lives are of resources that cannot be taken up, so none goes far."""

from __future__ import annotations
