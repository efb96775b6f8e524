"""JSON merge patches (RFC 7386); pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def compute(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return what turns ``before`` into ``after``: explicit nulls for what is gone, lists whole."""
    patch: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        old = before.get(name)
        if name in before and old == value:
            continue
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            patch[name] = compute(old, value)
        else:
            patch[name] = value
    return patch
