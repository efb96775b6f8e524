"""The few calls to the API server that a start needs, with the administrator's certificate."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any

from hack.cluster import config


class Api:
    """A client of this clone's cluster; make it after the certificates exist. Calls may be repeated."""

    def __init__(self) -> None:
        """Load the certificates of `.cluster/pki`."""
        self._context = ssl.create_default_context(cafile=str(config.PKI / "ca.crt"))
        self._context.load_cert_chain(config.PKI / "admin.crt", config.PKI / "admin.key")

    def request(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> tuple[int, str]:
        """Return status and body; status 0 when the server cannot be reached within 5 s."""
        connection = http.client.HTTPSConnection(
            "127.0.0.1", config.API_PORT, timeout=5, context=self._context
        )
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(
                method, path, body=payload, headers={"Content-Type": "application/json"}
            )
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error)
        finally:
            connection.close()

    def ready(self) -> bool:
        """Whether /readyz says exactly `ok`: earlier, the RBAC that the controllers need does not exist yet."""
        return self.request("GET", "/readyz") == (200, "ok")

    def node_ready(self) -> bool:
        """Whether the node's Ready condition is True."""
        status, text = self.request("GET", f"/api/v1/nodes/{config.NODE_NAME}")
        if status != 200:
            return False
        conditions = json.loads(text).get("status", {}).get("conditions", [])
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    def exists(self, path: str) -> bool:
        """Whether a GET of the path answers 200."""
        return self.request("GET", path)[0] == 200

    def create(self, path: str, body: dict[str, Any]) -> bool:
        """Create an object; true when it now exists (an existing one is kept)."""
        return self.request("POST", path, body)[0] in (200, 201, 409)
