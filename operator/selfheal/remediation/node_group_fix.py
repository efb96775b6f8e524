"""NodeExhaustion with requests that are right: one more node, in the file that the policy names.

Class 12 (incidents.md): the size of a node group stands in a repository, as a Cluster API
MachineDeployment or MachinePool, as the limits of a Karpenter NodePool, or as a Terraform variable.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

from selfheal.api.node_group import NodeGroupKind, NodeGroupSpec
from selfheal.diagnosis.evidence import Bundle, Finding, ItemKind
from selfheal.diagnosis.reading import Reading, dig
from selfheal.diagnosis.scheduling import amount, unscheduled
from selfheal.remediation import diff, documents, editing, workloads
from selfheal.remediation.edits import Edit, Operation, PathStep, Proposal, Refusal
from selfheal.remediation.memory_fix import render_quantity
from selfheal.verification import contract

AUTOSCALED = "cluster.x-k8s.io/cluster-api-autoscaler-node-group-max-size"
"""Whose group carries this is sized by the cluster autoscaler (its clusterapi provider)."""

RESOURCES = ("cpu", "memory")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Need:
    """What the waiting pods ask for, and how many nodes that is."""

    nodes: int
    why: str
    node: Mapping[str, float]  # what one node offers: cores and bytes


def propose(
    finding: Finding, bundle: Bundle, group: NodeGroupSpec, files: Mapping[str, bytes]
) -> Proposal:
    """Return the edit that lets the node group hold what waits; pure, may be repeated.

    Refusal ``NodesUnknown``, ``NodeGroupNotFound``, ``NodeGroupOwned``, ``NodeGroupAtCap``.
    """
    need = compute_need(finding, bundle, group.step)
    if group.file not in files:
        raise Refusal("NodeGroupNotFound", f"nodeGroup.file {group.file} is not in the repository.")
    before = dict(files)
    if group.kind is NodeGroupKind.TERRAFORM:
        change = _terraform(group, need, files[group.file])
    elif group.kind is NodeGroupKind.NODE_POOL:
        change = _node_pool(group, need, files, finding)
    else:
        change = _replicas(group, need, files)
    changed = {group.file: change.text}
    return Proposal(
        summary=f"Let node group {group.name} grow from {change.old} to {change.new}",
        edits=change.edits,
        files=changed,
        diff=diff.render_diff(before, changed),
        risk="High",
        risk_reason="It costs what the nodes cost, from the merge on.",
        rollback=f"Revert the merge commit (git revert): {group.name} back to {change.old}.",
        arithmetic=f"{need.why} {change.old} -> {change.new}, at most {change.cap}.",
        checks=contract.checks_for(finding.class_),
        explanation=finding.cause,
    )


def compute_need(finding: Finding, bundle: Bundle, step: int) -> Need:
    """Return how many nodes like the largest one the waiting pods need, at most ``step``; pure."""
    nodes = [dig(node.value, "allocatable") for node in bundle.of(ItemKind.NODE)]
    if not nodes:
        raise Refusal("NodesUnknown", "What a node offers is not known: no node could be read.")
    node = {name: max(amount(one.get(name)) for one in nodes) for name in RESOURCES}
    pods = [pod for pod, _, _ in unscheduled(Reading(bundle=bundle))]
    asked = {name: sum(_request(pod.value, name) for pod in pods) for name in RESOURCES}
    wanted = [name for name in finding.parameters.get("resources") or () if name in RESOURCES]
    shares = [asked[name] / node[name] for name in wanted if node[name] > 0]
    if not shares or not max(shares):
        raise Refusal(
            "NodesUnknown", f"{finding.cause} What the waiting pods ask for cannot be added up."
        )
    counted = max(1, math.ceil(max(shares)))
    told = ", ".join(f"{_show(name, asked[name])} {name}" for name in wanted)
    offers = ", ".join(f"{_show(name, node[name])} {name}" for name in wanted)
    pods_told = f"{len(pods)} waiting pod{'s' if len(pods) != 1 else ''}"
    why = f"{pods_told} request {told}; a node offers {offers}: {counted} more."
    if counted > step:
        why += f" nodeGroup.step allows {step} at once."
    return Need(nodes=min(counted, step), why=why, node=node)


def _request(pod: Mapping[str, Any], resource: str) -> float:
    entries = dig(pod, "spec").get("containers") or ()
    return sum(amount(dig(entry, "resources", "requests").get(resource)) for entry in entries)


def _show(resource: str, value: float) -> str:
    return f"{value:g}" if resource == "cpu" else render_quantity(value, like="Mi")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Change:
    """The new text of the file, and the values for people."""

    text: bytes
    old: str
    new: str
    cap: str
    edits: tuple[Edit, ...] = ()


def _replicas(group: NodeGroupSpec, need: Need, files: Mapping[str, bytes]) -> _Change:
    number, manifest = _find(group, files)
    notes = (manifest.get("metadata") or {}).get("annotations") or {}
    if AUTOSCALED in notes:
        raise Refusal(
            "NodeGroupOwned",
            f"{group.kind} {group.name}: the cluster autoscaler owns spec.replicas ({AUTOSCALED}).",
        )
    path: tuple[PathStep, ...] = ("spec", "replicas")
    old = workloads.look(manifest, path)
    if not isinstance(old, int) or isinstance(old, bool):
        raise Refusal("NodeGroupNotFound", f"{group.kind} {group.name} states no spec.replicas.")
    new = _grow(group, old, need)
    edit = Edit(
        file=group.file, document=number, path=path, operation=Operation.SET, old=old, new=new,
        reason=need.why,
    )  # fmt: skip
    text = editing.apply_edits(files, [edit])[group.file]
    return _Change(
        text=text, old=str(old), new=str(new), cap=f"{group.max_nodes} nodes", edits=(edit,)
    )


def _node_pool(
    group: NodeGroupSpec, need: Need, files: Mapping[str, bytes], finding: Finding
) -> _Change:
    """Raise the limits of those resources that are short, by what the nodes offer."""
    number, manifest = _find(group, files)
    edits = []
    for resource in finding.parameters["resources"]:
        path: tuple[PathStep, ...] = ("spec", "limits", resource)
        old, cap = workloads.look(manifest, path), group.max_cpu
        if resource == "memory":
            cap = group.max_memory
        if old is None or cap is None:
            continue  # no limit holds it back, or the policy lets nobody raise it
        if amount(old) >= amount(cap):
            raise _at_cap(group, f"limits.{resource} {old}", cap)
        grown = min(amount(old) + need.nodes * need.node[resource], amount(cap))
        new = str(math.ceil(grown)) if resource == "cpu" else render_quantity(grown, like="Gi")
        edits.append(
            Edit(
                file=group.file, document=number, path=path, operation=Operation.SET, old=old,
                new=int(new) if isinstance(old, int) else new, reason=need.why,
            )
        )  # fmt: skip
    if not edits:
        raise Refusal(
            "NodeGroupNotFound",
            f"NodePool {group.name} has no limit of what is short that the policy lets grow "
            "(nodeGroup.maxCPU, nodeGroup.maxMemory).",
        )
    names = [str(edit.path[-1]) for edit in edits]
    return _Change(
        text=editing.apply_edits(files, edits)[group.file],
        old=", ".join(f"{edit.old} {name}" for edit, name in zip(edits, names, strict=True)),
        new=", ".join(f"{edit.new} {name}" for edit, name in zip(edits, names, strict=True)),
        cap=", ".join(f"{group.max_memory if n == 'memory' else group.max_cpu} {n}" for n in names),
        edits=tuple(edits),
    )


def _terraform(group: NodeGroupSpec, need: Need, content: bytes) -> _Change:
    """Change the digits of ``name = N``, or of the default of ``variable "name"``."""
    text, name = content.decode(errors="surrogateescape"), re.escape(group.name)
    found = list(re.finditer(rf"(?m)^[ \t]*{name}[ \t]*=[ \t]*(\d+)[ \t]*(?:#.*|//.*)?\r?$", text))
    found += list(
        re.finditer(
            rf'variable\s+"{name}"\s*\{{[^{{}}]*?\bdefault[ \t]*=[ \t]*(\d+)[ \t]*\r?\n', text
        )
    )
    if len(found) != 1:
        raise Refusal(
            "NodeGroupNotFound",
            f"{group.file} sets {group.name} to a number {len(found)} times, not once.",
        )
    old, start, end = int(found[0][1]), *found[0].span(1)
    new = _grow(group, old, need)
    changed = f"{text[:start]}{new}{text[end:]}".encode(errors="surrogateescape")
    return _Change(text=changed, old=str(old), new=str(new), cap=f"{group.max_nodes} nodes")


def _grow(group: NodeGroupSpec, old: int, need: Need) -> int:
    cap = group.max_nodes
    if cap is None or old >= cap:
        raise _at_cap(group, f"{old} nodes", "none is set" if cap is None else str(cap))
    return min(old + need.nodes, cap)


def _at_cap(group: NodeGroupSpec, has: str, cap: str) -> Refusal:
    return Refusal(
        "NodeGroupAtCap",
        f"Node group {group.name} has {has}; the policy's cap is {cap}. A person has to raise the "
        "cap (code.repositories[].nodeGroup), or take requests from other workloads.",
    )


def _find(group: NodeGroupSpec, files: Mapping[str, bytes]) -> tuple[int, Mapping[str, Any]]:
    """Return number and content of the group's document."""
    for number, value in enumerate(documents.parse(files[group.file], group.file).values):
        if not isinstance(value, Mapping) or value.get("kind") != group.kind.value:
            continue
        if (value.get("metadata") or {}).get("name") == group.name:
            return number, value
    raise Refusal("NodeGroupNotFound", f"{group.file} declares no {group.kind} {group.name}.")
