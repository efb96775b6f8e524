"""What acts on a target: autoscalers, budgets, ingresses, network policies, roles, webhooks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from selfheal import redaction
from selfheal.adapters.kube import connection, kinds, references, surroundings, targets
from selfheal.diagnosis.evidence import Item, ItemKind

MAX_OF_KIND = 50
MAX_KEPT = 10
METRICS = "metrics.k8s.io"
_SERVED_BY = {"External": "external.metrics.k8s.io", "Object": "custom.metrics.k8s.io",
              "Pods": "custom.metrics.k8s.io"}  # fmt: skip
_NETWORKING, _RBAC = "networking.k8s.io/v1", "rbac.authorization.k8s.io/v1"
_ADMISSION = "admissionregistration.k8s.io/v1"

Stored = Mapping[str, Any]


async def collect_autoscalers(api: connection.Connection, target: targets.Target) -> list[Item]:
    """Return the autoscalers of the target, or it itself, and which of the metrics' APIs exist."""
    path = kinds.path_of_known("HorizontalPodAutoscaler", target.namespace)
    found = await api.take(path, MAX_OF_KIND)
    own = [one for one in found if _scales(one, target)][:MAX_KEPT]
    if not own:
        return []
    groups = await api.get("/apis")
    served = {one.get("name") for one in groups.get("groups") or ()}
    types = {
        str(metric.get("type"))
        for one in own
        for metric in (one.get("spec") or {}).get("metrics") or ()
    }
    needed = dict.fromkeys((METRICS, *(_SERVED_BY[one] for one in sorted(types & {*_SERVED_BY}))))
    kind = "HorizontalPodAutoscaler"
    return [
        *_items("autoscaler", ItemKind.AUTOSCALER, "autoscaling/v2", kind, own),
        *(
            Item(
                id=f"api/{group}",
                kind=ItemKind.API_GROUP,
                value={"group": group, "served": group in served},
            )
            for group in needed
        ),
    ]


def _scales(stored: Stored, target: targets.Target) -> bool:
    scaled = (stored.get("spec") or {}).get("scaleTargetRef") or {}
    return (scaled.get("kind"), scaled.get("name")) == (target.kind, target.ref.name) or (
        target.kind == "HorizontalPodAutoscaler" and kinds.name_of(stored) == target.ref.name
    )


async def collect_budgets(api: connection.Connection, target: targets.Target) -> list[Item]:
    """Return the disruption budgets that select the target's pods."""
    path = connection.path_of("policy/v1", "poddisruptionbudgets", target.namespace)
    found = await api.take(path, MAX_OF_KIND)
    labels = surroundings.template_labels(target)
    own = [one for one in found if _matches(one, "selector", labels)][:MAX_KEPT]
    return _items("disruptionbudget", ItemKind.BUDGET, "policy/v1", "PodDisruptionBudget", own)


async def collect_network(api: connection.Connection, target: targets.Target) -> list[Item]:
    """Return the namespace's network policies: those of others decide who reaches whom."""
    path = connection.path_of(_NETWORKING, "networkpolicies", target.namespace)
    found = await api.take(path, MAX_OF_KIND)
    return _items("networkpolicy", ItemKind.NETWORK_POLICY, _NETWORKING, "NetworkPolicy", found)


def _matches(stored: Stored, field: str, labels: Mapping[str, str]) -> bool:
    selector = (stored.get("spec") or {}).get(field)
    return selector is not None and bool(labels) and selects(selector, labels)


def selects(selector: Stored, labels: Mapping[str, str]) -> bool:
    """Tell whether a label selector selects labels; an empty one selects all. Pure."""
    wanted = selector.get("matchLabels") or {}
    return wanted.items() <= labels.items() and all(
        _holds(one, labels) for one in selector.get("matchExpressions") or ()
    )


def _holds(expression: Stored, labels: Mapping[str, str]) -> bool:
    present = labels.get(expression["key"])
    operator, values = expression["operator"], expression.get("values") or ()
    if operator == "Exists":
        return present is not None
    if operator == "DoesNotExist":
        return present is None
    return (present in values) is (operator == "In")


async def collect_ingresses(api: connection.Connection, target: targets.Target) -> list[Item]:
    """Return the namespace's ingresses, or the target alone where it is one, and the classes."""
    found, classes = await asyncio.gather(
        api.take(kinds.path_of_known("Ingress", target.namespace), MAX_OF_KIND),
        api.take(connection.path_of(_NETWORKING, "ingressclasses"), MAX_OF_KIND),
    )
    if target.kind == "Ingress":
        found = [one for one in found if kinds.name_of(one) == target.ref.name]
    return [
        *_items("ingress", ItemKind.INGRESS, _NETWORKING, "Ingress", found[:MAX_KEPT]),
        *(
            Item(
                id=f"ingressclass/{kinds.name_of(one)}",
                kind=ItemKind.INGRESS_CLASS,
                value={
                    "name": kinds.name_of(one),
                    "default": (one["metadata"].get("annotations") or {}).get(
                        "ingressclass.kubernetes.io/is-default-class"
                    )
                    == "true",
                },
            )
            for one in (classes if found else ())
        ),
    ]


