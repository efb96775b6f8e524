"""What the cluster says, as it says it: one watch a kind, and waits for a predicate over it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import aiohttp

from selfheal.adapters.kube import connection

PATHS = {
    "Pod": "/api/v1/pods",
    "Event": "/api/v1/events",
    "ServiceAccount": "/api/v1/serviceaccounts",
    "ConfigMap": "/api/v1/configmaps",
    "Namespace": "/api/v1/namespaces",
    "PersistentVolumeClaim": "/api/v1/persistentvolumeclaims",
    "Deployment": "/apis/apps/v1/deployments",
    "Job": "/apis/batch/v1/jobs",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/horizontalpodautoscalers",
    "PodDisruptionBudget": "/apis/policy/v1/poddisruptionbudgets",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/endpointslices",
    "ResourceQuota": "/api/v1/resourcequotas",
}

Stored = Mapping[str, Any]


class Watched:
    """The objects of all namespaces by kind, kept by watches."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str, str], Stored] = {}
        self._changed = asyncio.Condition()

    def of(self, kind: str, namespace: str) -> Iterator[Stored]:
        """The objects of a kind in a namespace."""
        return (one for (its, space, _), one in list(self._objects.items()) if its == kind and space == namespace)

    def find(self, kind: str, namespace: str, name: str) -> Stored | None:
        """One object; None where it is not there."""
        return self._objects.get((kind, namespace, name))

    def count_on_node(self) -> int:
        """How many pods take a place on the node."""
        pods = [one for (kind, _, _), one in self._objects.items() if kind == "Pod"]
        return sum(
            bool(pod["spec"].get("nodeName")) and pod["status"].get("phase") not in ("Succeeded", "Failed")
            for pod in pods
        )

    async def wait(self, predicate: Callable[[], bool], *, seconds: float, again: float = 1.0) -> bool:
        """Wait until the predicate holds; False after so many seconds. Looked at on every change, and each second."""
        ends = time.monotonic() + seconds
        async with self._changed:
            while not predicate():
                left = ends - time.monotonic()
                if left <= 0:
                    return False
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), min(left, again))
        return True

    async def follow(self, session: aiohttp.ClientSession, url: str, kind: str) -> None:
        """Keep one kind until cancelled; a watch that ends is begun anew."""
        while True:
            async with session.get(f"{url}{PATHS[kind]}?watch=true") as answer:
                answer.raise_for_status()
                async for line in answer.content:
                    said = json.loads(line)
                    async with self._changed:
                        self._keep(kind, said["type"], said["object"])
                        self._changed.notify_all()

    def _keep(self, kind: str, change: str, stored: Stored) -> None:
        if change not in ("ADDED", "MODIFIED", "DELETED"):
            return
        metadata = stored["metadata"]
        key = (kind, metadata.get("namespace", ""), metadata["name"])
        if change == "DELETED":
            self._objects.pop(key, None)
        else:
            self._objects[key] = stored


@contextlib.asynccontextmanager
async def watch(api: connection.Connection) -> AsyncIterator[Watched]:
    """Watch everything of PATHS while the block runs."""
    configuration = api.configuration
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert, cadata=configuration.ca_cert_data)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    header = await api.authorization()
    watched = Watched()
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, limit=0),
        timeout=aiohttp.ClientTimeout(total=None),
        headers={"Authorization": header} if header else {},
        read_bufsize=2**24,
    ) as session:
        tasks = [asyncio.create_task(watched.follow(session, configuration.host, kind)) for kind in PATHS]
        try:
            yield watched
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def holds(watched: Watched, namespace: str, wanted: Mapping[str, Any], age: float) -> bool:
    """Whether one condition of a fault's ``symptom`` holds."""
    if "seconds" in wanted:
        return age >= float(wanted["seconds"])
    if "event" in wanted:
        return any(_is_event(one, wanted) for one in watched.of("Event", namespace))
    if "pod" in wanted:
        return any(_is_pod(one, wanted) for one in watched.of("Pod", namespace))
    kind, _, name = wanted["object"].partition("/")
    found = watched.find(kind, namespace, name)
    return found is not None and _at(found, wanted["path"].split(".")) == wanted["is"]


def _is_event(event: Stored, wanted: Mapping[str, Any]) -> bool:
    about = event.get("involvedObject") or {}
    name = f"{about.get('kind')}/{about.get('name')}"
    count = event.get("count") or (event.get("series") or {}).get("count") or 1
    return (
        event.get("reason") == wanted["event"]
        and name.startswith(wanted.get("about", ""))
        and wanted.get("says", "") in (event.get("message") or "")
        and count >= wanted.get("count", 1)
    )


def _is_pod(pod: Stored, wanted: Mapping[str, Any]) -> bool:
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    if name != wanted["pod"] and not name.startswith(f"{wanted['pod']}-"):
        return False
    if "phase" in wanted and status.get("phase") != wanted["phase"]:
        return False
    if "ready" in wanted and is_ready(pod) is not wanted["ready"]:
        return False
    if not {"container", "waiting", "last", "restarts", "exit"} & set(wanted):
        return True
    groups = ("initContainerStatuses", "containerStatuses")
    return any(_is_container(one, wanted) for group in groups for one in status.get(group) or ())


def _is_container(status: Stored, wanted: Mapping[str, Any]) -> bool:
    state, last = status.get("state") or {}, status.get("lastState") or {}
    waiting = (state.get("waiting") or {}).get("reason")
    ended = [one.get("terminated") or {} for one in (state, last)]
    return (
        ("container" not in wanted or status["name"] == wanted["container"])
        and ("waiting" not in wanted or waiting in wanted["waiting"])
        and ("last" not in wanted or any(one.get("reason") == wanted["last"] for one in ended))
        and ("exit" not in wanted or any(one.get("exitCode") == wanted["exit"] for one in ended))
        and status.get("restartCount", 0) >= wanted.get("restarts", 0)
    )


def is_ready(pod: Stored) -> bool:
    """Whether a pod is Ready."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def is_rolled_out(watched: Watched, deployment: Stored) -> bool:
    """Whether the controller has brought a Deployment to the generation that an object has."""
    metadata = deployment["metadata"]
    found = watched.find("Deployment", metadata["namespace"], metadata["name"])
    if found is None:
        return False
    status, wanted = found.get("status") or {}, found["spec"].get("replicas", 1)
    return bool(
        status.get("observedGeneration", 0) >= metadata["generation"]
        and status.get("updatedReplicas", 0) == status.get("replicas", 0) == wanted
        and status.get("availableReplicas", 0) == wanted
    )


def is_settled(pod: Stored) -> bool:
    """Whether a pod is Ready or has done its work."""
    return is_ready(pod) or (pod.get("status") or {}).get("phase") == "Succeeded"


def _at(value: Any, path: list[str]) -> Any:
    for part in path:
        if isinstance(value, list):
            value = next((one for one in value if one.get("type") == part), None)
        elif isinstance(value, Mapping):
            value = value.get(part)
    return value
