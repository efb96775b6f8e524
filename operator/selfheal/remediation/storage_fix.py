"""Storage: the class or claim that was meant, a claim that is missing, a volume that grows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from selfheal.api.policy import GuardsSpec
from selfheal.diagnosis.evidence import ItemKind
from selfheal.diagnosis.reading import dig
from selfheal.diagnosis.storage import default_class
from selfheal.remediation import workloads
from selfheal.remediation.drafts import Draft
from selfheal.remediation.edits import PathStep, Proposal, Refusal
from selfheal.remediation.memory_fix import read_quantity, render_quantity

DEFAULT_SIZE = "1Gi"
"""Size of a claim that nobody has described; what the application needs is for the review."""


def propose(draft: Draft, guards: GuardsSpec) -> Iterator[Proposal]:
    """Yield the fixes of the fault, best first; Refusal where only a person can decide."""
    fault = draft.finding.parameters["fault"]
    if fault == "ClassMissing" or (fault == "NotProvisioned" and _is_for_nobody(draft)):
        yield from _correct_class(draft)
    elif fault == "ClaimMissing":
        yield from _correct_claim(draft)
    elif fault in ("EmptyDirFull", "VolumeFull") and draft.finding.parameters.get("volume"):
        yield from _enlarge_scratch(draft, guards)
    elif fault == "EphemeralFull" and draft.finding.parameters.get("container"):
        yield from _raise_local(draft, guards)
    elif fault == "VolumeFull" and draft.finding.parameters.get("claim"):
        yield from _enlarge_claim(draft, guards)
    else:
        raise Refusal("NeedsPerson", f"What to do about it only a person can say: "
                      f"{draft.finding.cause}")  # fmt: skip


def _is_for_nobody(draft: Draft) -> bool:
    """Tell whether a claim says that no class makes its volume, though the cluster has one."""
    parameters = draft.finding.parameters
    return parameters.get("class") == "" and bool(parameters.get("default"))


def _correct_class(draft: Draft) -> Iterator[Proposal]:
    parameters = draft.finding.parameters
    claim, wrong = str(parameters["claim"]), str(parameters["class"])
    new = parameters.get("new") or parameters.get("default")
    if new is None and len(parameters["classes"]) == 1:
        new = parameters["classes"][0]
    if new is None:
        raise Refusal("NoStorageClass", f"No storage class is clearly meant by {wrong}: create it, "
                      f"or name one of {', '.join(parameters['classes']) or 'none'}.")  # fmt: skip
    _refuse_templates(draft, claim)
    other = draft.other("v1", "PersistentVolumeClaim", claim)
    near = "new" in parameters
    why = f"{new} is the only class near {wrong}." if near else f"{new} is the cluster's class."
    if not wrong:
        why += " Whether a volume was to be made by hand, the reviewer has to say."
    yield other.propose(
        other.set(("spec", "storageClassName"), new, why),
        summary=f"Correct the storage class of claim {claim} from {wrong or 'none'} to {new}",
        risk="Medium" if wrong else "High",
        risk_reason=f"{why} The claim was never bound, so no data is lost, but its class cannot be "
        "changed in place: delivery must replace it.",
    )


def _refuse_templates(draft: Draft, claim: str) -> None:
    for template in dig(draft.source.manifest, "spec").get("volumeClaimTemplates") or ():
        name = str(dig(template, "metadata").get("name"))
        owner = str(dig(draft.source.manifest, "metadata").get("name"))
        if claim.startswith(f"{name}-{owner}-"):
            space = draft.bundle.namespace
            raise Refusal(
                "TemplateImmutable",
                f"Claim {claim} comes from a volumeClaimTemplate, which cannot be changed. A "
                f"person has to: 1. correct spec.volumeClaimTemplates[{name}].storageClassName in "
                f"Git; 2. kubectl -n {space} delete statefulset {owner} --cascade=orphan; 3. "
                f"kubectl -n {space} delete pvc {claim} (it was never bound); 4. deliver again.",
            )


def _correct_claim(draft: Draft) -> Iterator[Proposal]:
    parameters = draft.finding.parameters
    claim, near = str(parameters["claim"]), parameters.get("new")
    place = _claim_path(draft, claim)
    if near is not None:
        why = f"{near} is the only claim of the namespace near {claim}."
        yield draft.propose(
            draft.set(place, near, why), summary=f"Mount the claim {near} instead of {claim}",
            risk="Medium", risk_reason=why,
        )  # fmt: skip
        return
    classes = list(draft.bundle.of(ItemKind.STORAGE_CLASS))
    if default_class(classes) is None:
        raise Refusal("NoStorageClass", f"Claim {claim} is missing, and the cluster has no default "
                      "storage class to make it of.")  # fmt: skip
    manifest = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _metadata(draft, claim),
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": DEFAULT_SIZE}},
        },
    }
    yield draft.propose(
        draft.add_document(manifest, f"The workload mounts {claim}, and nothing declares it."),
        summary=f"Add the claim {claim} that the workload mounts",
        risk="Medium",
        risk_reason=f"Size ({DEFAULT_SIZE}) and access mode (ReadWriteOnce) are not known from "
        "anything observed; the reviewer has to say whether they suffice.",
    )


def _metadata(draft: Draft, claim: str) -> dict[str, Any]:
    own = dig(draft.source.manifest, "metadata")
    found: dict[str, Any] = {"name": claim}
    if own.get("namespace"):
        found["namespace"] = own["namespace"]
    return found


def _claim_path(draft: Draft, claim: str) -> tuple[PathStep, ...]:
    path = (*workloads.pod_spec_path(str(draft.source.manifest.get("kind"))), "volumes")
    for number, volume in enumerate(draft.look(path) or ()):
        if dig(volume, "persistentVolumeClaim").get("claimName") == claim:
            return (*path, number, "persistentVolumeClaim", "claimName")
    raise Refusal("Drifted", f"The source mounts no claim {claim}.")


def _enlarge_scratch(draft: Draft, guards: GuardsSpec) -> Iterator[Proposal]:
    volume = str(draft.finding.parameters["volume"])
    path = (*workloads.pod_spec_path(str(draft.source.manifest.get("kind"))), "volumes")
    for number, one in enumerate(draft.look(path) or ()):
        if one.get("name") == volume and dig(one, "emptyDir").get("sizeLimit"):
            place = (*path, number, "emptyDir", "sizeLimit")
            yield _raise(draft, place, guards, f"volume {volume}")
            return
    raise Refusal("Drifted", f"The source has no emptyDir {volume} with a limit.")


def _raise_local(draft: Draft, guards: GuardsSpec) -> Iterator[Proposal]:
    name = str(draft.finding.parameters["container"])
    path = workloads.container_path(draft.source.manifest, name)
    place = (*path, "resources", "limits", "ephemeral-storage")
    if draft.look(place) is None:
        raise Refusal("Drifted", f"The source of {name} has no ephemeral-storage limit.")
    yield _raise(draft, place, guards, f"container {name}")


def _raise(draft: Draft, place: tuple[PathStep, ...], guards: GuardsSpec, what: str) -> Proposal:
    old = str(draft.look(place))
    cap = read_quantity(guards.max_memory)
    if read_quantity(old) >= cap:
        raise Refusal(
            "CapReached", f"{what}: {old} has reached guards.maxMemory ({guards.max_memory})."
        )
    new = render_quantity(min(read_quantity(old) * guards.memory_step, cap), like=old)
    return draft.propose(
        draft.set(place, new, f"Outgrown at {old}."),
        summary=f"Raise the local storage of {what} from {old} to {new}",
        risk="Low", risk_reason="One limit rises by one step; nothing else changes.",
        arithmetic=f"{old} x {guards.memory_step:g} (guards.memoryStep), at most "
        f"{guards.max_memory} (guards.maxMemory) = {new}.",
    )  # fmt: skip


def _enlarge_claim(draft: Draft, guards: GuardsSpec) -> Iterator[Proposal]:
    claim = str(draft.finding.parameters["claim"])
    _refuse_templates(draft, claim)
    if not _may_grow(draft, claim):
        raise Refusal(
            "NotExpandable",
            f"The volume of claim {claim} is full, and its class does not allow it to grow. A "
            "person has to free space or move the data.",
        )
    other = draft.other("v1", "PersistentVolumeClaim", claim)
    place: tuple[PathStep, ...] = ("spec", "resources", "requests", "storage")
    old = str(other.look(place))
    new = render_quantity(read_quantity(old) * guards.memory_step, like=old)
    share = float(draft.finding.parameters.get("share") or 0)
    yield other.propose(
        other.set(place, new, f"Full to {share:.0%}."),
        summary=f"Enlarge the claim {claim} from {old} to {new}",
        risk="Medium", risk_reason="A claim can grow, but never shrink again.",
        arithmetic=f"{old} x {guards.memory_step:g} (guards.memoryStep) = {new}; used {share:.0%}.",
    )  # fmt: skip


def _may_grow(draft: Draft, claim: str) -> bool:
    growing = {
        dig(item.value, "metadata").get("name")
        for item in draft.bundle.of(ItemKind.STORAGE_CLASS)
        if item.value.get("allowVolumeExpansion")
    }
    return any(
        dig(item.value, "metadata").get("name") == claim
        and dig(item.value, "spec").get("storageClassName") in growing
        for item in draft.bundle.of(ItemKind.CLAIM)
    )
