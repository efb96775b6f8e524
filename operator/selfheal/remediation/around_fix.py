"""Autoscalers, disruption budgets, ingresses and mounts: what they name wrongly."""

from __future__ import annotations

from collections.abc import Iterator

from selfheal.diagnosis.reading import dig
from selfheal.remediation import workloads
from selfheal.remediation.drafts import Draft
from selfheal.remediation.edits import PathStep, Proposal, Refusal
from selfheal.remediation.scheduling_fix import observed_requests

_GROUPS = {"Deployment": "apps/v1", "StatefulSet": "apps/v1", "ReplicaSet": "apps/v1"}


def propose_autoscaler(draft: Draft) -> Iterator[Proposal]:
    """Yield the target that is meant, or the requests that are missing."""
    parameters = draft.finding.parameters
    name, fault = str(parameters["autoscaler"]), parameters["fault"]
    if fault == "TargetMissing" and parameters.get("new"):
        scaler = draft.other("autoscaling/v2", "HorizontalPodAutoscaler", name)
        why = f"{parameters['kind']} {parameters['new']} is the only one that can be meant."
        yield scaler.propose(
            scaler.set(("spec", "scaleTargetRef", "name"), parameters["new"], why),
            summary=f"Let autoscaler {name} scale {parameters['new']} instead of "
            f"{parameters['old']}",
            risk="Medium", risk_reason=f"{why} From then on it is scaled.",
        )  # fmt: skip
        return
    if fault != "NoRequests":
        api = parameters.get("api", "metrics.k8s.io")
        raise Refusal("NeedsPerson", f"{draft.finding.cause} A person has to install or mend what "
                      f"serves the metrics (kubectl get apiservices v1beta1.{api}), or "
                      "correct what the autoscaler names.")  # fmt: skip
    kind = str(parameters["kind"])
    workload = draft.other(_GROUPS.get(kind, "apps/v1"), kind, str(parameters["workload"]))
    resource, edits, sums = str(parameters["resource"]), [], []
    for container in parameters["containers"]:
        value, why = observed_requests(draft, workload, str(container), resource)
        path = workloads.container_path(workload.source.manifest, str(container))
        edits.append(workload.set((*path, "resources", "requests", resource), value, why))
        sums.append(f"{container}: {value}; {why}")
    names = ", ".join(parameters["containers"])
    yield workload.propose(
        *edits, summary=f"Request {resource} for {names}, so that autoscaler {name} can compute",
        risk="Medium", risk_reason="The scheduler will set this much aside for each pod.",
        arithmetic=" ".join(sums),
    )  # fmt: skip


def propose_budget(draft: Draft) -> Iterator[Proposal]:
    """Yield a budget that lets one pod go; Refusal where only one pod is there to go."""
    parameters = draft.finding.parameters
    if parameters.get("fault") == "Several":
        raise Refusal(
            "NeedsPerson",
            f"{draft.finding.cause} Which of them is to stay, those who made them have to say; the "
            "others have to go, or to select other pods.",
        )
    name, field, expected = str(parameters["budget"]), parameters["field"], parameters["expected"]
    if expected < 2:
        raise Refusal(
            "NeedsPerson",
            f"{draft.finding.cause} With one pod every eviction is an outage: a person has to run "
            "two, or to allow the outage for the drain.",
        )
    budget = draft.other("policy/v1", "PodDisruptionBudget", name)
    old = parameters["value"]
    new = 1 if field == "maxUnavailable" else expected - 1
    yield budget.propose(
        budget.set(("spec", str(field)), new, f"{expected} pods run; one may be away."),
        summary=f"Let disruption budget {name} spare one of {expected} pods ({field} {old} to "
        f"{new})",
        risk="Medium", risk_reason="One pod at a time may be evicted; the budget itself stays.",
        arithmetic=f"{expected} pods - 1 = {expected - 1} that stay",
    )  # fmt: skip


def propose_ingress(draft: Draft) -> Iterator[Proposal]:
    """Yield the backend, port or class that is meant; Refusal ``BackendUnclear``."""
    parameters = draft.finding.parameters
    name, new = str(parameters["ingress"]), parameters.get("new")
    if new is None:
        raise Refusal("BackendUnclear", f"{draft.finding.cause} What is meant instead, a person "
                      "has to say.")  # fmt: skip
    ingress = draft.other("networking.k8s.io/v1", "Ingress", name)
    path: tuple[PathStep, ...] = tuple(parameters["path"])
    old = parameters.get("old", parameters.get("service"))
    if ingress.look(path) != old:
        raise Refusal("Drifted", f"The source of Ingress {name} does not name {old}.")
    sure = draft.finding.confidence >= 0.9
    yield ingress.propose(
        ingress.set(path, new, "It is what exists."),
        summary=f"Correct {'.'.join(map(str, path[-2:]))} of Ingress {name} from {old} to {new}",
        risk="Low" if sure else "Medium",
        risk_reason=f"{new} exists and is the only one that can be meant.",
    )


def propose_mount(draft: Draft) -> Iterator[Proposal]:
    """Yield the subPath that is meant; Refusal ``NeedsPerson`` for other conflicts of mounts."""
    parameters = draft.finding.parameters
    new = parameters.get("new")
    if new is not None and parameters["fault"] == "MountPath":
        yield from _mount_key(draft, str(new))
        return
    if parameters["fault"] != "SubPath" or new is None:
        raise Refusal("NeedsPerson", f"{draft.finding.cause} What to mount instead, and where, a "
                      "person has to say; volumes are never taken away by a fix.")  # fmt: skip
    old = parameters["subPath"]
    mounts = (*draft.container, "volumeMounts")
    for number, mount in enumerate(draft.look(mounts) or ()):
        if dig(mount).get("name") == parameters["volume"] and mount.get("subPath") == old:
            why = f"{new} is the only key of the ConfigMap near {old}."
            yield draft.propose(
                draft.set((*mounts, number, "subPath"), new, why),
                summary=f"Correct the subPath {old} to {new}", risk="Low", risk_reason=why,
            )  # fmt: skip
            return
    raise Refusal("Drifted", f"The source mounts no {old} of volume {parameters['volume']}.")


def _mount_key(draft: Draft, key: str) -> Iterator[Proposal]:
    """Yield the mount of one key where a whole ConfigMap was mounted over a file."""
    parameters = draft.finding.parameters
    mounts = (*draft.container, "volumeMounts")
    for number, mount in enumerate(draft.look(mounts) or ()):
        if dig(mount).get("mountPath") == parameters["path"] and not mount.get("subPath"):
            why = f"{parameters['path']} is a file in the image, and {key} a key of the ConfigMap."
            yield draft.propose(
                draft.set((*mounts, number, "subPath"), key, why),
                summary=f"Mount only the key {key} at {parameters['path']}", risk="Low",
                risk_reason=f"{why} A folder cannot be mounted over a file.",
            )  # fmt: skip
            return
    raise Refusal("Drifted", f"The source mounts nothing whole at {parameters['path']}.")
