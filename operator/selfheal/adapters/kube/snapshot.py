"""A connection that asks for each list once: many targets of some namespaces read from one copy.

Lists are fetched whole at first need, for all namespaces by one request where there are several,
and selected from here; single objects are looked up in lists that are worth it, or asked for once.
Logs, proxies and everything but GET go through. A snapshot serves one scan and is then dropped.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from selfheal.adapters.kube import connection, kinds, kubelet, rollout
from selfheal.domain import errors

SEVERAL = 3
"""From so many namespaces on a kind is listed once for the whole cluster."""

MAX_OBJECTS = 20_000

_PATH = re.compile(
    r"^(?P<root>/api/v1|/apis/[^/]+/[^/]+)(?:/namespaces/(?P<space>[^/]+))?/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?$"
)
_LISTED = {
    "pods": "Pod", "deployments": "Deployment", "statefulsets": "StatefulSet",
    "daemonsets": "DaemonSet", "replicasets": "ReplicaSet", "jobs": "Job", "cronjobs": "CronJob",
    "services": "Service", "persistentvolumeclaims": "PersistentVolumeClaim",
    "horizontalpodautoscalers": "HorizontalPodAutoscaler", "ingresses": "Ingress", "nodes": "Node",
}  # fmt: skip
"""Kinds whose single objects are taken from their list; lists of ConfigMaps are too large."""

_TERM = re.compile(
    r"\s*(?P<not>!?)(?P<key>[^\s=!,()]+)\s*(?:(?P<op>==|=|!=|\bin\b|\bnotin\b)\s*(?P<value>\([^)]*\)|[^,]*))?"
)

Stored = Mapping[str, Any]
Readings = tuple[dict[tuple[str, str], rollout.Counters], list[dict[str, Any]], list[str]]


class Snapshot(connection.Connection):
    """A connection over another one; what only reads may be asked any number of times."""

    def __init__(self, api: connection.Connection, namespaces: frozenset[str]) -> None:
        """Take the connection to ask and the namespaces that the scan is about."""
        self._inner, self._namespaces = api, namespaces
        self.configuration, self.namespace = api.configuration, api.namespace
        self._lists: dict[str, asyncio.Task[dict[str, list[Stored]]]] = {}
        self._objects: dict[str, asyncio.Task[Any | None]] = {}

    async def close(self) -> None:
        """End what is still asked for; the connection is its owner's. May be repeated."""
        asked = [*self._lists.values(), *self._objects.values()]
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)

    async def authorization(self) -> str | None:
        """Return the bearer header of the connection."""
        return await self._inner.authorization()

    async def find(self, path: str, query: connection.Query | None = None) -> Any | None:
        """Return an object from its list, or ask for it once."""
        found = _PATH.match(path)
        if query or found is None or found["name"] is None:
            return await self._inner.find(path, query)
        kind = _LISTED.get(found["plural"])
        if kind is None or (found["space"] or "") not in {*self._namespaces, ""}:
            if path not in self._objects:
                self._objects[path] = asyncio.create_task(self._inner.find(path))
            return await asyncio.shield(self._objects[path])
        listed = await self._list(found["root"], found["space"] or "", found["plural"])
        for one in listed:
            if one["metadata"]["name"] == found["name"]:
                version = found["root"].removeprefix("/apis/").removeprefix("/api/")
                return {"apiVersion": version, "kind": kind} | dict(one)
        return None

    async def get(
        self,
        path: str,
        query: connection.Query | None = None,
        *,
        deadline: float = connection.DEADLINE,
    ) -> Any:
        """Return an object as ``find`` does; NotFound when it is not there."""
        found = _PATH.match(path)
        if query or found is None or found["name"] is None or found["plural"] not in _LISTED:
            return await self._inner.get(path, query, deadline=deadline)
        stored = await self.find(path)
        if stored is None:
            raise errors.NotFound(f"GET {path}: there is none")
        return stored

    async def take(self, path: str, limit: int, query: connection.Query | None = None) -> list[Any]:
        """Return at most ``limit`` objects of a list, selected from here."""
        found = _PATH.match(path)
        asked = dict(query or {})
        if (
            found is None
            or found["name"] is not None
            or not {*asked} <= {"labelSelector", "fieldSelector"}
        ):
            return await self._inner.take(path, limit, query)
        space = found["space"] or ""
        if space and space not in self._namespaces:
            return await self._inner.take(path, limit, query)
        listed = await self._list(found["root"], space, found["plural"])
        terms = list(_terms(str(asked.get("labelSelector", ""))))
        fields = list(_terms(str(asked.get("fieldSelector", ""))))
        return [
            one
            for one in listed
            if all(_holds(term, one["metadata"].get("labels") or {}) for term in terms)
            and all(_holds(term, {term[1]: _at(one, term[1])}) for term in fields)
        ][:limit]

    async def exchange(self, method: str, path: str, **rest: Any) -> connection.Answer:
        """Send a request by the connection."""
        return await self._inner.exchange(method, path, **rest)

    async def _list(self, root: str, space: str, plural: str) -> list[Stored]:
        narrow = f"{root}/namespaces/{space}/{plural}" if space else f"{root}/{plural}"
        if space and len(self._namespaces) < SEVERAL:
            return (await self._listed(narrow)).get(space, [])
        try:
            return (await self._listed(f"{root}/{plural}")).get(space, [])
        except errors.Forbidden:
            if not space:
                raise
            return (await self._listed(narrow)).get(space, [])

    async def _listed(self, path: str) -> dict[str, list[Stored]]:
        if path not in self._lists:
            self._lists[path] = asyncio.create_task(self._fetch(path))
        return await asyncio.shield(self._lists[path])

    async def _fetch(self, path: str) -> dict[str, list[Stored]]:
        """Return a list by namespace; what stands in none under the empty name."""
        found: dict[str, list[Stored]] = {}
        number = 0
        async for one in self._inner.pages(path):
            found.setdefault(str(one["metadata"].get("namespace") or ""), []).append(one)
            number += 1
            if number >= MAX_OBJECTS:
                break
        return found


