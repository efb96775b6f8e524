"""What the API server forbids a workload to do, as the workload's own log tells."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.api.classes import IncidentClass
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
    bindings = [item for item in reading.bundle.of(ItemKind.ROLE_BINDING)]
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
        },
    )  # fmt: skip


def is_granted(reading: Reading, account: str, permission: Permission) -> bool:
    """Tell whether a Role of the namespace that is bound to the account grants it by now."""
    group, resource, verb, space = permission
    if space != reading.bundle.namespace:
        return False
    bound = {
        dig(item.value, "roleRef").get("name")
        for item in reading.bundle.of(ItemKind.ROLE_BINDING)
        if any(one.get("name") == account for one in item.value.get("subjects") or ())
    }
    return any(
        _covers(rule, group, resource, verb)
        for item in reading.bundle.of(ItemKind.ROLE)
        if dig(item.value, "metadata").get("name") in bound
        for rule in item.value.get("rules") or ()
    )


def _covers(rule: Mapping[str, Any], group: str, resource: str, verb: str) -> bool:
    if rule.get("resourceNames"):
        return False
    wanted = (("apiGroups", group), ("resources", resource), ("verbs", verb))
    return all({value, "*"} & set(rule.get(field) or ()) for field, value in wanted)
