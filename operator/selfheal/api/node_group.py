"""The node group of a mapping: a size in a repository that a fix may raise, up to a cap."""

from __future__ import annotations

import enum

from pydantic import Field

from selfheal.api import meta


class NodeGroupKind(enum.StrEnum):
    """What the file says the size with."""

    MACHINE_DEPLOYMENT = "MachineDeployment"
    MACHINE_POOL = "MachinePool"
    NODE_POOL = "NodePool"
    TERRAFORM = "Terraform"


class NodeGroupSpec(meta.Model):
    """Where the size of the nodes stands that serve a mapping's namespaces, and how far it goes."""

    file: str = Field(
        description="File of the mapping's repository, from its root; it may be outside path."
    )
    kind: NodeGroupKind = Field(
        description="MachineDeployment or MachinePool (Cluster API, spec.replicas), NodePool "
        "(Karpenter, spec.limits), or Terraform (a variable)."
    )
    name: str = Field(description="Name of the object, or of the variable.")
    max_nodes: int | None = Field(
        default=None, ge=1, description="Cap of nodes; needed but for NodePool."
    )
    max_cpu: meta.Quantity | None = Field(
        default=None, alias="maxCPU", description="Cap of limits.cpu of a NodePool."
    )
    max_memory: meta.Quantity | None = Field(
        default=None, description="Cap of limits.memory of a NodePool."
    )
    step: int = Field(default=1, ge=1, description="Nodes that one fix may add at most.")

    @property
    def is_capped(self) -> bool:
        """Whether the cap that its kind needs is set."""
        if self.kind is NodeGroupKind.NODE_POOL:
            return self.max_cpu is not None or self.max_memory is not None
        return self.max_nodes is not None
