"""A metrics API for the time of a run: what metrics-server serves, from the pods that are watched.

The local cluster has none, so that autoscalers could be mended, but never seen to be well. Served here is what the
autoscaler's controller asks for: https://github.com/kubernetes/metrics/blob/master/pkg/apis/metrics/v1beta1/types.go.
Every container uses the same little; the API server reaches it by an ExternalName Service.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import pathlib
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.e2e.faults import watching

from selfheal.adapters.kube import connection
from selfheal.domain import errors

HOST = "172.30.0.1"  # where the API server reaches what runs beside it
GROUP, NAME, NAMESPACE = "metrics.k8s.io/v1beta1", "metrics-stand-in", "kube-system"
USAGE = {"cpu": "2m", "memory": "12Mi"}
PODS = "/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods"


@contextlib.asynccontextmanager
async def serving(api: connection.Connection, watched: watching.Watched) -> AsyncIterator[None]:
    """Serve and register the API; both are taken away at the end."""
    app = web.Application()
    app.add_routes([web.get(f"/apis/{GROUP}", _discover), web.get(PODS, _Pods(watched).list)])
    runner = web.AppRunner(app)
    await runner.setup()
    with tempfile.TemporaryDirectory() as folder:
        site = web.TCPSite(runner, HOST, 0, ssl_context=_make_context(pathlib.Path(folder)))
        await site.start()
    port = runner.addresses[0][1]
    registered = {
        f"/api/v1/namespaces/{NAMESPACE}/services": {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {"type": "ExternalName", "externalName": HOST, "ports": [{"port": port}]},
        },
        "/apis/apiregistration.k8s.io/v1/apiservices": {
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": "v1beta1.metrics.k8s.io"},
            "spec": {"group": "metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100,
                     "versionPriority": 100, "insecureSkipTLSVerify": True,
                     "service": {"name": NAME, "namespace": NAMESPACE, "port": port}},
        },
    }  # fmt: skip
    try:
        for path, body in registered.items():
            await _remove(api, path, body)
            await api.write("POST", path, body)
        yield
    finally:
        for path, body in registered.items():
            await _remove(api, path, body)
        await runner.cleanup()


async def _remove(api: connection.Connection, path: str, body: Mapping[str, Any]) -> None:
    with contextlib.suppress(errors.NotFound):
        await api.write("DELETE", f"{path}/{body['metadata']['name']}", None)


async def _discover(request: web.Request) -> web.Response:
    pods = {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"]}
    return web.json_response({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP, "resources": [pods]})


class _Pods:
    def __init__(self, watched: watching.Watched) -> None:
        self.watched = watched

    async def list(self, request: web.Request) -> web.Response:
        wanted = dict(part.split("=", 1) for part in request.query.get("labelSelector", "").split(",") if "=" in part)
        namespace, now = request.match_info["namespace"], dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        items = [
            {
                "metadata": {"name": pod["metadata"]["name"], "namespace": namespace},
                "timestamp": now.replace("+00:00", "Z"), "window": "15s",
                "containers": [{"name": one["name"], "usage": USAGE} for one in pod["spec"]["containers"]],
            }
            for pod in self.watched.of("Pod", namespace)
            if wanted.items() <= (pod["metadata"].get("labels") or {}).items()
        ]  # fmt: skip
        return web.json_response({"kind": "PodMetricsList", "apiVersion": GROUP, "metadata": {}, "items": items})


def _make_context(folder: pathlib.Path) -> ssl.SSLContext:
    """A certificate of its own for an hour or two."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=12))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    chain, private = folder / "crt.pem", folder / "key.pem"
    chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ))  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, private)
    return context
