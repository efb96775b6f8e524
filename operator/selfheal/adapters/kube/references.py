"""What pods refer to: ConfigMaps with their keys, and the names of Secrets; never a value."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.adapters.kube import connection, kinds, targets
from selfheal.diagnosis.evidence import Item, ItemKind

MAX_NAMED = 20
MAX_LISTED = 50
MAX_SECRETS = 30
_EVERYWHERE = "kube-root-ca.crt"

Stored = Mapping[str, Any]


async def collect_config_maps(api: connection.Connection, target: targets.Target) -> list[Item]:
    """Return existence and keys of the ConfigMaps that the template names; never values.

    Where one is missing, those of the namespace are added: the one that is meant may be among them.
    """
    wanted = sorted({name for kind, name, _ in _named(pod_spec(target)) if kind == "ConfigMap"})
    path = connection.path_of("v1", "configmaps", target.namespace)
    found = await asyncio.gather(*(api.find(f"{path}/{name}") for name in wanted[:MAX_NAMED]))
    known = dict(zip(wanted, found, strict=False))
    if None in found:
        listed = await api.take(path, MAX_LISTED)
        others = {kinds.name_of(one): one for one in listed}
        known = {**others, **known}
        known.pop(_EVERYWHERE, None)
    return [_config_map(name, stored) for name, stored in known.items()]


def _config_map(name: str, stored: Stored | None) -> Item:
    content = stored or {}
    keys = {*(content.get("data") or {}), *(content.get("binaryData") or {})}
    value = {"name": name, "exists": stored is not None, "keys": sorted(keys)}
    return Item(id=f"configmap/{name}", kind=ItemKind.CONFIG_MAP, value=value)


def pod_spec(target: targets.Target) -> Stored:
    """Return the pod spec of the target; empty where it has none."""
    spec: Stored = (target.stored or {}).get("spec") or {}
    if target.kind == "Pod":
        return spec
    if target.kind == "CronJob":
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    found = (spec.get("template") or {}).get("spec")
    return found if isinstance(found, dict) else {}


def secrets_of(spec: Stored) -> list[dict[str, str]]:
    """Return the Secrets that a pod spec names, with the key where it names one."""
    found = [
        {"name": name, "key": key} if key else {"name": name}
        for kind, name, key in _named(spec)
        if kind == "Secret"
    ]
    return found[:MAX_SECRETS]


def _named(spec: Stored) -> Iterator[tuple[str, str, str]]:
    for volume in spec.get("volumes") or ():
        for source in (volume, *((volume.get("projected") or {}).get("sources") or ())):
            yield from _source("ConfigMap", source.get("configMap"), "name")
            yield from _source("Secret", source.get("secret"), "secretName")
            yield from _source("Secret", source.get("secret"), "name")
    for group in ("initContainers", "containers"):
        for container in spec.get(group) or ():
            for one in container.get("envFrom") or ():
                yield from _source("ConfigMap", one.get("configMapRef"), "name")
                yield from _source("Secret", one.get("secretRef"), "name")
            for one in container.get("env") or ():
                source = one.get("valueFrom") or {}
                yield from _source("ConfigMap", source.get("configMapKeyRef"), "name")
                yield from _source("Secret", source.get("secretKeyRef"), "name")


def _source(kind: str, source: Stored | None, field: str) -> Iterator[tuple[str, str, str]]:
    if not source or not source.get(field):
        return
    name = str(source[field])
    keys = [str(one["key"]) for one in source.get("items") or ()]
    yield kind, name, str(source.get("key") or "")
    yield from ((kind, name, key) for key in keys)
