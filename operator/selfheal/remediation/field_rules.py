"""Which fields a fix may change, and in which direction. Everything else is refused."""

from __future__ import annotations

import re
from collections.abc import Callable

from selfheal.diagnosis import reference
from selfheal.remediation import object_rules, run_rules
from selfheal.remediation.changes import Leaf
from selfheal.remediation.edits import Refusal

Rule = Callable[[Leaf], str | None]

_CONTAINER = r"(?:.*/)?(?:containers|initContainers)/[^/]+"


def _gone(leaf: Leaf) -> bool:
    return leaf.after is None or leaf.after == "" or leaf.after == {} or leaf.after == []


def _weakens_limit(leaf: Leaf) -> str | None:
    known = leaf.path[-2:-1] in (("limits",), ("requests",)) and leaf.path[-1] in ("memory", "cpu")
    if known and not _gone(leaf):
        return None
    return "a request or limit is never removed, and only memory and cpu are set"


def _bad_image(leaf: Leaf) -> str | None:
    image = reference.parse(str(leaf.after or ""))
    if image.digest is None and (image.tag or "") in reference.FORBIDDEN_TAGS:
        return "an image is never set to latest or left without a tag"
    return None if image.valid else "this is not a valid image reference"


def _to_zero(leaf: Leaf) -> str | None:
    return "a workload is never scaled, paused or suspended by a fix"


def _always(what: str) -> Rule:
    def refuse(leaf: Leaf) -> str:
        return what

    return refuse


RULES: tuple[tuple[str, str, Rule], ...] = (
    *run_rules.RULES,
    (rf"{_CONTAINER}/resources(?:/.*)?", "RemovesLimit", _weakens_limit),
    (rf"{_CONTAINER}/image", "LatestTag", _bad_image),
    (
        r"(?:.*/)?(?:securityContext|hostNetwork|hostPID|hostIPC|shareProcessNamespace)(?:/.*)?",
        "WeakensSecurityContext",
        _always("a security context is never changed to make something green"),
    ),
    (
        r"(?:.*/)?(?:serviceAccountName|serviceAccount|automountServiceAccountToken)",
        "WidensRBAC",
        _always("the identity of a workload is not changed"),
    ),
    (
        r"spec/(?:replicas|parallelism|completions|paused|suspend|minReplicas|maxReplicas)",
        "ScaleToZero",
        _to_zero,
    ),
    (
        r"(?:.*/)?(?:volumes|volumeMounts|volumeClaimTemplates|volumeDevices)(?:/.*)?",
        "DeletesData",
        _always("volumes and claims are not changed"),
    ),
    (
        r"(?:apiVersion|kind|metadata/name|metadata/namespace|spec/selector(?:/.*)?)",
        "AnotherApplication",
        _always("a fix stays with the object that is unhealthy"),
    ),
)
"""Path pattern, reason of the refusal, rule; the first pattern that matches decides."""

_COMPILED = tuple((re.compile(pattern), reason, rule) for pattern, reason, rule in RULES)


def check_leaf(leaf: Leaf, name: str, kind: str = "") -> None:
    """Raise Refusal when a changed value is not one that a fix may change like this."""
    path = "/".join(str(step) for step in leaf.path)
    special = object_rules.find_rule(leaf, kind)
    if special is not None:
        why = special[1](leaf)
        if why is not None:
            raise Refusal(special[0], f"{name} {path}: {why}.")
        return
    for pattern, reason, rule in _COMPILED:
        if pattern.fullmatch(path):
            why = rule(leaf)
            if why is not None:
                raise Refusal(reason, f"{name} {path}: {why}.")
            return
    raise Refusal("ChangeNotAllowed", f"{name} {path}: no fix may change this field.")
