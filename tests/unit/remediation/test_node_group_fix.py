"""A node group grows by what waits, in one place, up to the policy's step and cap; else it is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from tests.scenario.world import policy_spec, repository_spec
from tests.unit.diagnosis import around
from tests.unit.diagnosis import evidence_factory as make
from tests.unit.diagnosis.test_scheduling import NO_CPU

from selfheal.api.node_group import NodeGroupSpec
from selfheal.diagnosis import registry
from selfheal.diagnosis.evidence import Bundle, Finding, Item
from selfheal.domain import mapping
from selfheal.remediation import node_group_fix
from selfheal.remediation.edits import Proposal, Refusal

FILE = "infrastructure/nodes.yaml"
NO_MEMORY = NO_CPU.replace("Insufficient cpu", "Insufficient memory")
GROUP = """\
# the workers
apiVersion: cluster.x-k8s.io/v1beta1
kind: MachineDeployment
metadata: {name: other}
spec: {replicas: 9}
---
apiVersion: cluster.x-k8s.io/v1beta1
kind: KIND
metadata: {name: workers}
spec:
  replicas: 3   # raised in autumn
"""
POOL = """\
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {name: workers}
spec:
  limits:
    cpu: 8
    memory: 32Gi  # two nodes
"""
VARIABLE = 'variable "workers" {\n  type    = number\n  default = 3\n}\n\nvariable "others" {\n  default = 3\n}\n'


def pending(name: str, message: str = NO_CPU, **requests: str) -> Item:
    item = make.pod(name, statuses=[], phase="Pending", scheduled=message)
    item.value["spec"]["containers"] = [make.container(resources={"requests": requests})]
    return item


def waiting(*items: Item) -> tuple[Finding, Bundle]:
    found = around.bundle(*items)
    return registry.diagnose(found)[0], found


TWO = (pending("a", cpu="1"), pending("b", cpu="1500m"), around.node(cpu="2", memory="4Gi"))


def propose(text: str, items: tuple[Item, ...] = TWO, *, file: str = FILE, **spec: Any) -> Proposal:
    group = NodeGroupSpec.model_validate(
        {"file": FILE, "kind": "MachineDeployment", "name": "workers", "maxNodes": 10, "step": 5, **spec}
    )
    finding, bundle = waiting(*items)
    return node_group_fix.propose(finding, bundle, group, {file: text.encode()})


def changed(proposal: Proposal) -> list[str]:
    return [line for line in proposal.diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]


def refused(*args: Any, **spec: Any) -> str:
    with pytest.raises(Refusal) as caught:
        propose(*args, **spec)
    return f"{caught.value.reason}: {caught.value.message}"


@pytest.mark.parametrize("kind", ["MachineDeployment", "MachinePool"])
def test_replicas_rise_by_what_waits(kind: str) -> None:
    found = propose(GROUP.replace("KIND", kind), kind=kind)
    assert changed(found) == ["-  replicas: 3   # raised in autumn", "+  replicas: 5   # raised in autumn"]
    assert found.arithmetic == (
        "2 waiting pods request 2.5 cpu; a node offers 2 cpu: 2 more. 3 -> 5, at most 10 nodes."
    )
    assert found.risk == "High"
    assert "PodsScheduled" in found.checks


def test_the_step_and_the_cap_hold() -> None:
    text = GROUP.replace("KIND", "MachineDeployment")
    stepped = propose(text, step=1)
    assert changed(stepped)[1] == "+  replicas: 4   # raised in autumn"
    assert "nodeGroup.step allows 1 at once" in stepped.arithmetic
    assert changed(propose(text, maxNodes=4))[1] == "+  replicas: 4   # raised in autumn"
    assert refused(text, maxNodes=3).startswith("NodeGroupAtCap: Node group workers has 3 nodes; the policy's cap is 3.")
    assert "cap is none is set" in refused(text, maxNodes=None)


def test_a_pool_gets_the_limit_that_is_short() -> None:
    found = propose(POOL, kind="NodePool", maxCPU="20", maxMemory="64Gi")
    assert changed(found) == ["-    cpu: 8", "+    cpu: 12"]
    assert found.summary == "Let node group workers grow from 8 cpu to 12 cpu"
    capped = propose(POOL, kind="NodePool", maxCPU="9")
    assert changed(capped) == ["-    cpu: 8", "+    cpu: 9"]
    assert refused(POOL, kind="NodePool", maxCPU="8").startswith("NodeGroupAtCap: Node group workers has limits.cpu 8")
    assert refused(POOL, kind="NodePool", maxMemory="64Gi").startswith("NodeGroupNotFound: NodePool workers has no limit")
    assert refused(POOL.replace("    cpu: 8\n", ""), kind="NodePool", maxCPU="20").startswith("NodeGroupNotFound")


def test_a_pool_gets_memory_in_its_own_unit() -> None:
    short = (pending("a", NO_MEMORY, memory="3Gi"), around.node(cpu="2", memory="4Gi"))
    found = propose(POOL, short, kind="NodePool", maxMemory="64Gi")
    assert changed(found) == ["-    memory: 32Gi  # two nodes", "+    memory: 36Gi  # two nodes"]
    assert "1 waiting pod request 3Gi memory; a node offers 4Gi memory: 1 more." in found.arithmetic


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (VARIABLE, "+  default = 5"),
        ("workers = 3 # autumn\nothers = 3\n", "+workers = 5 # autumn"),
        ("  workers=3\r\nothers = 3\r\n", "+  workers=5\r"),
    ],
    ids=["variable", "tfvars", "crlf"],
)
def test_a_terraform_variable_changes_its_digits_only(text: str, line: str) -> None:
    found = propose(text, kind="Terraform")
    after = found.files[FILE].decode()
    assert after == text.replace("3", "5", 1)
    assert line.strip() in found.diff


@pytest.mark.parametrize("text", ["others = 3\n", "workers = 3\nworkers = 4\n", "workers = var.x\n", '# workers = 3\n'])
def test_a_terraform_variable_that_is_not_there_once_is_refused(text: str) -> None:
    assert refused(text, kind="Terraform").startswith(f"NodeGroupNotFound: {FILE} sets workers to a number ")


def test_what_cannot_be_found_or_is_owned_is_refused() -> None:
    text = GROUP.replace("KIND", "MachineDeployment")
    assert refused(text, name="nobody") == f"NodeGroupNotFound: {FILE} declares no MachineDeployment nobody."
    assert refused(text, file="x.yaml").startswith("NodeGroupNotFound: nodeGroup.file")
    assert refused(f"- 1\n---\n{text}", name="nobody").startswith("NodeGroupNotFound")
    assert refused(text.replace("  replicas: 3   # raised in autumn", "  paused: false")).startswith("NodeGroupNotFound: MachineDeployment workers states no")
    assert refused(text.replace("replicas: 3 ", "replicas: true ")).startswith("NodeGroupNotFound")
    owned = text.replace("{name: workers}", f"{{name: workers, annotations: {{{node_group_fix.AUTOSCALED}: '9'}}}}")
    assert refused(owned).startswith("NodeGroupOwned: MachineDeployment workers: the cluster autoscaler owns")


@pytest.mark.parametrize(
    "items",
    [
        (pending("a", cpu="1"),),
        (pending("a"), around.node(cpu="2")),
        (pending("a", cpu="1"), around.node(memory="4Gi")),
        (pending("a", NO_CPU.replace("cpu", "nvidia.com/gpu")), around.node(cpu="2")),
    ],
    ids=["no-node", "no-request", "no-allocatable", "another-resource"],
)
def test_what_cannot_be_added_up_is_refused(items: tuple[Item, ...]) -> None:
    assert refused(GROUP.replace("KIND", "MachineDeployment"), items).startswith("NodesUnknown: ")


@pytest.mark.parametrize(
    ("kind", "caps", "fine"),
    [("Terraform", {}, False), ("Terraform", {"maxNodes": 3}, True), ("NodePool", {"maxNodes": 3}, False), ("NodePool", {"maxCPU": "4"}, True)],
)
def test_a_policy_needs_a_cap(kind: str, caps: dict[str, Any], fine: bool) -> None:
    group = {"file": FILE, "kind": kind, "name": "workers", **caps}
    problems = mapping.check_policy(policy_spec(**repository_spec(nodeGroup=group)))
    assert problems == ([] if fine else ["code.repositories[0].nodeGroup: set maxNodes, or maxCPU or maxMemory of a NodePool"])
