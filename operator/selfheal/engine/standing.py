"""The stored proposal that stands in the pull request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfheal.domain import errors
from selfheal.engine.context import Context
from selfheal.engine.deps import require_code
from selfheal.remediation import serialise
from selfheal.remediation.edits import Proposal


async def sign(context: Context, message: str) -> str:
    """Return a commit message, signed off where the policy wants it (developercertificate.org)."""
    mapped = context.repository
    if mapped is None or not mapped.pull_request.sign_off:
        return message
    signer = await require_code(context.systems).get_signer(mapped.repository)
    return f"{message}\n\nSigned-off-by: {signer}"


async def read_proposal(context: Context) -> tuple[Proposal, Mapping[str, Any]]:
    """Return the proposal that status names, with all that is stored beside it."""
    ref = context.status.fix.proposal_ref if context.status.fix else None
    found = await context.deps.store.find_document(context.namespace, ref) if ref else None
    if found is None or "proposal" not in found.content:
        raise errors.HandOver("ProposalMissing", f"The stored proposal {ref} is gone.")
    return serialise.proposal_from_json(found.content["proposal"]), found.content
