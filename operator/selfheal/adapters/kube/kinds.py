"""Where the API server keeps each kind; the usual ones are known, the others are discovered."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from selfheal.adapters.kube import connection
from selfheal.domain import errors

# kind: (API version, plural); the newest stable version of each
KNOWN: Mapping[str, tuple[str, str]] = {
    "Deployment": ("apps/v1", "deployments"),
    "StatefulSet": ("apps/v1", "statefulsets"),
    "DaemonSet": ("apps/v1", "daemonsets"),
    "ReplicaSet": ("apps/v1", "replicasets"),
    "Pod": ("v1", "pods"),
    "Job": ("batch/v1", "jobs"),
    "CronJob": ("batch/v1", "cronjobs"),
    "Service": ("v1", "services"),
    "PersistentVolumeClaim": ("v1", "persistentvolumeclaims"),
    "HorizontalPodAutoscaler": ("autoscaling/v2", "horizontalpodautoscalers"),
    "Ingress": ("networking.k8s.io/v1", "ingresses"),
}


class Kinds:
    """Finds the path of an object by kind; what was discovered is kept."""

    def __init__(self, api: connection.Connection) -> None:
        """Take a connection."""
        self._api = api
        self._found: dict[str, Mapping[str, tuple[str, bool]]] = {}
        self._lock = asyncio.Lock()

    async def find_path(
        self, api_version: str, kind: str, namespace: str, name: str = ""
    ) -> str | None:
        """Return the path of an object (or of the list, without a name); None: unknown kind."""
        known = KNOWN.get(kind)
        if known is not None and known[0] == api_version:
            return connection.path_of(*known, namespace, name)
        async with self._lock:
            if api_version not in self._found:
                self._found[api_version] = await self._discover(api_version)
        entry = self._found[api_version].get(kind)
        if entry is None:
            return None
        plural, namespaced = entry
        return connection.path_of(api_version, plural, namespace if namespaced else "", name)

    async def _discover(self, api_version: str) -> Mapping[str, tuple[str, bool]]:
        try:
            answer = await self._api.get(connection.path_of(api_version, ""))
        except (errors.NotFound, errors.Stalled) as error:
            if isinstance(error, errors.Stalled) and error.reason != "KindUnknown":
                raise
            return {}
        return {
            entry["kind"]: (entry["name"], bool(entry["namespaced"]))
            for entry in answer.get("resources") or ()
            if "/" not in entry["name"]
        }


def path_of_known(kind: str, namespace: str, name: str = "") -> str:
    """Return the path of a kind of the allow-list; its API version is ours, not the reference's."""
    return connection.path_of(*KNOWN[kind], namespace, name)


def name_of(stored: Mapping[str, Any]) -> str:
    """Return an object's name."""
    return str(stored["metadata"]["name"])


def uid_of(stored: Mapping[str, Any]) -> str:
    """Return an object's uid."""
    return str(stored["metadata"].get("uid", ""))


def controller_of(stored: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the owner reference that controls an object; None: nobody does."""
    for owner in stored["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            return dict(owner)
    return None


def is_owned_by(stored: Mapping[str, Any], uids: set[str]) -> bool:
    """Say whether one of the uids owns the object."""
    owners = stored["metadata"].get("ownerReferences") or ()
    return any(owner.get("uid") in uids for owner in owners)


def render_selector(selector: Mapping[str, Any]) -> str:
    """Render a label selector as the query parameter; empty: none."""
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for one in selector.get("matchExpressions") or ():
        key, values = one["key"], ",".join(one.get("values") or ())
        parts.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }[one["operator"]]
        )
    return ",".join(parts)
