"""Paths, addresses and versions of the local cluster; nothing here touches the system."""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
"""The clone's root: everything is relative to it."""

STATE = ROOT / ".cluster"
"""What belongs to this clone's cluster; `down` empties it except for `logs/`."""

LOGS = STATE / "logs"
PKI = STATE / "pki"
KUBECONFIG = STATE / "kubeconfig"
AUDIT_LOG = LOGS / "audit.log"
MODE_FILE = STATE / "mode"
PASSWORD_FILE = STATE / "registry-password"

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "selfheal"
"""Shared by every clone of this user: binaries, root file systems, registry data."""

RUN = Path("/run/selfheal-cluster")
"""Machine-wide (one cluster at a time): the owner's record, the lock, sockets, shim state.

Sockets live here because a Unix socket's path may have 107 characters at most, a clone's may be longer.
"""

OWNER_FILE = RUN / "owner.json"
LOCK_FILE = RUN / "lock"
CONTAINERD_SOCKET = RUN / "containerd.sock"
CONTAINERD_STATE = RUN / "containerd"

NODE_NAME = "node-1"
NODE_BRIDGE = "kc0"
POD_BRIDGE = "kc-pods"
CNI_NETWORK = "selfheal"
NODE_IP = "172.30.0.1"
SERVICE_CIDR = "10.96.0.0/16"
SERVICE_IP = "10.96.0.1"
DNS_IP = "10.96.0.10"
POD_CIDR = "10.244.0.0/16"
NODE_POD_CIDR = "10.244.0.0/24"

API_PORT = 6443
ETCD_PORT = 23790
ETCD_PEER_PORT = 23800
REGISTRY_PORT = 5000
AUTH_REGISTRY_PORT = 5001
REGISTRY_USER = "robot"

PORTS = {
    "API server": API_PORT,
    "etcd": ETCD_PORT,
    "etcd (peers)": ETCD_PEER_PORT,
    "kubelet": 10250,
    "kubelet (health)": 10248,
    "kube-proxy (health)": 10256,
    "kube-proxy (metrics)": 10249,
    "controller manager": 10257,
    "scheduler": 10259,
    "registry": REGISTRY_PORT,
    "registry with authentication": AUTH_REGISTRY_PORT,
}
"""Ports that must be free before a start."""

KUBERNETES = "1.34.4"
"""Later kubelets refuse cgroup v1 by default and want containerd 2; Debian 12 has neither newer."""

PAUSE_IMAGE = "registry.k8s.io/pause:3.10"
MIRRORED = ("docker.io", "registry.k8s.io", "quay.io", "ghcr.io")
"""Registries whose pulls are answered by the open local registry."""

KIND_CLUSTER = "selfheal"
KIND_NODE_IMAGE = (
    "kindest/node:v1.34.0@sha256:7416a61b42b1662ca6ca89f02028ac133a309a2a30ba309614e8ec94d976dc5a"
)
"""The image that kind v0.30.0 (see kind/go.mod) was released with."""

OPERATOR_IMAGE = "docker.io/selfheal/operator:dev"
OPERATOR_IMAGE_FILE = STATE / "operator-image"
"""Holds the last built operator image by digest, as a manifest can name it."""
