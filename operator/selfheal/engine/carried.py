"""Whether the cluster shows a merged change, by what kind of fix it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfheal.domain.facts import WorkloadFacts
from selfheal.engine import code_fix, node_group, related
from selfheal.engine.context import Context
from selfheal.remediation import serialise


async def shows_change(
    context: Context, workload: WorkloadFacts, content: Mapping[str, Any]
) -> bool:
    """Compare what runs with a stored proposal; may be repeated."""
    live = workload.manifest
    if live is None:
        return False
    if "code" in content:
        return await code_fix.is_live(context, live, content["code"])
    if "nodeGroup" in content:
        return node_group.is_live(workload, context)
    proposal = serialise.proposal_from_json(content["proposal"])
    return await related.carries_change(context, live, content, proposal)
