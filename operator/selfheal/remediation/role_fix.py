"""PermissionDenied: the least rule that lifts the refusal, where the Role is in Git."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.remediation.drafts import Draft
from selfheal.remediation.edits import Edit, Proposal, Refusal

API = "rbac.authorization.k8s.io/v1"
NEVER = frozenset({"*", "escalate", "bind", "impersonate"})
"""Verbs that no fix grants."""

SENSITIVE = frozenset({"secrets", "pods/exec", "pods/attach", "pods/portforward", "nodes/proxy",
                       "serviceaccounts/token", "roles", "rolebindings", "clusterroles",
                       "clusterrolebindings"})  # fmt: skip
"""Resources that no fix opens: they lead to credentials or to more rights."""


def propose(draft: Draft) -> Iterator[Proposal]:
    """Yield the missing rules; Refusal ``NeedsPerson`` with the exact steps otherwise."""
    parameters = draft.finding.parameters
    missing = list(parameters["permissions"])
    account, space = str(parameters["account"]), draft.bundle.namespace
    if any(not is_harmless(one) or one["namespace"] != space for one in missing):
        raise Refusal("NeedsPerson", _steps(draft, "It is more than a fix may grant."))
    if parameters.get("stray"):
        yield _bind(draft, parameters["stray"], account)
        return
    if len(parameters["roles"]) != 1:
        raise Refusal("NeedsPerson", _steps(draft, f"{len(parameters['roles'])} Roles of the "
                      f"namespace are bound to {account}."))  # fmt: skip
    name = str(parameters["roles"][0])
    role = draft.other(API, "Role", name)
    edits = _edits(role, missing)
    said = "; ".join(f"{one['verb']} {one['resource']}" for one in missing)
    yield role.propose(
        *edits, summary=f"Let ServiceAccount {account} {said} by Role {name}", risk="Medium",
        risk_reason="Exactly what the API server refused is granted, in this namespace only; the "
        "API server forbids a dry run of rights that the operator does not hold itself.",
        arithmetic=f"refused: {said}; granted: the same",
    )  # fmt: skip


def _bind(draft: Draft, stray: Mapping[str, Any], account: str) -> Proposal:
    """Return the correction of a binding whose only subject is a slip of the pen away."""
    binding = draft.other(API, "RoleBinding", str(stray["binding"]))
    subject = binding.look(("subjects", 0)) or {}
    if subject.get("name") != stray["name"]:
        raise Refusal("Drifted", f"The source of {stray['binding']} does not bind {stray['name']}.")
    why = f"{stray['name']} does not exist there; {account} asks for exactly what the Role grants."
    edits = []
    if subject["name"] != account:
        edits.append(binding.set(("subjects", 0, "name"), account, why))
    if subject.get("namespace") not in (None, draft.bundle.namespace):
        edits.append(binding.set(("subjects", 0, "namespace"), draft.bundle.namespace, why))
    if not edits:
        raise Refusal("Drifted", f"The source of {stray['binding']} binds {account} already.")
    return binding.propose(
        *edits,
        summary=f"Let RoleBinding {stray['binding']} mean ServiceAccount {account}",
        risk="Medium",
        risk_reason=f"{why} The Role itself stays; the API server forbids a dry run of rights that "
        "the operator does not hold itself.",
    )


def is_harmless(permission: Mapping[str, Any]) -> bool:
    """Tell whether a fix may grant a permission at all."""
    values = {permission["verb"], permission["resource"], permission["group"]}
    return not values & NEVER and permission["resource"] not in SENSITIVE


def _edits(role: Draft, missing: list[Mapping[str, Any]]) -> list[Edit]:
    """Return edits that add verbs to rules of exactly one resource, and rules for the rest."""
    rules: list[Any] = list(role.look(("rules",)) or [])
    verbs: dict[int, list[str]] = {}
    new: dict[tuple[str, str], list[str]] = {}
    for one in missing:
        number = _rule_of(rules, one["group"], one["resource"])
        if number is None:
            new.setdefault((one["group"], one["resource"]), []).append(one["verb"])
        else:
            verbs.setdefault(number, []).append(one["verb"])
    edits = []
    for number, added in verbs.items():
        held = list(rules[number]["verbs"])
        wanted = [*held, *(verb for verb in dict.fromkeys(added) if verb not in held)]
        edits.append(role.set(("rules", number, "verbs"), wanted, "The API server refused it."))
    if new:
        # edits are made in order: the list is compared as the verbs have left it
        grown = [
            {**rule, "verbs": [*rule["verbs"], *verbs[number]]} if number in verbs else rule
            for number, rule in enumerate(rules)
        ]
        added_rules = [
            {"apiGroups": [group], "resources": [resource], "verbs": list(dict.fromkeys(wanted))}
            for (group, resource), wanted in new.items()
        ]
        edits.append(
            role.replace(("rules",), grown, [*grown, *added_rules], "The API server refused it.")
        )
    return edits


def _rule_of(rules: list[Any], group: str, resource: str) -> int | None:
    for number, rule in enumerate(rules):
        same = rule.get("apiGroups") == [group] and rule.get("resources") == [resource]
        if same and not rule.get("resourceNames") and rule.get("verbs"):
            return number
    return None


def _steps(draft: Draft, why: str) -> str:
    parameters = draft.finding.parameters
    account, space = parameters["account"], draft.bundle.namespace
    wanted = "; ".join(
        f"apiGroups [{one['group']!r}], resources [{one['resource']}], verbs [{one['verb']}]"
        for one in parameters["permissions"]
    )
    cluster = any(one["namespace"] != space for one in parameters["permissions"])
    kind = "ClusterRole and ClusterRoleBinding" if cluster else "Role and RoleBinding"
    return (
        f"{why} A person has to decide whether ServiceAccount {account} may have it, and add to "
        f"Git a {kind} with the rule {wanted}. Check: kubectl auth can-i VERB RESOURCE -n {space} "
        f"--as=system:serviceaccount:{space}:{account}"
    )
