"""Kubernetes: our own kinds, evidence, rollouts and dry runs, by the official asyncio client."""

from selfheal.adapters.kube.cluster import KubeCluster
from selfheal.adapters.kube.connection import Connection, connect
from selfheal.adapters.kube.store import KubeIncidentStore

__all__ = ["Connection", "KubeCluster", "KubeIncidentStore", "connect"]
