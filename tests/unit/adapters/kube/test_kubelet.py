"""The kubelet's counters: parsed, joined, cached, and what is said where there are none."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from kubernetes.aio.client import Configuration

from selfheal.adapters.kube import connection, kubelet, rollout
from selfheal.domain import errors

POD = {
    "metadata": {"name": "web-1", "namespace": "ns", "uid": "u1"},
    "spec": {"nodeName": "node-1"},
    "status": {"containerStatuses": [{"name": "app", "containerID": "containerd://c0ffee"}]},
}
LIMITED = {"containers": [{"name": "app", "resources": {"limits": {"cpu": "1"}}}]}
MOUNTED = {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "c"}}]}
BUSY = POD | {"spec": {"nodeName": "node-1"} | LIMITED | MOUNTED}
METRICS = """
# HELP container_cpu_cfs_periods_total x
container_cpu_cfs_periods_total{container="",id="/kubepods/podu1",namespace="ns",pod="web-1"} 900 1
container_cpu_cfs_periods_total{container="app",id="/k/c0ffee",namespace="ns",pod="web-1"} 285 1
container_cpu_cfs_throttled_periods_total{container="app",namespace="ns",pod="web-1"} 57 1
container_memory_working_set_bytes{container="app",namespace="ns",pod="web-1"} 1.5e+06 1
container_memory_working_set_bytes{container="app",namespace="other",pod="web-1"} 9 1
container_memory_working_set_bytes{container="POD",namespace="ns",pod="web-1"} 9 1
container_memory_working_set_bytes broken
"""
SUMMARY = json.dumps(
    {
        "pods": [
            {
                "podRef": {"name": "web-1", "uid": "u1"},
                "containers": [{"name": "app", "memory": {"workingSetBytes": 77}}],
                "volume": [
                    {"name": "data", "pvcRef": {"name": "c"}, "usedBytes": 9, "capacityBytes": 10},
                    {"name": "token", "usedBytes": 1},
                ],
            },
            {"podRef": {"name": "other", "uid": "u2"}},
        ]
    }
)


def test_series_of_the_container_count_not_those_of_its_pod() -> None:
    assert kubelet.parse_metrics(METRICS, [POD]) == {
        ("web-1", "app"): rollout.Counters(working_set=1.5e6, periods=285, throttled=57)
    }


def test_a_sample_says_how_long_the_container_had_lived_and_what_it_used() -> None:
    labels = '{container="app",namespace="ns",pod="web-1"}'
    series = {
        "container_cpu_cfs_periods_total": "400 1700000050000",
        "container_cpu_cfs_throttled_seconds_total": "12.5 1700000050000",
        "container_cpu_usage_seconds_total": "3.25 1700000050000",
        "container_start_time_seconds": "1.70000001e+09 1700000050000",
    }
    text = "\n".join(f"{name}{labels} {value}" for name, value in series.items())
    found = kubelet.parse_metrics(text, [POD])[("web-1", "app")]
    assert (found.throttled_seconds, found.used_seconds, found.lived_seconds) == (12.5, 3.25, 40.0)


@pytest.mark.parametrize(
    "path", ["/kubepods/podu1/c0ffee", "/kubepods.slice/x.slice/cri-containerd-c0ffee.scope"]
)
def test_without_labels_the_container_id_joins(path: str) -> None:
    text = f'container_cpu_cfs_periods_total{{id="{path}"}} 5 1'
    found = kubelet.parse_metrics(text, [POD])
    assert found[("web-1", "app")].periods == 5


def test_the_summary_has_working_sets_and_volumes_of_claims() -> None:
    counters, volumes = kubelet.parse_summary(SUMMARY, [POD])
    assert counters == {("web-1", "app"): rollout.Counters(working_set=77)}
    assert volumes == [
        {
            "pod": "web-1", "container": "", "volume": "data", "claim": "c",
            "usedBytes": 9, "capacityBytes": 10,
        }
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "not json", "{}"])
def test_a_summary_that_says_nothing(text: str) -> None:
    assert kubelet.parse_summary(text, [POD]) == ({}, [])


def node(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "node-1"}, "status": status}


def test_the_kubelet_listens_on_the_internal_address() -> None:
    addresses = [
        {"type": "Hostname", "address": "n"},
        {"type": "InternalIP", "address": "10.0.0.1"},
    ]
    assert kubelet.base_url_of(node(addresses=addresses)) == "https://10.0.0.1:10250"
    six = [{"type": "InternalIP", "address": "fd00::1"}]
    port = {"kubeletEndpoint": {"Port": 10255}}
    assert (
        kubelet.base_url_of(node(addresses=six, daemonEndpoints=port)) == "https://[fd00::1]:10255"
    )
    with pytest.raises(errors.Stalled, match="no internal address"):
        kubelet.base_url_of(node())


class Kubelets(kubelet.Kubelets):
    """Answers from tables instead of sockets."""

    def __init__(self, answers: dict[str, str | errors.SelfHealError]) -> None:
        self.clock, self.asked = 0.0, 0
        api = connection.Connection(Configuration(host="http://127.0.0.1:1"))
        super().__init__(api, monotonic=lambda: self.clock)
        self.answers = answers

        async def get(path: str) -> dict[str, Any]:
            return node(addresses=[{"type": "InternalIP", "address": "10.0.0.1"}])

        api.get = get  # type: ignore[method-assign, assignment]

    async def _fetch(self, url: str, deadline: float) -> str:
        self.asked += 1
        answer = self.answers[url.rpartition("/")[2]]
        if isinstance(answer, errors.SelfHealError):
            raise answer
        return answer


async def test_all_answers_make_one_and_are_kept_for_a_moment() -> None:
    subject = Kubelets({"cadvisor": METRICS, "summary": SUMMARY})
    counters, volumes, gaps = await subject.read([BUSY])
    assert counters[("web-1", "app")] == rollout.Counters(
        working_set=1.5e6, periods=285, throttled=57
    )
    assert (len(volumes), gaps) == (1, [])
    await asyncio.gather(subject.read([BUSY]), subject.read([BUSY]))
    assert subject.asked == 2
    subject.clock += kubelet.CACHED_SECONDS
    await subject.read([BUSY])
    assert subject.asked == 4


async def test_readers_at_once_ask_once() -> None:
    subject = Kubelets({"resource": METRICS})
    await asyncio.gather(*(subject.read([POD]) for _ in range(5)))
    assert subject.asked == 1


@pytest.mark.parametrize(
    ("spec", "asked"),
    [({}, {"resource"}), (LIMITED, {"cadvisor"}), (MOUNTED, {"resource", "summary"})],
)
async def test_only_what_the_pods_need_is_asked_for(spec: dict[str, Any], asked: set[str]) -> None:
    answers = {"cadvisor": METRICS, "summary": SUMMARY, "resource": METRICS}
    subject = Kubelets({name: text for name, text in answers.items() if name in asked})
    counters, _, gaps = await subject.read([POD | {"spec": {"nodeName": "node-1"} | spec}])
    assert (subject.asked, gaps) == (len(asked), [])
    assert counters[("web-1", "app")].working_set == 1.5e6


async def test_a_working_set_comes_from_the_summary_where_cadvisor_has_none() -> None:
    metrics = METRICS.replace("container_memory_working_set_bytes", "x")
    subject = Kubelets({"cadvisor": metrics, "summary": SUMMARY})
    counters, _, _ = await subject.read([BUSY])
    assert counters[("web-1", "app")].working_set == 77


async def test_a_refusing_kubelet_is_a_gap_and_the_rest_is_kept() -> None:
    subject = Kubelets({"cadvisor": errors.Forbidden("grant nodes/metrics"), "summary": SUMMARY})
    counters, volumes, gaps = await subject.read([BUSY])
    assert counters == {("web-1", "app"): rollout.Counters(working_set=77)}
    assert len(volumes) == 1
    assert gaps == ["counters of node node-1: grant nodes/metrics"]


async def test_pods_without_a_node_ask_nobody() -> None:
    subject = Kubelets({})
    assert await subject.read([{"metadata": {"name": "p"}, "spec": {}}]) == ({}, [], [])
    assert subject.asked == 0


async def test_what_a_kubelet_said_a_moment_ago_still_counts() -> None:
    subject = Kubelets({"cadvisor": METRICS, "summary": SUMMARY})
    first, _, _ = await subject.read([BUSY])
    subject.answers["cadvisor"] = errors.Transient("no answer")
    subject.clock += kubelet.CACHED_SECONDS + 2
    again, _, gaps = await subject.read([BUSY])
    assert again == first
    assert any("no answer; those of 7 s ago are used" in gap for gap in gaps)
    subject.clock += kubelet.KEPT_SECONDS
    lost, _, gaps = await subject.read([BUSY])
    assert all(one.periods is None for one in lost.values())
    assert any(gap.endswith("no answer") for gap in gaps)
