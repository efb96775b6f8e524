"""The daemons in the order of their start, with every flag that was needed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from hack.cluster import (
    api,
    binaries,
    config,
    network,
    pki,
    processes,
    registry,
    settings_files,
    ui,
)

STOP_ORDER = (
    "kubelet",
    "kube-proxy",
    "kube-scheduler",
    "kube-controller-manager",
    "kube-apiserver",
    "etcd",
)
"""Whoever writes to the API server ends before it does, and it before its store."""

LAST = ("containerd", "registry-auth", "registry-loopback", "registry")
"""Ended after the containers are gone."""

_STORAGE_CLASS = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {
        "name": "standard",
        "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
    },
    "provisioner": "kubernetes.io/host-path",
    "reclaimPolicy": "Delete",
    "volumeBindingMode": "Immediate",
}

# No DNS server runs here. A Service without endpoints makes kube-proxy refuse the pods' queries at once:
# otherwise each lookup would take 10 s to fail, and applications' errors with it.
_DNS = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "kube-dns", "namespace": "kube-system"},
    "spec": {
        "clusterIP": config.DNS_IP,
        "selector": {"k8s-app": "kube-dns"},
        "ports": [
            {"name": "dns", "port": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
        ],
    },
}


def start(owner: processes.Owner) -> None:
    """Start everything and return once the node is Ready; raises `ClusterError` saying what did not come up."""
    pki.create()
    settings_files.write()
    network.create()
    for name, *_ in registry.SERVERS:
        processes.start(
            owner, name, ["docker-registry", "serve", settings_files.registry_config(name)]
        )
    processes.start(owner, "containerd", ["containerd", "-c", settings_files.CONTAINERD_CONFIG])
    etcd = f"http://127.0.0.1:{config.ETCD_PORT}"
    peer = f"http://127.0.0.1:{config.ETCD_PEER_PORT}"
    processes.start(
        owner,
        "etcd",
        [binaries.path("etcd"), "--data-dir", config.STATE / "etcd", "--listen-client-urls", etcd,
         "--advertise-client-urls", etcd, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
         "--initial-cluster", f"default={peer}", "--unsafe-no-fsync"],
    )  # fmt: skip
    processes.start(owner, "kube-apiserver", _apiserver(etcd))
    client = api.Api()
    _await(owner, ("etcd", "kube-apiserver"), "the API server", client.ready, seconds=90)
    processes.start(owner, "kube-controller-manager", _controller_manager())
    processes.start(owner, "kube-scheduler", _scheduler())
    processes.start(owner, "kube-proxy", _proxy())
    ui.wait_for("containerd's start", _containerd_ready, seconds=30)
    _start_kubelet(owner, client)
    ui.wait_for("the first objects", lambda: _first_objects(client), seconds=20)
    ui.wait_for(
        "the default service account",
        lambda: client.exists("/api/v1/namespaces/default/serviceaccounts/default"),
        seconds=30,
    )


def _await(
    owner: processes.Owner,
    names: tuple[str, ...],
    what: str,
    condition: Callable[[], bool],
    *,
    seconds: float,
) -> None:
    """Wait, but no longer than the daemons concerned live."""

    def check() -> bool:
        processes.reap()
        for name in names:
            if not processes.alive(owner.process(name)):
                raise ui.ClusterError(f"{name} ended at once:\n{_tail(name)}")
        return condition()

    ui.wait_for(what, check, seconds=seconds)


def _tail(name: str) -> str:
    path = config.LOGS / f"{name}.log"
    lines = path.read_text(errors="replace").splitlines()[-6:] if path.exists() else []
    return "\n".join(lines) + f"\n(whole log: {path})"


def _containerd_ready() -> bool:
    return "Server:" in ui.run(["ctr", "-a", config.CONTAINERD_SOCKET, "version"], check=False)


def _start_kubelet(owner: processes.Owner, client: api.Api) -> None:
    """Start the kubelet until it stays and its node is Ready.

    Right after containerd's start it can exit with "server is not initialized yet": then once more.
    """
    settings_files.KUBELET_ROOT.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + 120
    while True:
        kubelet = processes.start(owner, "kubelet", _kubelet())

        def settled(kubelet: processes.Process = kubelet) -> bool:
            processes.reap()
            return not processes.alive(kubelet) or client.node_ready()

        ui.wait_for("the node to be Ready", settled, seconds=max(1.0, deadline - time.monotonic()))
        if processes.alive(kubelet):
            return
        if time.monotonic() > deadline - 5:
            raise ui.ClusterError(f"the kubelet does not stay up:\n{_tail('kubelet')}")
        owner.processes.remove(kubelet)
        ui.say("the kubelet ended (containerd was not ready for it): starting it again")
        time.sleep(0.5)


def _first_objects(client: api.Api) -> bool:
    return client.create(
        "/apis/storage.k8s.io/v1/storageclasses", _STORAGE_CLASS
    ) and client.create("/api/v1/namespaces/kube-system/services", _DNS)


def _apiserver(etcd: str) -> list[str | Path]:
    keys = config.PKI
    return [
        binaries.path("kube-apiserver"),
        f"--etcd-servers={etcd}",
        "--bind-address=0.0.0.0",
        f"--secure-port={config.API_PORT}",
        f"--advertise-address={config.NODE_IP}",
        f"--service-cluster-ip-range={config.SERVICE_CIDR}",
        f"--tls-cert-file={keys}/apiserver.crt",
        f"--tls-private-key-file={keys}/apiserver.key",
        f"--client-ca-file={keys}/ca.crt",
        f"--service-account-key-file={keys}/sa.pub",
        f"--service-account-signing-key-file={keys}/sa.key",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--kubelet-client-certificate={keys}/admin.crt",
        f"--kubelet-client-key={keys}/admin.key",
        f"--kubelet-certificate-authority={keys}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
        f"--audit-policy-file={settings_files.AUDIT_POLICY}",
        f"--audit-log-path={config.AUDIT_LOG}",
        "--audit-log-maxsize=200",
        "--audit-log-maxbackup=1",
    ]


def _controller_manager() -> list[str | Path]:
    own = f"{config.STATE}/controller-manager.kubeconfig"
    return [
        binaries.path("kube-controller-manager"),
        f"--kubeconfig={own}",
        f"--authentication-kubeconfig={own}",
        f"--authorization-kubeconfig={own}",
        "--bind-address=127.0.0.1",
        f"--service-account-private-key-file={config.PKI}/sa.key",
        f"--root-ca-file={config.PKI}/ca.crt",
        f"--cluster-signing-cert-file={config.PKI}/ca.crt",
        f"--cluster-signing-key-file={config.PKI}/ca.key",
        "--use-service-account-credentials",
        "--leader-elect=false",
        "--enable-hostpath-provisioner",
        "--allocate-node-cidrs=true",
        f"--cluster-cidr={config.POD_CIDR}",
    ]


def _scheduler() -> list[str | Path]:
    own = f"{config.STATE}/scheduler.kubeconfig"
    return [
        binaries.path("kube-scheduler"),
        f"--kubeconfig={own}",
        f"--authentication-kubeconfig={own}",
        f"--authorization-kubeconfig={own}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
    ]


def _proxy() -> list[str | Path]:
    return [
        binaries.path("kube-proxy"),
        f"--kubeconfig={config.STATE}/kube-proxy.kubeconfig",
        f"--hostname-override={config.NODE_NAME}",
        f"--cluster-cidr={config.POD_CIDR}",
        "--proxy-mode=iptables",
        # Leave the machine's connection tracking limits alone.
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0",
        "--conntrack-tcp-timeout-close-wait=0",
    ]


def _kubelet() -> list[str | Path]:
    return [
        binaries.path("kubelet"),
        f"--config={settings_files.KUBELET_CONFIG}",
        f"--kubeconfig={config.STATE}/kubelet.kubeconfig",
        # Without it cAdvisor's series carry no container labels.
        f"--containerd={config.CONTAINERD_SOCKET}",
        f"--hostname-override={config.NODE_NAME}",
        f"--node-ip={config.NODE_IP}",
        f"--root-dir={settings_files.KUBELET_ROOT}",
        "--v=2",
    ]


def programs_present() -> bool:
    """Whether every program of the control plane is built."""
    return all(binaries.path(name).exists() for name in binaries.KUBERNETES.programs) and bool(
        shutil.which("containerd", path="/usr/bin:/usr/sbin:/usr/local/bin")
    )