async def collect_identity(api: connection.Connection, target: targets.Target) -> list[Item]:
    """Return the ServiceAccount of the target's pods, and what its namespace lets it do."""
    pod_spec = references.pod_spec(target)
    if not pod_spec:
        return []
    name = str(pod_spec.get("serviceAccountName") or "default")
    space = target.namespace
    accounts, bindings, roles = await asyncio.gather(
        api.take(connection.path_of("v1", "serviceaccounts", space), MAX_OF_KIND),
        api.take(connection.path_of(_RBAC, "rolebindings", space), MAX_OF_KIND),
        api.take(connection.path_of(_RBAC, "roles", space), MAX_OF_KIND),
    )
    there = {kinds.name_of(one) for one in accounts}
    bound = [
        one for one in bindings if _binds(one, space, name) or _binds_nobody(one, space, there)
    ][:MAX_KEPT]
    named = {one["roleRef"]["name"] for one in bound if one["roleRef"].get("kind") == "Role"}
    named |= {name}  # a Role of the same name that nothing binds is worth knowing
    kept = [one for one in roles if kinds.name_of(one) in named][:MAX_KEPT]
    own = next((one for one in accounts if kinds.name_of(one) == name), None)
    value = {
        "name": name,
        "exists": own is not None,
        "others": [kinds.name_of(one) for one in accounts],
        "pullSecrets": [str(one["name"]) for one in (own or {}).get("imagePullSecrets") or ()],
    }
    return [
        Item(id=f"serviceaccount/{name}", kind=ItemKind.SERVICE_ACCOUNT, value=value),
        *_items("rolebinding", ItemKind.ROLE_BINDING, _RBAC, "RoleBinding", bound),
        *_items("role", ItemKind.ROLE, _RBAC, "Role", kept),
    ]


def _binds(binding: Stored, namespace: str, account: str) -> bool:
    return any(
        one.get("kind") == "ServiceAccount"
        and one.get("name") == account
        and one.get("namespace", namespace) == namespace
        for one in binding.get("subjects") or ()
    )


def _binds_nobody(binding: Stored, namespace: str, accounts: set[str]) -> bool:
    """Tell whether a binding names only ServiceAccounts that do not exist: it may mean ours."""
    subjects = binding.get("subjects") or ()
    return bool(subjects) and all(
        one.get("kind") == "ServiceAccount"
        and (one.get("namespace", namespace) != namespace or one.get("name") not in accounts)
        for one in subjects
    )


async def collect_webhooks(api: connection.Connection, events: Sequence[Stored]) -> list[Item]:
    """Return the admission webhooks that events name, with whether their Service answers."""
    texts = [str(one.get("message") or "") for one in events]
    if not any("webhook" in text for text in texts):
        return []
    listed = await asyncio.gather(
        *(api.take(connection.path_of(_ADMISSION, plural), MAX_OF_KIND) for plural in _PLURALS)
    )
    found = [
        (kind, kinds.name_of(stored), hook)
        for kind, configurations in zip(_PLURALS.values(), listed, strict=True)
        for stored in configurations
        for hook in stored.get("webhooks") or ()
        if any(f'"{hook.get("name")}"' in text for text in texts)
    ]
    return list(await asyncio.gather(*(_webhook(api, *one) for one in found[:MAX_KEPT])))


_PLURALS = {
    "validatingwebhookconfigurations": "ValidatingWebhookConfiguration",
    "mutatingwebhookconfigurations": "MutatingWebhookConfiguration",
}


async def _webhook(api: connection.Connection, kind: str, configuration: str, hook: Stored) -> Item:
    service = (hook.get("clientConfig") or {}).get("service") or {}
    value: dict[str, Any] = {
        "kind": kind,
        "configuration": configuration,
        "name": str(hook.get("name")),
        "failurePolicy": hook.get("failurePolicy", "Fail"),
    }
    if service:
        space, name = str(service.get("namespace")), str(service.get("name"))
        stored = await api.find(connection.path_of("v1", "services", space, name))
        value["service"] = f"{space}/{name}"
        value["serviceExists"] = stored is not None
        if stored is not None:
            endpoints = await surroundings.read_endpoints(api, space, stored)
            value["addresses"] = len(endpoints.value["addresses"])
    identity = f"webhook/{configuration}/{value['name']}"
    return Item(id=identity, kind=ItemKind.WEBHOOK, value=value)


def _items(
    prefix: str, kind: ItemKind, api_version: str, kind_name: str, found: Sequence[Stored]
) -> list[Item]:
    return list(_iterate(prefix, kind, {"apiVersion": api_version, "kind": kind_name}, found))


def _iterate(
    prefix: str, kind: ItemKind, type_: Mapping[str, str], found: Sequence[Stored]
) -> Iterator[Item]:
    for one in found:
        clean = redaction.clean_object({**type_, **one})
        yield Item(id=f"{prefix}/{kinds.name_of(one)}", kind=kind, value=clean)
