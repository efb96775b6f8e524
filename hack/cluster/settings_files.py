"""Configuration files of the daemons, written under `.cluster/` at every start."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from hack.cluster import config, registry, ui

CNI_DIR = config.STATE / "cni"
CERTS_DIR = config.STATE / "certs.d"
CONTAINERD_CONFIG = config.STATE / "containerd.toml"
KUBELET_CONFIG = config.STATE / "kubelet.yaml"
AUDIT_POLICY = config.STATE / "audit-policy.yaml"
KUBELET_ROOT = config.STATE / "kubelet"
CONTAINERD_ROOT = config.STATE / "containerd"
HTPASSWD = config.STATE / "registry-htpasswd"


def write() -> None:
    """Write every file."""
    CNI_DIR.mkdir(parents=True, exist_ok=True)
    (CNI_DIR / "10-bridge.conflist").write_text(json.dumps(_cni(), indent=1))
    CONTAINERD_CONFIG.write_text(_CONTAINERD)
    KUBELET_CONFIG.write_text(json.dumps(_kubelet(), indent=1))
    AUDIT_POLICY.write_text(json.dumps(_AUDIT, indent=1))
    _hosts()
    _password()
    for name, address, data, auth in registry.SERVERS:
        registry_config(name).write_text(
            json.dumps(registry.settings(address, data, HTPASSWD if auth else None))
        )


def registry_config(name: str) -> Path:
    """The configuration file of one of `registry.SERVERS`."""
    return config.STATE / f"{name}.json"


def _cni() -> dict[str, object]:
    ipam = {
        "type": "host-local",
        "ranges": [[{"subnet": config.NODE_POD_CIDR}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(config.STATE / "cni-data"),
    }
    bridge = {
        "type": "bridge",
        "bridge": config.POD_BRIDGE,
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": ipam,
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": config.CNI_NETWORK, "plugins": [bridge, portmap]}


# restrict_oom_score_adj: without CAP_SYS_RESOURCE every sandbox dies otherwise, with
# "can't get final child's PID from pipe".
_CONTAINERD = f"""version = 2
root = "{CONTAINERD_ROOT}"
state = "{config.CONTAINERD_STATE}"
[grpc]
  address = "{config.CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{config.PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  max_concurrent_downloads = 4
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{CERTS_DIR}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{CNI_DIR}"
"""


def _kubelet() -> dict[str, object]:
    pki = config.PKI
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "containerRuntimeEndpoint": f"unix://{config.CONTAINERD_SOCKET}",
        "failSwapOn": False,
        "clusterDNS": [config.DNS_IP],
        "clusterDomain": "cluster.local",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{pki}/kubelet.crt",
        "tlsPrivateKeyFile": f"{pki}/kubelet.key",
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "enforceNodeAllocatable": ["pods"],
        "maxPods": 110,
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        # The default (50 a second, shared) drops events under load: they are evidence here. Not 0: that is
        # no "unlimited", but the client library's own default of 5 a second, minutes behind in a large test.
        "eventRecordQPS": 500,
        "eventBurst": 1000,
        "podLogsDir": str(config.STATE / "pod-logs"),
        "volumePluginDir": str(config.STATE / "volume-plugins"),
    }


# Metadata of every request by a service account outside kube-system: who changed what, without bodies.
_AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "None"},
    ],
}


def _hosts() -> None:
    """Where containerd finds registries: public names at the open one, plain HTTP for our own names."""
    open_server = f"http://127.0.0.1:{config.REGISTRY_PORT}"
    auth_server = f"http://{config.NODE_IP}:{config.AUTH_REGISTRY_PORT}"
    port, auth_port = config.REGISTRY_PORT, config.AUTH_REGISTRY_PORT
    targets = dict.fromkeys(config.MIRRORED, open_server)
    targets |= dict.fromkeys(
        (f"registry.local:{port}", f"{config.NODE_IP}:{port}", f"localhost:{port}"), open_server
    )
    targets |= dict.fromkeys(
        (f"registry.local:{auth_port}", f"{config.NODE_IP}:{auth_port}"), auth_server
    )
    for name, server in targets.items():
        folder = CERTS_DIR / name
        folder.mkdir(parents=True, exist_ok=True)
        text = f'server = "{server}"\n\n[host."{server}"]\n  capabilities = ["pull", "resolve"]\n'
        (folder / "hosts.toml").write_text(text)


def _password() -> None:
    """Generate the authenticated registry's password once a clone, and its htpasswd file."""
    if not config.PASSWORD_FILE.exists():
        config.PASSWORD_FILE.touch(mode=0o600)
        config.PASSWORD_FILE.write_text(secrets.token_urlsafe(18))
    word = config.PASSWORD_FILE.read_text()
    line = ui.run(["htpasswd", "-niB", config.REGISTRY_USER], stdin=word)
    HTPASSWD.touch(mode=0o600)
    HTPASSWD.write_text(line)
