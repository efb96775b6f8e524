"""What a model is shown of a Kubernetes object: all that tells something, nothing that every object has."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.diagnosis import test_real_evidence

from selfheal.agents import compaction, prompts
from selfheal.diagnosis.evidence import ItemKind

POD = {
    "metadata": {
        "name": "web-1", "uid": "1", "resourceVersion": "7", "managedFields": [{"manager": "kubelet"}],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "team": "shop"},
        "labels": {"pod-template-hash": "abc", "app": "web"},
    },
    "spec": {
        "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "priority": 0,
        "tolerations": [{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}, {"key": "gpu"}],
        "volumes": [{"name": "kube-api-access-x7f", "projected": {}}, {"name": "cache", "emptyDir": {}}],
        "containers": [{"name": "app", "image": "nginx:1", "livenessProbe": {"successThreshold": 1, "periodSeconds": 10}}],
    },
    "status": {
        "conditions": [
            {"type": "Initialized", "status": "True", "lastTransitionTime": "x"},
            {"type": "Ready", "status": "False", "lastTransitionTime": "x", "reason": "ContainersNotReady"},
            {"type": "Failed", "status": "True", "lastTransitionTime": "x", "message": "it has failed"},
        ],
        "podIP": "10.0.0.1", "hostIP": "10.0.0.2",
    },
}  # fmt: skip


def test_defaults_and_bookkeeping_go_and_what_tells_something_stays() -> None:
    assert compaction.compact(POD) == {
        "metadata": {"name": "web-1", "annotations": {"team": "shop"}, "labels": {"app": "web"}},
        "spec": {
            "tolerations": [{"key": "gpu"}],
            "volumes": [{"name": "cache"}],
            "containers": [{"name": "app", "image": "nginx:1", "livenessProbe": {"periodSeconds": 10}}],
        },
        "status": {
            "conditions": [
                {"type": "Ready", "status": "False", "lastTransitionTime": "x", "reason": "ContainersNotReady"},
                {"type": "Failed", "status": "True", "lastTransitionTime": "x", "message": "it has failed"},
            ]
        },
    }  # fmt: skip


def test_a_value_that_is_not_the_default_stays() -> None:
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 5, "dnsPolicy": "None"}
    assert compaction.compact(spec) == spec


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values)
def test_any_value_is_compacted_once_and_for_all(value: object) -> None:
    once = compaction.compact(value)
    assert compaction.compact(once) == once
    assert len(json.dumps(once)) <= len(json.dumps(value))


def test_real_pods_lose_a_quarter_and_no_container_state() -> None:
    for pod in test_real_evidence.load("nginxconf").of(ItemKind.POD):
        small = compaction.compact(pod.value)
        assert len(json.dumps(small)) < 0.75 * len(json.dumps(pod.value))
        [before], [after] = pod.value["status"]["containerStatuses"], small["status"]["containerStatuses"]
        assert after["restartCount"] == before["restartCount"]
        assert after["lastState"]["terminated"]["exitCode"] == before["lastState"]["terminated"]["exitCode"]


def test_evidence_is_cut_to_what_the_context_of_the_model_takes() -> None:
    bundle = test_real_evidence.load("stuckcmd")
    whole = prompts.render_evidence(bundle, share_logs=True)
    room = prompts.compute_room(4_096)
    cut = prompts.render_evidence(bundle, share_logs=True, room=room)
    assert room < len(whole)
    assert len(cut) < room + 2_000  # what is left out and could not be had is named
    assert "No room for:" in cut
    assert prompts.compute_room(None) == prompts.compute_room(1_000_000) == prompts.MAX_EVIDENCE
