"""PR_MERGED to VERIFICATION_COMPLETE: the merged commit reaches the cluster and proves itself."""

from __future__ import annotations

import datetime as dt

from selfheal.api.incident import Phase, Resolution
from selfheal.api.policy import OnFailure
from selfheal.domain.decisions import Act, Advance, Decision, Escalate, Wait
from selfheal.domain.effects import EffectKind, Milestone
from selfheal.domain.facts import DeliveryState, WorkloadFacts
from selfheal.domain.machine import hopeless, recovery
from selfheal.domain.machine.fixing import precondition
from selfheal.domain.view import View

LOOK = dt.timedelta(seconds=5)
"""Pause between two looks at a rollout or at the checks; both cost one read of our own cluster."""


def _missing(view: View) -> Decision | None:
    known = view.status.pull_request
    if known is None or known.merge_sha is None:
        pull = view.pull() if known is not None else None
        if pull is None or pull.merge_sha is None:
            return precondition(view, "a merged pull request")
    return None


def _failure(view: View) -> Escalate | None:
    delivery = view.fact("delivery")
    if delivery is not None and delivery.state is DeliveryState.FAILURE:
        return Escalate(
            reason="DeploymentFailed",
            message=(
                f"Delivery of {delivery.revision[:8]} failed: {delivery.message or delivery.url}"
            ),
        )
    return None


def merged(view: View) -> Decision:
    """PR_MERGED: delivery of the merge commit is seen to start, or to be already live."""
    early = _missing(view) or _failure(view)
    if early is not None:
        return early
    view.need("workload", "carries_change")
    delivery = view.facts.delivery
    started = delivery is not None and delivery.state in (
        DeliveryState.IN_PROGRESS,
        DeliveryState.SUCCESS,
    )
    if started or view.facts.carries_change:
        return Advance(to=Phase.DEPLOYMENT_IN_PROGRESS, why="delivery of the merge commit began")
    return Wait(
        reason="WaitingForDelivery", message="Waits for the merged commit to be delivered.",
        after=LOOK,
    )  # fmt: skip


def deploying(view: View) -> Decision:
    """DEPLOYMENT_IN_PROGRESS: the object carries the change and its rollout is complete."""
    early = _missing(view) or _failure(view)
    if early is not None:
        return early
    workload: WorkloadFacts = view.fact("workload")
    view.need("carries_change")
    settled = view.facts.carries_change and hopeless.is_of_the_fix(view.status, workload)
    if workload.rollout_failed and settled:
        return failed(view, workload.rollout_failed)
    if view.facts.carries_change and workload.rollout_complete:
        return Advance(to=Phase.DEPLOYMENT_COMPLETE, why="the merged revision is live")
    lost = hopeless.find(view.status, workload) if view.facts.carries_change else None
    if lost is not None:
        return failed(view, lost)
    state = f"{workload.updated}/{workload.desired} replicas updated, {workload.ready} ready"
    message = f"Waits for the rollout: {state}.{_pod_in_the_way(view, workload)}"
    return Wait(reason="RollingOut", message=message, after=LOOK)


def _pod_in_the_way(view: View, workload: WorkloadFacts) -> str:
    """Say which pod a person may delete: a StatefulSet replaces none that is never ready.

    https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#forced-rollback
    """
    target = view.status.target
    left = workload.desired - workload.updated
    if target is None or target.kind != "StatefulSet" or left < 1 or not view.facts.carries_change:
        return ""
    pod = f"{target.name}-{left - 1}"
    return (
        " A StatefulSet does not replace a pod that is never ready: if it stays so, "
        f"kubectl -n {view.incident.metadata.namespace} delete pod {pod}"
    )


def deployed(view: View) -> Decision:
    """DEPLOYMENT_COMPLETE: the first evaluation of the verification checks is taken."""
    early = _missing(view) or view.comment(Milestone.DEPLOYMENT)
    if early is not None:
        return early
    view.need("checks")
    return Advance(to=Phase.VERIFICATION_IN_PROGRESS, why="the first evaluation was taken")


def verifying(view: View) -> Decision:
    """VERIFICATION_IN_PROGRESS: every check held through the stability window."""
    missing = _missing(view)
    if missing is not None:
        return missing
    checks = view.fact("checks") or ()
    broken = [check for check in checks if not check.holds and check.final]
    if broken:
        return failed(view, f"{broken[0].name}: {broken[0].message}")
    since = recovery.holding_since(view)
    window = view.policy.verification.stable_for
    if checks and since is not None and view.now - since >= window:
        return Advance(
            to=Phase.VERIFICATION_COMPLETE,
            why=f"every check held for {int(window.total_seconds())} s",
        )
    if since is not None:
        left = max(window - (view.now - since), dt.timedelta(seconds=1))
        return Wait(
            reason="Verifying",
            message=f"Every check holds; {int(left.total_seconds())} s of the window are left.",
            after=min(left, LOOK),
        )
    names = ", ".join(check.name for check in checks if not check.holds)
    return Wait(reason="Verifying", message=f"Waits for: {names or 'the checks'}.", after=LOOK)


def failed(view: View, why: str) -> Decision:
    """The proof failed: propose to take the fix back if the policy says so, then a person."""
    wants_revert = view.policy.verification.on_failure is not OnFailure.ESCALATE
    if wants_revert and view.status.revert is None and view.status.pull_request is not None:
        number = view.status.pull_request.number
        return view.act(EffectKind.OPEN_REVERT, number=number, why=why)
    return _take_back(view) or Escalate(
        reason="VerificationFailed",
        message=f"The fix did not prove itself: {why.rstrip('.')}.{_revert(view)}",
    )


def _take_back(view: View) -> Act | None:
    """Merge the revert where the policy says so; what a person has to approve first waits for one.

    A freeze holds it back like every merge: it stays proposed.
    """
    revert = view.status.revert
    wanted = view.policy.verification.on_failure is OnFailure.REVERT
    if not wanted or revert is None or revert.state != "Open" or view.facts.policy.frozen_until:
        return None
    return view.once(EffectKind.MERGE_REVERT, number=revert.number)


def _revert(view: View) -> str:
    revert = view.status.revert
    if revert is None:
        return ""
    said = "It was taken back" if revert.state == "Merged" else "A revert is proposed"
    return f" {said}: {revert.url}"


def verified(view: View) -> Decision:
    """VERIFICATION_COMPLETE: results stand in ticket and pull request."""
    missing = _missing(view)
    if missing is not None:
        return missing
    said = view.comment(Milestone.VERIFICATION) or view.comment(
        Milestone.VERIFICATION, on=EffectKind.COMMENT_PULL_REQUEST
    )
    return said or Advance(
        to=Phase.INCIDENT_RESOLVED, why="the fix is proved", resolution=Resolution.FIXED
    )
