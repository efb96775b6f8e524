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

from selfheal.adapters.kube import connection, failures, kinds, rollout, targets
from selfheal.domain import errors

DEADLINE = 7.0  # below what a piece of evidence may take
SHORT = 1.5  # for working sets, which only size a fix: a diagnosis does not wait for them
MAX_BYTES = 32 * 1024 * 1024
MAX_NODES = 10
CACHED_SECONDS = 5.0  # cAdvisor itself samples every 10 to 15 s
KEPT_SECONDS = 60.0  # a kubelet that does not answer now said this much ago what is still true

_PERIODS = "container_cpu_cfs_periods_total"
_THROTTLED = "container_cpu_cfs_throttled_periods_total"
_WORKING_SET = "container_memory_working_set_bytes"
_THROTTLED_SECONDS = "container_cpu_cfs_throttled_seconds_total"
_USED_SECONDS = "container_cpu_usage_seconds_total"
_STARTED = "container_start_time_seconds"
_SAMPLED = "sampled"  # when the periods were counted, in seconds
_SERIES_READ = (_PERIODS, _THROTTLED, _WORKING_SET, _THROTTLED_SECONDS, _USED_SECONDS, _STARTED)
_SERIES = re.compile(r"^(\w+)\{([^}]*)\}\s+(\S+)(?:\s+(\d+))?")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

# What a kubelet serves, the cheapest first: megabytes of cAdvisor's series take it seconds.
_RESOURCE, _CADVISOR, _SUMMARY = "/metrics/resource", "/metrics/cadvisor", "/stats/summary"

Key = tuple[str, str]


class Kubelets:
    """Reads counters of pods from their nodes; each node's answer is kept for 5 s.

    Throttling is asked for only where a container has a CPU limit, volumes only where a pod mounts
    a claim.
    """

    def __init__(
        self,
        api: connection.Connection,
        *,
        insecure: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take a connection; ``insecure`` accepts any certificate, where a policy says so."""
        self._api, self._insecure, self._monotonic = api, insecure, monotonic
        self._cache: dict[tuple[str, str], tuple[float, str]] = {}
        self._asked: dict[tuple[str, str], asyncio.Lock] = {}
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
        wanted = [(node, path) for node, paths in _needs(pods).items() for path in sorted(paths)]
        texts = await asyncio.gather(*(self._ask(node, path) for node, path in wanted))
        counters: dict[Key, rollout.Counters] = {}
        volumes: list[dict[str, Any]] = []
        gaps = [gap for _, gap in texts if gap]
        for (_, path), (text, _) in zip(wanted, texts, strict=True):
            if path == _SUMMARY:
                found, mounted = parse_summary(text, pods)
                volumes += mounted
            else:
                found = parse_metrics(text, pods)
            for key, one in found.items():
                counters[key] = _join(counters.get(key, rollout.Counters()), one)
        return counters, volumes, gaps

    async def _ask(self, node: str, path: str) -> tuple[str, str]:
        async with self._asked.setdefault((node, path), asyncio.Lock()):
            now = self._monotonic()
            cached = self._cache.get((node, path))
            if cached is not None and now - cached[0] < CACHED_SECONDS:
                return cached[1], ""
            try:
                stored = await self._api.get(connection.path_of("v1", "nodes", name=node))
                deadline = SHORT if path == _RESOURCE else DEADLINE
                text = await self._fetch(f"{base_url_of(stored)}{path}", deadline)
            except errors.SelfHealError as error:
                gap = f"counters of node {node}: {error}"
                if cached is not None and now - cached[0] < KEPT_SECONDS:
                    return cached[1], f"{gap}; those of {now - cached[0]:.0f} s ago are used"
                return "", gap
            if path != _SUMMARY:  # a tenth of what there is, and read once for each target
                lines = (one for one in text.splitlines() if one.startswith(_SERIES_READ))
                text = "\n".join(lines)
            self._cache[node, path] = (now, text)
            return text, ""

    async def _fetch(self, url: str, deadline: float) -> str:
        header = await self._api.authorization()
        headers = {"Authorization": header} if header else {}
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._tls())
            self._session = aiohttp.ClientSession(connector=connector)
        try:
            async with (
                asyncio.timeout(deadline),
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


def _needs(pods: Sequence[Mapping[str, Any]]) -> dict[str, set[str]]:
    """Return what to ask each node for, at most 10 nodes."""
    needs: dict[str, set[str]] = {}
    for pod in pods:
        spec = pod.get("spec") or {}
        if not spec.get("nodeName"):
            continue
        paths = needs.setdefault(str(spec["nodeName"]), set())
        limits = [
            (container.get("resources") or {}).get("limits") or {}
            for group in ("initContainers", "containers")
            for container in spec.get(group) or ()
        ]
        paths.add(_CADVISOR if any("cpu" in one for one in limits) else _RESOURCE)
        if targets.claims_of(pod):
            paths.add(_SUMMARY)
    for paths in needs.values():
        if _CADVISOR in paths:
            paths.discard(_RESOURCE)  # it has the working sets as well
    return dict(sorted(needs.items())[:MAX_NODES])


def _join(first: rollout.Counters, second: rollout.Counters) -> rollout.Counters:
    """Return both counters as one; what the first knows stands."""
    return rollout.Counters(
        working_set=first.working_set if first.working_set is not None else second.working_set,
        periods=first.periods if first.periods is not None else second.periods,
        throttled=first.throttled if first.throttled is not None else second.throttled,
        throttled_seconds=first.throttled_seconds or second.throttled_seconds,
        used_seconds=first.used_seconds or second.used_seconds,
        lived_seconds=first.lived_seconds or second.lived_seconds,
    )


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
            values = found.setdefault(key, {})
            values[series[1]] = float(series[3])
            if series[1] in (_PERIODS, _USED_SECONDS) and series[4]:
                values[_SAMPLED] = float(series[4]) / 1000
    return {key: _counters(values) for key, values in found.items()}


def _counters(values: Mapping[str, float]) -> rollout.Counters:
    started, sampled = values.get(_STARTED), values.get(_SAMPLED)
    return rollout.Counters(
        working_set=values.get(_WORKING_SET),
        periods=values.get(_PERIODS),
        throttled=values.get(_THROTTLED),
        throttled_seconds=values.get(_THROTTLED_SECONDS),
        used_seconds=values.get(_USED_SECONDS),
        lived_seconds=sampled - started if sampled and started else None,
    )


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
