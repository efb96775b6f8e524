"""Whether logs of a namespace may go to the model; pure."""

from __future__ import annotations

from collections.abc import Mapping

from selfheal.api import policy


def may_share_logs(model: policy.ModelSpec | None, labels: Mapping[str, str]) -> bool:
    """Return whether the model's namespaceSelector selects a namespace; absent: it selects none."""
    selector = model.namespace_selector if model is not None else None
    if selector is None:
        return False
    return all(labels.get(key) == value for key, value in selector.match_labels.items())
