"""The fix of each class, best first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from selfheal.api.classes import IncidentClass
from selfheal.api.policy import GuardsSpec
from selfheal.diagnosis.evidence import Bundle, Finding
from selfheal.remediation import (
    around_fix,
    cpu_fix,
    crash_fix,
    for_people,
    heap_fix,
    image_fix,
    memory_fix,
    probe_fix,
    pull_secret_fix,
    quota_fix,
    reference_fix,
    requests_fix,
    role_fix,
    scheduling_fix,
    service_fix,
    storage_fix,
)
from selfheal.remediation.drafts import Draft
from selfheal.remediation.edits import Proposal, Refusal, Source
from selfheal.remediation.finding_source import find_source

__all__ = ["find_source", "propose"]

Fix = Callable[[Draft, GuardsSpec], Iterator[Proposal]]

FIXES: Mapping[IncidentClass, Fix] = {
    IncidentClass.JAVA_OUT_OF_MEMORY: heap_fix.propose,
    IncidentClass.OOM_KILLED: memory_fix.propose,
    IncidentClass.INSUFFICIENT_MEMORY: requests_fix.propose,
    IncidentClass.MISSING_REFERENCE: lambda draft, _: reference_fix.propose(draft),
    **dict.fromkeys(
        (
            IncidentClass.CRASH_LOOP_BACK_OFF,
            IncidentClass.HIGH_RESTART_COUNT,
            IncidentClass.INIT_CONTAINER_FAILED,
            IncidentClass.JOB_FAILED,
            IncidentClass.STUCK_ROLLOUT,
        ),
        lambda draft, _: crash_fix.propose(draft),
    ),
    IncidentClass.INVALID_IMAGE_TAG: lambda draft, _: image_fix.propose_tag(draft),
    IncidentClass.IMAGE_PULL_BACK_OFF: lambda draft, _: image_fix.propose_repository(draft),
    IncidentClass.REGISTRY_AUTH: lambda draft, _: pull_secret_fix.propose(draft),
    IncidentClass.CPU_THROTTLING: cpu_fix.propose,
    IncidentClass.STORAGE: storage_fix.propose,
    IncidentClass.NODE_EXHAUSTION: scheduling_fix.propose_request,
    IncidentClass.UNSCHEDULABLE: lambda draft, _: scheduling_fix.propose_label(draft),
    IncidentClass.QUOTA_EXCEEDED: lambda draft, _: quota_fix.propose(draft),
    IncidentClass.SERVICE_ENDPOINTS: lambda draft, _: service_fix.propose(draft),
    IncidentClass.PERMISSION_DENIED: lambda draft, _: role_fix.propose(draft),
    IncidentClass.AUTOSCALER_FAILED: lambda draft, _: around_fix.propose_autoscaler(draft),
    IncidentClass.DISRUPTION_BUDGET_BLOCKED: lambda draft, _: around_fix.propose_budget(draft),
    IncidentClass.INGRESS_BACKEND: lambda draft, _: around_fix.propose_ingress(draft),
    IncidentClass.VOLUME_MOUNT_FAILED: lambda draft, _: around_fix.propose_mount(draft),
    IncidentClass.NETWORK_BLOCKED: lambda draft, _: for_people.network(draft),
    IncidentClass.ADMISSION_WEBHOOK_FAILED: lambda draft, _: for_people.webhook(draft),
    IncidentClass.FAILED_HEALTH_CHECK: lambda draft, _: probe_fix.propose(draft),
}


def propose(
    finding: Finding,
    *,
    bundle: Bundle,
    source: Source,
    files: Mapping[str, bytes],
    guards: GuardsSpec,
) -> Sequence[Proposal]:
    """Return the safe fixes of a finding, best first; pure, may be repeated.

    Refusal ``ClassNotAllowed`` (guards.classes), ``NoFixForClass``, ``NotEnoughKnown`` (a diagnosis
    without the parameters of its class), or the reason of the class when nothing is safe.
    """
    if guards.classes and finding.class_.value not in guards.classes:
        raise Refusal("ClassNotAllowed", f"guards.classes does not list {finding.class_.value}.")
    fix = FIXES.get(finding.class_)
    if fix is None:
        raise Refusal("NoFixForClass", f"There is no fix for {finding.class_.value} yet.")
    draft = Draft(finding=finding, bundle=bundle, source=source, files=files)
    found: dict[str, Proposal] = {}
    try:
        for proposal in fix(draft, guards):
            found.setdefault(proposal.diff, proposal)
    except KeyError as error:
        raise Refusal("NotEnoughKnown", f"The diagnosis does not say {error}.") from error
    if not found:
        raise Refusal("NoSafeFix", f"Nothing safe is known that mends it: {finding.cause}")
    return tuple(found.values())