Term = tuple[bool, str, str, frozenset[str]]


def _terms(selector: str) -> Iterator[Term]:
    """Parse a label or field selector: negated, key, operator, values."""
    for found in _TERM.finditer(selector):
        text = (found["value"] or "").strip()
        values = frozenset(one.strip() for one in text.strip("()").split(","))
        yield bool(found["not"]), found["key"], found["op"] or "", values


def _holds(term: Term, labels: Mapping[str, Any]) -> bool:
    negated, key, operator, values = term
    if not operator:
        return (key in labels) is not negated
    if operator in ("=", "==", "in"):
        return key in labels and str(labels[key]) in values
    return key not in labels or str(labels[key]) not in values


def _at(stored: Any, path: str) -> Any:
    for part in path.split("."):
        stored = stored.get(part) if isinstance(stored, Mapping) else None
    return stored


class SharedKubelets(kubelet.Kubelets):
    """Counters read once a namespace for a scan, and shared by all its targets."""

    def __init__(self, inner: kubelet.Kubelets) -> None:
        """Take the kubelets to ask; their sockets are their owner's."""
        self._inner = inner
        self._read: dict[str, Readings] = {}

    async def close(self) -> None:
        """Close nothing."""

    async def read_all(self, namespace: str, pods: Sequence[Stored]) -> Readings:
        """Read the counters of all pods of a namespace; later reads are answered from them."""
        self._read[namespace] = await self._inner.read(pods)
        return self._read[namespace]

    async def read(self, pods: Sequence[Stored]) -> Readings:
        """Return what was read of some pods of a namespace."""
        spaces = {str(pod["metadata"].get("namespace")) for pod in pods}
        known = self._read.get(spaces.pop()) if len(spaces) == 1 else None
        if known is None:
            return await self._inner.read(pods)
        names = {kinds.name_of(pod) for pod in pods}
        counters, volumes, gaps = known
        return (
            {key: one for key, one in counters.items() if key[0] in names},
            [one for one in volumes if one["pod"] in names],
            gaps,
        )
