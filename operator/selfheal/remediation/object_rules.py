"""Which fields of objects around a workload a fix may change, and how; deny by default.

The rules of ``field_rules`` hold for everything that is not named here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from selfheal.diagnosis import reference
from selfheal.remediation.changes import DocumentChange, Leaf
from selfheal.remediation.edits import Refusal
from selfheal.remediation.memory_fix import read_quantity
from selfheal.remediation.role_fix import is_harmless

Rule = Callable[[Leaf], str | None]
_TEMPLATE = r"spec/(?:jobTemplate/spec/)?template/"
_POD_SPEC = rf"(?:{_TEMPLATE})?spec/"


def _corrected(leaf: Leaf) -> str | None:
    if leaf.after in (None, "", {}, []):
        return "it may be corrected, never removed"
    return None


def _renamed(leaf: Leaf) -> str | None:
    return None  # whether something is lost is for the whole document to show


def _replaced(leaf: Leaf) -> str | None:
    if leaf.before is None:
        return "it may be corrected, not added"
    return _corrected(leaf)


def _same_length(leaf: Leaf) -> str | None:
    before, after = leaf.before, leaf.after
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return None
    return "values may be corrected, not added or removed"


def _grows(leaf: Leaf) -> str | None:
    if leaf.before is None or leaf.after is None:
        return "a size may grow, never be removed"
    if read_quantity(str(leaf.after)) > read_quantity(str(leaf.before)):
        return None
    return "a size may grow, never shrink"


def _budget(leaf: Leaf) -> str | None:
    # both fields: less than one of minAvailable is no budget, maxUnavailable beyond 1 is too much
    if isinstance(leaf.after, int) and not isinstance(leaf.after, bool):
        least = leaf.path[-1] == "maxUnavailable"
        if (least and leaf.after == 1) or (not least and leaf.after >= 1):
            return None
    return "a budget may spare one pod at a time, not more, and is never removed"


def _rules(leaf: Leaf) -> str | None:
    """Rules may only be added, and verbs to rules: harmless ones, without taking one away."""
    before, after = leaf.before or [], leaf.after or []
    if not isinstance(before, list) or not isinstance(after, list) or len(after) < len(before):
        return "rules may be added, never changed or removed"
    for old, new in zip(before, after, strict=False):
        if old != new and not _grown(old, new):
            return "rules may be added, never changed or removed"
    for rule in after[len(before) :]:
        why = _harmful(rule)
        if why is not None:
            return why
    return None


def _grown(old: Any, new: Any) -> bool:
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return False
    same = {**old, "verbs": None} == {**new, "verbs": None}
    leaf = Leaf(path=("verbs",), before=old.get("verbs"), after=new.get("verbs"))
    return same and _verbs(leaf) is None


def _harmful(rule: Any) -> str | None:
    if not isinstance(rule, Mapping) or set(rule) != {"apiGroups", "resources", "verbs"}:
        return "a rule names one API group, one resource and its verbs"
    if len(rule["apiGroups"]) != 1 or len(rule["resources"]) != 1 or not rule["verbs"]:
        return "a rule names one API group, one resource and its verbs"
    for verb in rule["verbs"]:
        one = {"group": rule["apiGroups"][0], "resource": rule["resources"][0], "verb": verb}
        if not is_harmless(one):
            return "no wildcard, and nothing that leads to credentials or more rights"
    return None


def _verbs(leaf: Leaf) -> str | None:
    before, after = leaf.before, leaf.after
    if not isinstance(before, list) or not isinstance(after, list):
        return "verbs may be added, never removed"
    if not set(before) < set(after):
        return "verbs may be added, never removed"
    if any(not is_harmless({"group": "", "resource": "", "verb": verb}) for verb in after):
        return "no wildcard, and nothing that leads to more rights"
    return None


_BY_KIND: Mapping[str, tuple[tuple[str, str, Rule], ...]] = {
    "Service": (
        (r"spec/selector/[^/]+", "AnotherApplication", _renamed),
        (r"spec/ports/[^/]+/targetPort", "ChangeNotAllowed", _corrected),
    ),
    "PersistentVolumeClaim": (
        (r"spec/storageClassName", "DeletesData", _corrected),
        (r"spec/resources/requests/storage", "DeletesData", _grows),
    ),
    "HorizontalPodAutoscaler": ((r"spec/scaleTargetRef/name", "AnotherApplication", _replaced),),
    "PodDisruptionBudget": ((r"spec/(?:minAvailable|maxUnavailable)", "WeakensBudget", _budget),),
    "Ingress": (
        (r"spec/ingressClassName", "ChangeNotAllowed", _corrected),
        (
            r"spec/(?:defaultBackend|rules/[^/]+/http/paths/[^/]+/backend)/service/"
            r"(?:name|port/name|port/number)",
            "AnotherApplication",
            _replaced,
        ),
    ),
    "RoleBinding": ((r"subjects/[^/]+(?:/[^/]+)?", "WidensRBAC", _renamed),),
    "Role": (
        (r"rules", "WidensRBAC", _rules),
        (r"rules/[^/]+/verbs", "WidensRBAC", _verbs),
    ),
}
_WORKLOADS: tuple[tuple[str, str, Rule], ...] = (
    (rf"{_POD_SPEC}imagePullSecrets(?:/[^/]+)*", "ChangeNotAllowed", _renamed),
    (rf"{_POD_SPEC}nodeSelector/.+", "ChangeNotAllowed", _renamed),
    (
        rf"{_POD_SPEC}affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/"
        r"nodeSelectorTerms/[^/]+/matchExpressions/[^/]+/values",
        "ChangeNotAllowed",
        _same_length,
    ),
    (rf"{_POD_SPEC}volumes/[^/]+/persistentVolumeClaim/claimName", "DeletesData", _replaced),
    (rf"{_POD_SPEC}volumes/[^/]+/emptyDir/sizeLimit", "DeletesData", _grows),
    (
        rf"{_POD_SPEC}(?:containers|initContainers)/[^/]+/volumeMounts/[^/]+/subPath",
        "DeletesData",
        _corrected,
    ),
    (
        rf"{_POD_SPEC}(?:containers|initContainers)/[^/]+/resources/limits/ephemeral-storage",
        "RemovesLimit",
        _grows,
    ),
    (rf"{_TEMPLATE}metadata/labels/.+", "AnotherApplication", _replaced),
)
WORKLOADS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod"})
NEW_KINDS = frozenset({"PersistentVolumeClaim"})
"""Kinds of which a fix may add an object (incidents.md, rule 1)."""

IDENTITY = frozenset(
    {"app", "app.kubernetes.io/name", "app.kubernetes.io/instance", "k8s-app", "name", "run"}
)
"""Labels that say which application a pod is of; the others tell its parts apart."""

_CLAIM_FIELDS = frozenset({"accessModes", "resources", "storageClassName", "volumeMode"})


KINDS = frozenset(_BY_KIND) | WORKLOADS
"""Kinds that have rules of their own."""


def rules_for(kind: str) -> tuple[tuple[str, str, Rule], ...]:
    """Return path pattern, reason and rule of a kind; the first pattern that matches decides."""
    return _BY_KIND.get(kind) or (_WORKLOADS if kind in WORKLOADS else ())


def find_rule(leaf: Leaf, kind: str) -> tuple[str, Rule] | None:
    """Return the reason and rule for a changed value; None: the general rules decide."""
    path = "/".join(str(step) for step in leaf.path)
    for pattern, reason, rule in rules_for(kind):
        if re.fullmatch(pattern, path):
            return reason, rule
    return None


def check_document(change: DocumentChange, namespace: str) -> None:
    """Raise Refusal where a document lost a selector key, or a new one holds what it may not."""
    if change.before is None:
        _check_new(change)
        return
    _check_selector(change)
    _check_subjects(change, namespace)
    _check_grown_rules(change)
    for path in (("spec", "selector"), ("spec", "template", "spec", "nodeSelector")):
        before, after = _at(change.before, path), _at(change.after or {}, path)
        if isinstance(before, Mapping) and len(after or ()) < len(before):
            where = ".".join(path)
            raise Refusal("ChangeNotAllowed", f"{change.name}: {where} would select more than now.")


def _check_selector(change: DocumentChange) -> None:
    """A Service goes on meaning what it meant: a slip is corrected, or its own name is meant."""
    path = ("spec", "selector")
    before, after = _at(change.before, path), _at(change.after, path)
    if change.manifest.get("kind") != "Service" or before == after:
        return
    old = [str(value) for value in (before or {}).values()]
    name = str(_at(change.manifest, ("metadata", "name")))
    anchors = IDENTITY & set(before or {})
    for key, value in (after or {}).items():
        if anchors and key not in anchors and anchors <= set(after):
            continue  # it stays with the same application
        known = (before or {}).get(key) == value or str(value) in (*old, name)
        if not known and not any(reference.only_similar(str(value), [one]) for one in old):
            raise Refusal(
                "AnotherApplication",
                f"{change.name}: spec.selector.{key} {value} is something else than what the "
                "Service selects now.",
            )


def _check_subjects(change: DocumentChange, namespace: str) -> None:
    """A binding may be corrected to a near ServiceAccount of its own namespace, no other."""
    before, after = _at(change.before, ("subjects",)), _at(change.after, ("subjects",))
    if change.manifest.get("kind") != "RoleBinding" or before == after:
        return
    pairs = list(zip(before or (), after or (), strict=False))
    fine = len(before or ()) == len(after or ()) and all(
        _at(new, ("kind",)) == _at(old, ("kind",)) == "ServiceAccount"
        and _at(new, ("namespace",)) in (None, namespace)
        and reference.only_similar(str(_at(new, ("name",))), [str(_at(old, ("name",)))])
        for old, new in pairs
        if old != new
    )
    if not fine:
        raise Refusal(
            "WidensRBAC",
            f"{change.name}: a subject may only be corrected to a near ServiceAccount of "
            f"{namespace}.",
        )


def _check_grown_rules(change: DocumentChange) -> None:
    """A rule that gains a verb may be of no resource that leads to credentials or more rights."""
    if change.manifest.get("kind") != "Role":
        return
    before, after = _at(change.before, ("rules",)), _at(change.after, ("rules",))
    pairs = zip(before or (), after or (), strict=False)
    for old, new in pairs:
        if old == new or not isinstance(new, Mapping):
            continue
        resources, groups = new.get("resources") or ("*",), new.get("apiGroups") or ("*",)
        asked = [
            {"group": group, "resource": one, "verb": ""} for group in groups for one in resources
        ]
        if not all(map(is_harmless, asked)):
            raise Refusal(
                "WidensRBAC",
                f"{change.name}: nothing is added to a rule for {', '.join(map(str, resources))}.",
            )


def _check_new(change: DocumentChange) -> None:
    spec = (change.after or {}).get("spec") or {}
    if change.manifest.get("kind") not in NEW_KINDS:
        raise Refusal("NewDocument", f"{change.name} would be new; no fix of a class needs that.")
    if not isinstance(spec, Mapping) or set(spec) - _CLAIM_FIELDS:
        raise Refusal("NewDocument", f"{change.name}: a new claim says only what size it asks for.")


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value
