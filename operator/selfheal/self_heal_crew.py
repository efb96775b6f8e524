"""The original programmatic call: a crew that processes a namespace's incidents, synchronously.

``python -m selfheal.self_heal_crew`` is ``selfheal once``.
"""

from __future__ import annotations

import asyncio
import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from selfheal.api.incident import Priority
from selfheal.cli import once
from selfheal.domain import errors
from selfheal.settings import Settings

NAMESPACE = "production"
"""The original's default namespace."""
KEYS = frozenset({"namespace", "priority_threshold", "incident_keywords"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class SelfHealingCrew:
    """The crew of five agents behind the original's call; holds no connection between calls."""

    settings: Settings

    def execute_self_healing_workflow(
        self, inputs: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Step every incident of ``namespace`` until it must wait; return plain values.

        The answer holds ``success``, ``incidents``, ``counts``, ``errors``, ``usage`` and
        ``duration`` (seconds). What goes wrong outside, such as an unreachable cluster, is an entry
        of ``errors``; inputs that cannot be understood raise ValueError. May be repeated: it
        resumes. Must not be called from a running event loop (RuntimeError).

        New tickets are taken in first, where the policy says so; ``priority_threshold`` (High) and
        ``incident_keywords`` narrow which. Every incident that exists in the namespace is processed
        whatever its priority, as applied incidents always are.
        """
        given = inputs or {}
        namespace = _check(given)
        settings = self.settings.model_copy(
            update={
                "intake_namespace": namespace,
                "intake_priority": Priority(given.get("priority_threshold", Priority.HIGH)),
                "intake_keywords": tuple(given.get("incident_keywords") or ()),
            }
        )
        try:
            return asyncio.run(once.run_once(settings, namespace))
        except errors.SelfHealError as error:
            return once.render_result([], [str(error)], 0.0)


def create_self_healing_crew(config_path: str | pathlib.Path | None = None) -> SelfHealingCrew:
    """Return the crew, set up from the environment; nothing is sent yet.

    ``config_path`` is a folder with ``self_heal_agents.yaml`` and ``self_heal_tasks.yaml``; None:
    the packaged ones, or SELFHEAL_CONFIG_PATH. Raises pydantic.ValidationError for a wrong
    environment.
    """
    if config_path is None:
        return SelfHealingCrew(settings=Settings())
    return SelfHealingCrew(settings=Settings(config_path=pathlib.Path(config_path)))


def _check(inputs: Mapping[str, Any]) -> str:
    """Return the namespace; ValueError for inputs that the call does not know."""
    unknown = sorted(inputs.keys() - KEYS)
    if unknown:
        raise ValueError(f"unknown inputs {', '.join(unknown)}; known: {', '.join(sorted(KEYS))}")
    priority = inputs.get("priority_threshold", Priority.HIGH.value)
    known = [one.value for one in Priority]
    if priority not in known:
        raise ValueError(f"priority_threshold {priority!r} is none of {', '.join(known)}")
    keywords = inputs.get("incident_keywords") or []
    if isinstance(keywords, str) or not all(isinstance(word, str) for word in keywords):
        raise ValueError("incident_keywords must be a list of texts")
    namespace = inputs.get("namespace", NAMESPACE)
    if not isinstance(namespace, str) or not namespace:
        raise ValueError("namespace must be a name")
    return namespace


if __name__ == "__main__":
    once.once()
