"""Certificates and kubeconfigs, by openssl (P-256 keys: seven certificates in a fraction of a second)."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from hack.cluster import config, ui

_APISERVER_NAMES = (
    "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,"
    f"DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:{config.SERVICE_IP},IP:{config.NODE_IP}"
)
_NODE_NAMES = f"DNS:{config.NODE_NAME},IP:{config.NODE_IP},IP:127.0.0.1"

CERTIFICATES = {
    "apiserver": ("/CN=kube-apiserver", _APISERVER_NAMES),
    "admin": ("/O=system:masters/CN=admin", ""),
    "controller-manager": ("/CN=system:kube-controller-manager", ""),
    "scheduler": ("/CN=system:kube-scheduler", ""),
    "kubelet": (f"/O=system:nodes/CN=system:node:{config.NODE_NAME}", _NODE_NAMES),
    "kube-proxy": ("/CN=system:kube-proxy", ""),
}
"""Name -> subject and subject alternative names, as Kubernetes' built-in RBAC expects them."""

_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
_DAYS = ["-days", "3650"]


def create() -> None:
    """Make a new authority, every certificate and every kubeconfig under `.cluster/`."""
    pki = config.PKI
    pki.mkdir(parents=True, exist_ok=True)
    pki.chmod(0o700)
    _openssl(
        "req",
        "-x509",
        *_KEY,
        *_DAYS,
        "-subj",
        "/CN=selfheal-local-ca",
        "-keyout",
        "ca.key",
        "-out",
        "ca.crt",
    )
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "sa.key")
    _openssl("ec", "-in", "sa.key", "-pubout", "-out", "sa.pub")
    for name, (subject, names) in CERTIFICATES.items():
        _certificate(name, subject, names)
    for name in ("controller-manager", "scheduler", "kubelet", "kube-proxy"):
        _write_private(config.STATE / f"{name}.kubeconfig", _kubeconfig(name))
    _write_private(config.KUBECONFIG, _kubeconfig("admin"))


def _openssl(*words: str) -> None:
    ui.run(["openssl", *words], cwd=config.PKI)


def _certificate(name: str, subject: str, names: str) -> None:
    extensions = "extendedKeyUsage=clientAuth,serverAuth\n" + (
        f"subjectAltName={names}\n" if names else ""
    )
    (config.PKI / f"{name}.ext").write_text(extensions)
    _openssl("req", *_KEY, "-subj", subject, "-keyout", f"{name}.key", "-out", f"{name}.csr")
    _openssl(
        "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
        "-out", f"{name}.crt", "-extfile", f"{name}.ext", *_DAYS,
    )  # fmt: skip


def _kubeconfig(name: str) -> str:
    """A kubeconfig with everything embedded; JSON is YAML, too."""
    cluster = {
        "server": f"https://127.0.0.1:{config.API_PORT}",
        "certificate-authority-data": _base64("ca.crt"),
    }
    user = {
        "client-certificate-data": _base64(f"{name}.crt"),
        "client-key-data": _base64(f"{name}.key"),
    }
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "selfheal-local", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [
                {"name": "selfheal-local", "context": {"cluster": "selfheal-local", "user": name}}
            ],
            "current-context": "selfheal-local",
        },
        indent=1,
    )


def _base64(name: str) -> str:
    return base64.b64encode((config.PKI / name).read_bytes()).decode()


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
