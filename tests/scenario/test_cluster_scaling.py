"""Class 12, the nodes are full: the node group that the policy names grows in Git, and the pods find a node."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
from tests.scenario.world import (
    NAMESPACE,
    SOURCE,
    World,
    approve_when_asked,
    policy_spec,
    repository_spec,
)
from tests.unit.diagnosis import around
from tests.unit.diagnosis.test_scheduling import NO_CPU

from selfheal.api.incident import Phase, Resolution, TargetRef
from selfheal.diagnosis.evidence import Bundle

NODES = "infrastructure/nodes.yaml"
GROUP = """\
apiVersion: cluster.x-k8s.io/v1beta1
kind: MachineDeployment
metadata: {name: workers}
spec:
  replicas: 3   # raised in autumn
"""
SPEC = {"file": NODES, "kind": "MachineDeployment", "name": "workers", "maxNodes": 5}


class Full(World):
    """A cluster whose nodes have no cpu left until the node group in Git has grown."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.grown: str | None = None
        self.arrival = 30.0
        repo = self.code.repo()
        repo.commit("main", {**repo.files("main"), NODES: GROUP.encode()}, author="dev", message="nodes", at=self.clock.now())
        self.cluster.judge = lambda spec: None
        self.well = copy.deepcopy(self._relieve())
        self._starve()
        collect = self.cluster.collect_evidence

        async def with_nodes(namespace: str, ref: TargetRef, now: Any) -> Bundle:
            found = await collect(namespace, ref, now)
            return dataclasses.replace(found, items=(*found.items, around.node(cpu="1", memory="4Gi")))

        self.cluster.collect_evidence = with_nodes  # type: ignore[method-assign]
        self.people.append(approve_when_asked)

    def _relieve(self) -> list[dict[str, Any]]:
        self.cluster.remove(NAMESPACE, "Deployment", "checkout")
        super().apply_source(SOURCE.encode())
        return self.cluster.pods[NAMESPACE, "Deployment", "checkout"]

    def _starve(self) -> None:
        for pod in self.cluster.pods[NAMESPACE, "Deployment", "checkout"]:
            pod["spec"].pop("nodeName", None)
            condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": NO_CPU}
            pod["status"] = {"phase": "Pending", "conditions": [condition]}

    def _schedule_delivery(self, files: Mapping[str, bytes]) -> None:
        self.grown = files.get(NODES, b"").decode()
        self.deliveries.append((self.clock.seconds + self.arrival, files))

    def apply_source(self, content: bytes) -> None:
        super().apply_source(content)
        if getattr(self, "grown", None) and "replicas: 4" in str(self.grown):
            self.cluster.pods[NAMESPACE, "Deployment", "checkout"] = self.well


def with_group(**changes: Any) -> Any:
    return policy_spec(**repository_spec(nodeGroup={**SPEC, **changes}))


async def test_the_node_group_grows_by_a_pull_request_and_the_pods_find_a_node() -> None:
    world = Full()
    world.file_incident(with_group())
    await world.run_to_end()
    assert world.status.resolution is Resolution.FIXED, world.describe()
    assert world.grown == GROUP.replace("replicas: 3", "replicas: 4")
    assert world.status.fix is not None
    assert (world.status.fix.risk, [one.path for one in world.status.fix.files]) == ("High", [NODES])
    assert "1 waiting pod request 0.1 cpu; a node offers 1 cpu: 1 more." in world.pull.body
    assert "It costs what the nodes cost" in world.pull.body
    assert "PodsScheduled" in [check.name for check in world.status.verification.checks]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (policy_spec(), "A person has to add a node"),
        (with_group(maxNodes=3), "the policy's cap is 3"),
        (with_group(name="nobody"), "declares no MachineDeployment nobody"),
        (with_group(file="infrastructure/none.yaml"), "is not in the repository"),
        (policy_spec(**repository_spec(nodeGroup=SPEC), guards={"protectedPaths": ["infrastructure"]}), "protected path"),
    ],
    ids=["not-named", "at-cap", "no-object", "no-file", "protected"],
)
async def test_what_may_not_grow_goes_to_a_person(policy: Any, words: str) -> None:
    world = Full()
    world.file_incident(policy)
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    assert world.status.handover is not None
    assert words in world.status.handover.message
    assert world.code.created.total() == 0


async def test_nodes_that_never_come_are_handed_over() -> None:
    world = Full()
    world.arrival = 10**9
    world.file_incident(with_group())
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    assert world.phases()[-2] is Phase.PR_MERGED, world.describe()
