"""What the API server forbids a workload to do, as the workload's own log tells."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import reference
from selfheal.diagnosis.evidence import Finding, Item, ItemKind
from selfheal.diagnosis.reading import Reading, dig

RANK = 18
# The API server's own words (k8s.io/apiserver, authorization/authorizer messages), quotes escaped
# once or twice where a log is JSON.
_Q = r'\\*"'
_FORBIDDEN = re.compile(
    rf"is forbidden: User {_Q}system:serviceaccount:([\w.-]+):([\w.-]+){_Q} cannot (\w+) resource "
    rf"{_Q}([\w./-]+){_Q} in API group {_Q}([\w.-]*){_Q}"
    rf"(?: in the namespace {_Q}([\w.-]+){_Q}| at the (cluster scope))?"
)
RECENT_LINES = 60
"""A refusal further up in the log of a container that is well again says nothing about now."""

Permission = tuple[str, str, str, str]  # API group, resource, verb, namespace ("" for the cluster)


def find(reading: Reading) -> Iterator[Finding]:
    """Yield one finding for each ServiceAccount that lacks permissions."""
    missing: dict[tuple[str, str], dict[Permission, Item]] = {}
    for log in reading.bundle.of(ItemKind.LOG):
        for match in _FORBIDDEN.finditer(_relevant(reading, log)):
            space = match[6] or ("" if match[7] else reading.bundle.namespace)
            permission = (match[5], match[4], match[3], space)
            missing.setdefault((match[1], match[2]), {}).setdefault(permission, log)
    for (space, account), permissions in missing.items():
        lacking = {
            one: log for one, log in permissions.items() if not is_granted(reading, account, one)
        }
        if lacking:
            yield _finding(reading, space, account, lacking)


def _relevant(reading: Reading, log: Item) -> str:
    text = str(log.value.get("text", ""))
    for entry in reading.containers:
        same = (entry.pod_name, entry.name) == (log.value.get("pod"), log.value.get("container"))
        if same and entry.ready:
            if log.value.get("previous"):
                return ""
            return "\n".join(text.splitlines()[-RECENT_LINES:])
    return text


def _finding(
    reading: Reading, space: str, account: str, lacking: Mapping[Permission, Item]
) -> Finding:
    said = "; ".join(
        f"{verb} {resource}{f' of API group {group}' if group else ''}"
        f"{f' in namespace {where}' if where else ' in the whole cluster'}"
        for group, resource, verb, where in lacking
    )
    listed = list(reading.bundle.of(ItemKind.ROLE_BINDING))
    bindings = [item for item in listed if _binds(item, reading.bundle.namespace, account)]
    roles = {
        str(dig(item.value, "metadata").get("name")): item
        for item in reading.bundle.of(ItemKind.ROLE)
    }
    bound = [
        str(dig(item.value, "roleRef").get("name"))
        for item in bindings
        if dig(item.value, "roleRef").get("kind") == "Role"
    ]
    own = [roles[name].id for name in bound if name in roles]
    stray = _stray(reading, [item for item in listed if item not in bindings], lacking, account)
    if stray is not None:
        own.append(stray["item"])
    logs = dict.fromkeys(log.id for log in lacking.values())
    return Finding(
        class_=IncidentClass.PERMISSION_DENIED,
        cause=f"ServiceAccount {account} may not {said}: no rule that is bound to it allows it.",
        confidence=0.95,
        evidence=(*logs, *own),
        container=next(iter(lacking.values())).value.get("container"),
        rank=RANK,
        parameters={
            "account": account, "namespace": space,
            "permissions": [
                {"group": group, "resource": resource, "verb": verb, "namespace": where}
                for group, resource, verb, where in lacking
            ],
            "roles": [name for name in bound if name in roles],
            "unbound": [name for name in roles if name not in bound],
            **({} if stray is None else {"stray": stray}),
        },
    )  # fmt: skip


def _binds(item: Item, namespace: str, account: str) -> bool:
    return any(
        one.get("name") == account and one.get("namespace", namespace) == namespace
        for one in item.value.get("subjects") or ()
    )


def _stray(
    reading: Reading, others: list[Item], lacking: Mapping[Permission, Item], account: str
) -> dict[str, Any] | None:
    """Return the one binding of a Role with all that is missing, whose subject is a slip away."""
    found = []
    for item in others:
        ref = dig(item.value, "roleRef")
        subjects: list[Mapping[str, Any]] = list(item.value.get("subjects") or [])
        if len(subjects) != 1 or ref.get("kind") != "Role":
            continue
        name, space = str(subjects[0].get("name")), subjects[0].get("namespace")
        near = name == account or reference.only_similar(account, [name]) is not None
        grants = all(_grants(reading, str(ref.get("name")), one) for one in lacking)
        if near and grants:
            found.append({
                "item": item.id, "binding": str(dig(item.value, "metadata").get("name")),
                "name": name, "namespace": space,
            })  # fmt: skip
    return found[0] if len(found) == 1 else None


def _grants(reading: Reading, role: str, permission: Permission) -> bool:
    group, resource, verb, space = permission
    return space == reading.bundle.namespace and any(
        _covers(rule, group, resource, verb)
        for item in reading.bundle.of(ItemKind.ROLE)
        if dig(item.value, "metadata").get("name") == role
        for rule in item.value.get("rules") or ()
    )


def is_granted(reading: Reading, account: str, permission: Permission) -> bool:
    """Tell whether a Role of the namespace that is bound to the account grants it by now."""
    bound = {
        dig(item.value, "roleRef").get("name")
        for item in reading.bundle.of(ItemKind.ROLE_BINDING)
        if _binds(item, reading.bundle.namespace, account)
    }
    return any(_grants(reading, str(name), permission) for name in bound)


def _covers(rule: Mapping[str, Any], group: str, resource: str, verb: str) -> bool:
    if rule.get("resourceNames"):
        return False
    wanted = (("apiGroups", group), ("resources", resource), ("verbs", verb))
    return all({value, "*"} & set(rule.get(field) or ()) for field, value in wanted)
