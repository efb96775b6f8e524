"""NodeExhaustion and Unschedulable: requests back to what ran, labels that were misspelt."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from selfheal.api.policy import GuardsSpec
from selfheal.diagnosis import reading
from selfheal.diagnosis.evidence import ItemKind
from selfheal.diagnosis.reading import dig
from selfheal.diagnosis.scheduling import amount
from selfheal.remediation import workloads
from selfheal.remediation.drafts import Draft
from selfheal.remediation.edits import PathStep, Proposal, Refusal
from selfheal.remediation.memory_fix import render_quantity

_SMALLER = {"Ti": "Gi", "Gi": "Mi", "Mi": "Ki", "T": "G", "G": "M", "M": "k"}
LEAST_CPU = 10
"""Least CPU request, in thousandths of a core, that is stated from what was used."""

HEADROOM = 1.25
"""A request is the observed use with this much room: a quarter."""


def propose_request(draft: Draft, guards: GuardsSpec) -> Iterator[Proposal]:
    """Yield a request that nodes can hold; Refusal ``NodesFull`` where the request is not wrong."""
    parameters = draft.finding.parameters
    if parameters["fault"] != "Oversized" or parameters["resource"] not in ("cpu", "memory"):
        raise Refusal("NodesFull", _room(draft))
    resource, request = str(parameters["resource"]), str(parameters["request"])
    path = (*draft.container, "resources", "requests", resource)
    written = draft.look(path)
    if written is not None and amount(written) != amount(request):
        raise Refusal(
            "Drifted", f"The source requests {written} {resource}, the running pod {request}."
        )
    found = False
    for new, why, risk in lower_requests(draft, str(draft.finding.container), resource, request):
        if 0 < amount(new) < amount(parameters["allocatable"]):
            found = True
            yield draft.propose(
                draft.set(path, new, why),
                summary=f"Lower the {resource} request of {draft.finding.container} from "
                f"{request} to {new}",
                risk=risk, risk_reason=f"Limits stay. {why}",
                arithmetic=f"{request} -> {new}: {why} No node has more than "
                f"{parameters['allocatable']}.",
            )  # fmt: skip
    if not found:
        raise Refusal("NoObservedUse", _unknown(draft, resource, request))


def lower_requests(
    draft: Draft, name: str, resource: str, request: str
) -> Iterator[tuple[str, str, str]]:
    """Iterate over smaller requests of a container, best first: value, why, risk."""
    for past, why in past_amounts(draft, name, "requests", resource):
        if amount(past) < amount(request):
            yield past, why, "Low"
            break
    for value, why in (
        *_used(draft, name, resource), *_siblings(draft, draft, name, "requests", resource)
    ):  # fmt: skip
        yield value, why, "Medium"
    smaller = smaller_unit(resource, request)
    if smaller is not None:
        why = (
            f"Nothing was observed yet; {smaller} is the same number in the next smaller unit, the "
            "likeliest slip of the pen."
        )
        yield smaller, why, "High"


def past_amounts(
    draft: Draft, container: str, group: str, resource: str
) -> Iterator[tuple[str, str]]:
    """Iterate over what earlier forms of a container asked for, most trusted first, and why."""
    for item, spec in reading.Reading(bundle=draft.bundle).past_containers(container):
        past = dig(spec, "resources", group).get(resource)
        if past is not None:
            yield str(past), f"{item.id} has {group}.{resource} {past}."


def _used(draft: Draft, container: str, resource: str) -> Iterator[tuple[str, str]]:
    used = [
        float(item.value["workingSetBytes"])
        for item in draft.bundle.of(ItemKind.COUNTERS)
        if item.value.get("container") == container and item.value.get("workingSetBytes")
    ]
    if resource == "memory" and used:
        most = render_quantity(max(used), like="Mi")
        new = render_quantity(max(used) * HEADROOM, like="Mi")
        yield new, f"Its working set is {most}, and a quarter more is {new}."
    cores = [
        float(item.value["cpuUsedSeconds"]) / float(item.value["livedSeconds"])
        for item in draft.bundle.of(ItemKind.COUNTERS)
        if item.value.get("container") == container and item.value.get("livedSeconds")
        and item.value.get("cpuUsedSeconds") is not None
    ]  # fmt: skip
    if resource == "cpu" and cores:
        most = f"{math.ceil(max(cores) * 1000)}m"
        new = f"{max(math.ceil(max(cores) * HEADROOM * 1000), LEAST_CPU)}m"
        yield new, f"It used {most} since its start, and a quarter more is at the most {new}."


def _siblings(
    draft: Draft, workload: Draft, container: str, group: str, resource: str
) -> Iterator[tuple[str, str]]:
    """Iterate over what ready workloads of the same image ask for."""
    path = workloads.container_path(workload.source.manifest, container)
    image = str(workload.look((*path, "image")))
    for item in draft.bundle.of(ItemKind.SIBLING):
        if image not in (item.value.get("images") or ()) or not item.value.get("ready"):
            continue
        for requests in (item.value.get(group) or {}).values():
            if requests.get(resource):
                why = f"{item.value['kind']} {item.value['name']} runs the same image with it."
                yield str(requests[resource]), why


def observed_requests(
    draft: Draft, workload: Draft, container: str, resource: str
) -> tuple[str, str]:
    """Return a request for a container that states none, and where the number comes from.

    Earlier revisions, what it uses, siblings with the same image, its own limit, what the limit
    range gives by default, and last what is usual in the namespace. Refusal ``NoObservedUse``.
    """
    path = workloads.container_path(workload.source.manifest, container)
    limit = workload.look((*path, "resources", "limits", resource))
    own = [(str(limit), "It is its limit.")] if limit is not None else []
    choices = (
        *past_amounts(draft, container, "requests", resource),
        *_used(draft, container, resource),
        *_siblings(draft, workload, container, "requests", resource),
        *own,
        *_defaults(draft, resource),
        *_usual(draft, resource),
    )
    if not choices:
        raise Refusal(
            "NoObservedUse",
            f"Nothing tells how much {resource} container {container} needs. A person has to set "
            f"resources.requests.{resource} to what it uses (kubectl top pod).",
        )
    return choices[0]


def _defaults(draft: Draft, resource: str) -> Iterator[tuple[str, str]]:
    for item in draft.bundle.of(ItemKind.LIMIT_RANGE):
        for limit in dig(item.value, "spec").get("limits") or ():
            value = dig(limit, "defaultRequest").get(resource)
            if limit.get("type") == "Container" and value is not None:
                yield str(value), f"{item.id} gives it by default."


def _usual(draft: Draft, resource: str) -> Iterator[tuple[str, str]]:
    """Yield the median of what ready workloads of the namespace request."""
    found = sorted(
        (
            str(requests[resource])
            for item in draft.bundle.of(ItemKind.SIBLING)
            if item.value.get("ready")
            for requests in (item.value.get("requests") or {}).values()
            if requests.get(resource)
        ),
        key=amount,
    )
    if found:
        middle = found[(len(found) - 1) // 2]
        yield middle, f"It is the median of {len(found)} containers of the namespace."


def smaller_unit(resource: str, request: str) -> str | None:
    """Return the same number in the next smaller unit; None where there is none."""
    if resource == "cpu":
        return f"{request}m" if request.isdigit() else None
    for suffix, smaller in _SMALLER.items():
        if request.endswith(suffix) and request.removesuffix(suffix).isdigit():
            return f"{request.removesuffix(suffix)}{smaller}"
    return None


def _room(draft: Draft) -> str:
    names = ", ".join(draft.finding.parameters.get("resources") or ["room"])
    return (
        f"The requests are not too large for a node; the nodes have no {names} left. A person has "
        "to add a node, or take requests from other workloads (kubectl describe nodes shows what "
        "is allocated)."
    )


def _unknown(draft: Draft, resource: str, request: str) -> str:
    return (
        f"Container {draft.finding.container} requests {request} {resource}, more than any node "
        "has, and nothing tells what it really needs. A person has to set "
        f"resources.requests.{resource} to what it uses (kubectl top pod, once it runs)."
    )


def propose_label(draft: Draft) -> Iterator[Proposal]:
    """Yield the corrected node label; Refusal ``NoSuchNode`` where none is clearly meant."""
    parameters = draft.finding.parameters
    new, new_key = parameters.get("new"), parameters.get("newKey")
    if parameters["fault"] not in ("NodeSelector", "NodeAffinity") or not (new or new_key):
        raise Refusal("NoSuchNode", _demand(draft))
    base = workloads.pod_spec_path(str(draft.source.manifest.get("kind")))
    key, value = str(parameters["key"]), str(parameters["value"])
    why = f"It is the only label of a node that is a slip of the pen away from {key}={value}."
    selector = (*base, "nodeSelector")
    if new_key is not None:
        written = draft.look(selector)
        if not isinstance(written, dict) or str(written.get(key)) != value:
            raise Refusal("Drifted", f"The source does not select {key}={value}.")
        renamed = {(new_key if name == key else name): entry for name, entry in written.items()}
        edit = draft.set(selector, renamed, why)
    else:
        edit = draft.set(_place(draft, base, key, value), new, why)
    yield draft.propose(
        edit,
        summary=f"Correct the node label {key}={value} to {new_key or key}={new or value}",
        risk="Low", risk_reason=why,
    )  # fmt: skip


def _place(draft: Draft, base: tuple[PathStep, ...], key: str, value: str) -> tuple[PathStep, ...]:
    if str((draft.look((*base, "nodeSelector")) or {}).get(key)) == value:
        return (*base, "nodeSelector", key)
    terms_path: tuple[PathStep, ...] = (
        *base, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution",
        "nodeSelectorTerms", 0, "matchExpressions",
    )  # fmt: skip
    expressions: list[Any] = draft.look(terms_path) or []
    for number, one in enumerate(expressions):
        if one.get("key") == key and one.get("values") == [value]:
            return (*terms_path, number, "values", 0)
    raise Refusal("Drifted", f"The source does not demand {key}={value}.")


def _demand(draft: Draft) -> str:
    parameters = draft.finding.parameters
    if "key" in parameters:
        label = f"{parameters['key']}={parameters['value']}"
        return (
            f"No node has {label}, and no label of a node is near it. A person has to label a node "
            f"(kubectl label node NODE {label}), add one that has it, or drop the demand."
        )
    return (
        f"{draft.finding.cause} Whether the demand or the nodes are wrong is for a person to say: "
        "kubectl get nodes -o custom-columns=NAME:.metadata.name,TAINTS:.spec.taints,"
        "LABELS:.metadata.labels shows what there is."
    )
