"""What a stdio child inherits of the operator's environment, beside HOME, PATH and the like."""

from __future__ import annotations

import os

# How a child finds the cluster and gets through a proxy; none of them holds a credential.
# https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
INHERITED = (
    "KUBECONFIG",
    "KUBERNETES_SERVICE_HOST",
    "KUBERNETES_SERVICE_PORT",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "TMPDIR",
)


def list_inherited() -> dict[str, str]:
    """Return what is set of INHERITED; passed on as it is, no setting of ours is read from it."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ}
