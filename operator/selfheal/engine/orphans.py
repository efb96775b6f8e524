"""Tickets of this cluster whose incident is gone: told once, released, pull request closed."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Sequence

from selfheal import ports
from selfheal.api.incident import Phase
from selfheal.api.policy import Policy
from selfheal.domain import conditions, errors, phases
from selfheal.domain.facts import PullRequestState, TicketFacts
from selfheal.domain.machine.mirrors import RELEASED
from selfheal.engine.deps import Deps, Systems

MANY = 5
SHARE = 0.1
"""More orphans than MANY that are more than this share of all: something else is wrong (api.md)."""

AT_MOST = 10_000
"""Open tickets of ours that a policy's search returns."""

log = logging.getLogger("selfheal.sweep")

Connect = Callable[[Policy], Awaitable[Systems]]


async def release(deps: Deps, connect: Connect) -> int:
    """Release the tickets of every policy whose incident is gone; return how many. May be repeated.

    A ticket is ours by the cluster's uid in its property; one that is Done is left alone.
    """
    if deps.read_only or deps.dry_run or not deps.cluster_uid:
        return 0
    released = 0
    for policy in await deps.store.list_policies():
        if policy.spec.suspend or not policy.spec.tracker.project:
            continue
        try:
            released += await _release_of(policy, deps, await connect(policy))
        except errors.SelfHealError as error:
            name = policy.metadata.name
            log.warning("orphans were not looked for", extra={"policy": name, "error": str(error)})
    return released


async def _release_of(policy: Policy, deps: Deps, systems: Systems) -> int:
    tracker = systems.tracker
    if tracker is None:
        return 0
    found = await tracker.search_tickets(
        build_jql(policy.spec.tracker.project or ""), limit=AT_MOST
    )
    # listed after the search: an incident is there before its ticket is
    incidents = await deps.store.list_incidents()
    followed = {one.status.ticket.key for one in incidents if one.status.ticket is not None}
    unknown = await tracker.get_tickets([key for key in found if key not in followed])
    uids = {one.metadata.uid for one in incidents}
    uids |= {one.status.identity.uid for one in incidents if one.status.identity is not None}
    lost = choose_orphans(list(unknown.values()), uids, deps.cluster_uid)
    held = len(lost) > MANY and len(lost) > SHARE * len(found)
    await _say(policy, deps, len(lost) if held else 0)
    if held:
        return 0
    for ticket in lost:
        await _release(ticket, policy, tracker, systems.code)
        log.info("ticket released", extra={"ticket": ticket.key})
    return len(lost)


def build_jql(project: str) -> str:
    """Return the search for open tickets that carry a phase of ours."""
    ours = ", ".join(f'"selfheal-phase-{phase}"' for phase in Phase)
    return f'project = "{project}" AND statusCategory != Done AND labels in ({ours})'


def choose_orphans(
    tickets: Sequence[TicketFacts], uids: Collection[str], cluster_uid: str
) -> list[TicketFacts]:
    """Return the tickets of this cluster that no incident follows; pure."""
    return [
        one
        for one in tickets
        if one.mirror is not None
        and one.mirror.cluster_uid == cluster_uid
        and one.mirror.uid not in uids
        and RELEASED not in one.labels
    ]


async def _say(policy: Policy, deps: Deps, held: int) -> None:
    """Say in the policy that so many orphans were left alone; unchanged, nothing is written."""
    known = await deps.store.get_policy(policy.metadata.name)
    changed = conditions.compute_orphans(
        known.status.conditions, held, generation=known.metadata.generation, now=deps.clock.now()
    )
    if changed != list(known.status.conditions):
        await deps.store.save_policy_status(known, known.status.evolve(conditions=changed))


async def _release(
    ticket: TicketFacts, policy: Policy, tracker: ports.IssueTracker, code: ports.CodeHost | None
) -> None:
    current = await tracker.get_ticket(ticket.id)
    done = phases.resolve_statuses(policy.spec.tracker.statuses)[Phase.INCIDENT_RESOLVED]
    if current.mirror is None or current.mirror != ticket.mirror or current.status in done:
        return
    uid = current.mirror.uid
    closed = [] if code is None else await _close_pulls(uid, current.key, policy, code)
    also = f" Its pull request was closed: {', '.join(closed)}." if closed else ""
    body = (
        "**The incident of this ticket is gone**: it was deleted in the cluster. Nobody works on "
        f"this ticket any more.{also} To have it taken in anew, take the label `{RELEASED}` off "
        "and move it to its first status, or file an incident that names it in `spec.ticketKey`."
    )
    await tracker.ensure_comment(current.key, marker=f"orphan/{uid}", body=body)
    await tracker.save_mirror(current, current.mirror, frozenset({RELEASED}))


async def _close_pulls(uid: str, ticket: str, policy: Policy, code: ports.CodeHost) -> list[str]:
    """Close what is open of an incident in the policy's repositories; return the URLs."""
    closed = []
    for repository in sorted({one.repository for one in policy.spec.code.repositories}):
        for branch in await code.list_branches(repository, "selfheal/"):
            if f"-{uid[:8]}-" not in branch:
                continue
            pull = await code.find_pull_request(repository, branch, "")
            if pull is None or pull.state is not PullRequestState.OPEN:
                continue
            body = f"Closed: the incident was deleted in the cluster (ticket {ticket})."
            marker = f"orphan/{uid}"
            await code.ensure_pull_request_comment(
                repository, pull.number, marker=marker, body=body
            )
            await code.close_pull_request(repository, pull.number)
            await code.delete_branch(repository, branch)
            closed.append(pull.url)
    return closed
