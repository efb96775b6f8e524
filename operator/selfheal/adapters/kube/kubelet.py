"""Counters from the kubelets' own port: rights ``nodes/metrics`` and ``nodes/stats``, never proxy.

The answers hold every pod of a node; what is kept is what belongs to the pods asked for.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import aiohttp

from selfheal.adapters.kube import connection, failures, kinds, rollout
from selfheal.domain import errors

DEADLINE = 5.0
MAX_BYTES = 32 * 1024 * 1024
MAX_NODES = 10
CACHED_SECONDS = 5.0  # cAdvisor itself samples every 10 to 15 s

_PERIODS = "container_cpu_cfs_periods_total"
_THROTTLED = "container_cpu_cfs_throttled_periods_total"
_WORKING_SET = "container_memory_working_set_bytes"
_SERIES_READ = (_PERIODS, _THROTTLED, _WORKING_SET)
_SERIES = re.compile(r"^(\w+)\{([^}]*)\}\s+(\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Key = tuple[str, str]


class Kubelets:
    """Reads counters of pods from their nodes; each node's answer is kept for 5 s."""

    def __init__(
        self,
        api: connection.Connection,
        *,
        insecure: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take a connection; ``insecure`` accepts any certificate, where a policy says so."""
        self._api, self._insecure, self._monotonic = api, insecure, monotonic
        self._cache: dict[str, tuple[float, str, str]] = {}
        self._asked: dict[str, asyncio.Lock] = {}
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all sockets; may be repeated."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def read(
        self, pods: Sequence[Mapping[str, Any]]
    ) -> tuple[dict[Key, rollout.Counters], list[dict[str, Any]], list[str]]:
        """Return counters by (pod, container), volumes, and what could not be had."""
        nodes = sorted({str((pod.get("spec") or {}).get("nodeName") or "") for pod in pods} - {""})
        texts = await asyncio.gather(*(self._ask(node) for node in nodes[:MAX_NODES]))
        counters: dict[Key, rollout.Counters] = {}
        volumes: list[dict[str, Any]] = []
        gaps: list[str] = []
        for metrics, summary, gap in texts:
            gaps += [gap] if gap else []
            found, mounted = parse_summary(summary, pods)
            volumes += mounted
            for key, one in parse_metrics(metrics, pods).items():
                working_set = one.working_set
                if working_set is None and key in found:
                    working_set = found[key].working_set
                found[key] = rollout.Counters(
                    working_set=working_set, periods=one.periods, throttled=one.throttled
                )
            counters |= found
        return counters, volumes, gaps

    async def _ask(self, node: str) -> tuple[str, str, str]:
        async with self._asked.setdefault(node, asyncio.Lock()):
            return await self._ask_once(node)

    async def _ask_once(self, node: str) -> tuple[str, str, str]:
        now = self._monotonic()
        cached = self._cache.get(node)
        if cached is not None and now - cached[0] < CACHED_SECONDS:
            return cached[1], cached[2], ""
        try:
            stored = await self._api.get(connection.path_of("v1", "nodes", name=node))
            base = base_url_of(stored)
            metrics, summary = await asyncio.gather(
                self._fetch(f"{base}/metrics/cadvisor"), self._fetch(f"{base}/stats/summary")
            )
        except errors.SelfHealError as error:
            return "", "", f"counters of node {node}: {error}"
        metrics = "\n".join(
            line for line in metrics.splitlines() if line.startswith(_SERIES_READ)
        )  # a tenth of what there is, and read once for each target
        self._cache[node] = (now, metrics, summary)
        return metrics, summary, ""

    async def _fetch(self, url: str) -> str:
        header = await self._api.authorization()
        headers = {"Authorization": header} if header else {}
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._tls())
            self._session = aiohttp.ClientSession(connector=connector)
        try:
            async with (
                asyncio.timeout(DEADLINE),
                self._session.get(url, headers=headers, allow_redirects=False) as answer,
            ):
                text = (await answer.content.read(MAX_BYTES)).decode("utf-8", errors="replace")
                while not answer.content.at_eof() and len(text) < MAX_BYTES:
                    text += (await answer.content.read(MAX_BYTES)).decode(errors="replace")
        except (TimeoutError, OSError, aiohttp.ClientError) as error:
            raise failures.translate_transport(error, method="GET", what=url) from error
        if answer.status >= 400:
            raise errors.Forbidden(
                f"the kubelet answers {answer.status} to {url}; grant nodes/metrics, nodes/stats",
                system=failures.SYSTEM,
            )
        return text

    def _tls(self) -> ssl.SSLContext:
        configuration = self._api.configuration
        context = ssl.create_default_context(
            cafile=configuration.ssl_ca_cert, cadata=configuration.ca_cert_data
        )
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, configuration.key_file)
        if self._insecure or not configuration.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def base_url_of(node: Mapping[str, Any]) -> str:
    """Return the kubelet's base URL; Stalled where the node has no internal address."""
    status = node.get("status") or {}
    port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port") or 10250
    for one in status.get("addresses") or ():
        if one.get("type") == "InternalIP":
            address = one["address"]
            return f"https://[{address}]:{port}" if ":" in address else f"https://{address}:{port}"
    raise errors.Stalled(
        f"node {kinds.name_of(node)} has no internal address", system=failures.SYSTEM
    )


def parse_metrics(text: str, pods: Iterable[Mapping[str, Any]]) -> dict[Key, rollout.Counters]:
    """Return counters of the pods' containers from cAdvisor's series; pure.

    Series of the whole pod (no container) mislead and are left out. A kubelet that knows no
    container labels is joined on the container id in the cgroup's path.
    """
    pods = list(pods)
    wanted = {(kinds.name_of(pod), pod["metadata"].get("namespace")) for pod in pods}
    by_id = {short: key for pod in pods for short, key in _container_ids(pod)}
    found: dict[Key, dict[str, float]] = {}
    for line in text.splitlines():
        if not line.startswith(_SERIES_READ):
            continue
        series = _SERIES.match(line)
        if series is None:
            continue
        labels = dict(_LABEL.findall(series[2]))
        container = labels.get("container", "")
        ours = (labels.get("pod"), labels.get("namespace")) in wanted
        key: Key | None = None
        if ours and container not in ("", "POD"):
            key = (labels["pod"], container)
        key = key or by_id.get(_last_part(labels.get("id", "")))
        if key is not None:
            found.setdefault(key, {})[series[1]] = float(series[3])
    return {
        key: rollout.Counters(
            working_set=values.get(_WORKING_SET),
            periods=values.get(_PERIODS),
            throttled=values.get(_THROTTLED),
        )
        for key, values in found.items()
    }


def _container_ids(pod: Mapping[str, Any]) -> Iterable[tuple[str, Key]]:
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        identity = str(status.get("containerID") or "").rpartition("://")[2]
        if identity:
            yield identity, (kinds.name_of(pod), status["name"])


def _last_part(cgroup: str) -> str:
    # systemd writes cri-containerd-<id>.scope, cgroupfs <id>
    return cgroup.rpartition("/")[2].removesuffix(".scope").rpartition("-")[2]


def parse_summary(
    text: str, pods: Iterable[Mapping[str, Any]]
) -> tuple[dict[Key, rollout.Counters], list[dict[str, Any]]]:
    """Return working sets and volumes of the pods from ``/stats/summary``; pure."""
    try:
        answer = json.loads(text) if text else {}
    except ValueError:
        answer = {}
    uids = {kinds.uid_of(pod) for pod in pods}
    counters: dict[Key, rollout.Counters] = {}
    volumes: list[dict[str, Any]] = []
    for entry in answer.get("pods") or ():
        reference = entry.get("podRef") or {}
        if reference.get("uid") not in uids:
            continue
        for one in entry.get("containers") or ():
            used = (one.get("memory") or {}).get("workingSetBytes")
            key = (str(reference.get("name")), str(one.get("name")))
            counters[key] = rollout.Counters(working_set=used)
        for volume in entry.get("volume") or ():
            claim = volume.get("pvcRef")
            if claim:
                volumes.append(
                    {
                        "pod": reference.get("name"),
                        "container": "",
                        "volume": volume.get("name"),
                        "claim": claim.get("name"),
                        "usedBytes": volume.get("usedBytes"),
                        "capacityBytes": volume.get("capacityBytes"),
                    }
                )
    return counters, volumes
