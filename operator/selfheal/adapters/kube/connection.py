"""One connection to an API server: JSON in, JSON out, own deadlines, every error translated."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import pathlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config.config_exception import ConfigException
from kubernetes.aio.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION

from selfheal.adapters.kube import failures
from selfheal.domain import errors

FIELD_MANAGER = "selfheal"
MERGE_PATCH = "application/merge-patch+json"
DEADLINE = 10.0  # seconds a request may take, connection and body included
PAGE = 500  # objects a page of a list
HOME_FILE = pathlib.Path("~/.kube/config").expanduser()
# The client's own reading of the environment, made absolute.
KUBECONFIG = KUBE_CONFIG_DEFAULT_LOCATION.replace("~", str(pathlib.Path.home()), 1)
TOKEN_FILE = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount/token")

Query = Mapping[str, str | int | bool]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer of the API server; ``warnings`` are its Warning headers as they are."""

    status: int
    text: str
    retry_after: str = ""
    warnings: tuple[str, ...] = ()


class Connection:
    """Requests of one set of credentials. Nothing is retried here; GETs may be repeated."""

    def __init__(self, configuration: Configuration, *, namespace: str = "selfheal-system") -> None:
        """Take a configuration of the official client and the operator's own namespace."""
        configuration.retries = None  # the engine repeats, after observing
        self.configuration, self.namespace = configuration, namespace
        self._api: Any = ApiClient(configuration)
        self._api.user_agent = "selfheal"

    async def close(self) -> None:
        """Close all sockets; may be repeated."""
        await self._api.close()

    async def authorization(self) -> str | None:
        """Return the bearer header in use, freshly read; None with client certificates."""
        headers: dict[str, str] = {}
        await self._api.update_params_for_auth(headers, [], ["BearerToken"], "/", "GET", None)
        found = {name.lower(): value for name, value in headers.items()}
        return found.get("authorization")

    async def get(
        self, path: str, query: Query | None = None, *, deadline: float = DEADLINE
    ) -> Any:
        """GET an object; NotFound when it is not there."""
        return _parse(await self.send("GET", path, query=query, deadline=deadline))

    async def find(self, path: str, query: Query | None = None) -> Any | None:
        """GET an object, or None where there is none."""
        try:
            return await self.get(path, query)
        except errors.NotFound:
            return None

    async def write(
        self,
        method: str,
        path: str,
        body: Any,
        *,
        query: Query | None = None,
        content_type: str = "application/json",
    ) -> Any:
        """POST, PUT, PATCH or DELETE once; UnknownOutcome when it was cut off."""
        extra: dict[str, str | int | bool] = (
            {} if method == "DELETE" else {"fieldManager": FIELD_MANAGER}
        )
        text = await self.send(
            method, path, query=extra | dict(query or {}), body=body, content_type=content_type
        )
        return _parse(text)

    async def pages(self, path: str, query: Query | None = None) -> AsyncIterator[Any]:
        """Iterate over the objects of a list, in pages of 500."""
        token = ""
        while True:
            asked: dict[str, str | int | bool] = {"limit": PAGE, **(query or {})}
            answer = await self.get(path, asked | ({"continue": token} if token else {}))
            for item in answer.get("items") or ():
                yield item
            token = (answer.get("metadata") or {}).get("continue") or ""
            if not token:
                return

    async def take(self, path: str, limit: int, query: Query | None = None) -> list[Any]:
        """List at most ``limit`` objects by one request."""
        answer = await self.get(path, {**(query or {}), "limit": limit})
        return list(answer.get("items") or ())

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        content_type: str = "application/json",
        deadline: float = DEADLINE,
    ) -> str:
        """Send one request and return the body's text; 400 and above are raised, translated."""
        answer = await self.exchange(
            method, path, query=query, body=body, content_type=content_type, deadline=deadline
        )
        if answer.status >= 400:
            raise failures.translate_status(
                answer.status,
                answer.text,
                method=method,
                what=f"{method} {path}",
                retry_after=answer.retry_after,
            )
        return answer.text

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        content_type: str = "application/json",
        deadline: float = DEADLINE,
    ) -> Answer:
        """Send one request and return the answer, whatever its status; raise where none came."""
        pairs = [(name, _render(value)) for name, value in (query or {}).items()]
        try:
            async with asyncio.timeout(deadline):
                ready = await self._api.param_serialize(
                    method,
                    path,
                    query_params=pairs,
                    header_params={"Accept": "application/json, */*", "Content-Type": content_type},
                    body=body,
                    auth_settings=["BearerToken"],
                )
                answer = await self._api.call_api(*ready, _request_timeout=deadline + 1)
                text: str = (await answer.read()).decode("utf-8", errors="replace")
        except (TimeoutError, OSError, aiohttp.ClientError) as error:
            what = f"{method} {path}"
            raise failures.translate_transport(error, method=method, what=what) from error
        return Answer(
            status=answer.status,
            text=text,
            retry_after=answer.headers.get("Retry-After", ""),
            warnings=tuple(answer.headers.getall("Warning", [])),
        )


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise errors.Transient(
            "the API server sent an answer that is not JSON", system=failures.SYSTEM
        ) from error


def _render(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def path_of(
    api_version: str, plural: str, namespace: str = "", name: str = "", subresource: str = ""
) -> str:
    """Return the path of a list or an object; pure. ``v1`` is the core group."""
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    space = f"namespaces/{namespace}" if namespace else ""
    parts = (space, plural, name, subresource)
    return "/".join((root, *(part for part in parts if part)))


async def connect(
    kubeconfig: str | None = None, *, namespace: str = "selfheal-system"
) -> Connection:
    """Connect by ``kubeconfig``, else KUBECONFIG, else in-cluster, else ``~/.kube/config``.

    ``namespace`` is the operator's own. Unreachable, reason ``NoKubeconfig``, where there is no
    access that can be used. Nothing is sent yet.
    """
    configuration = Configuration()
    library: Any = kube_config
    path = kubeconfig or (KUBECONFIG if str(HOME_FILE) != KUBECONFIG else None)
    in_cluster = path is None and TOKEN_FILE.exists()  # noqa: ASYNC240 - once, at the start
    try:
        if in_cluster:
            library.load_incluster_config(client_configuration=configuration)
        else:
            await library.load_kube_config(
                config_file=path or str(HOME_FILE),
                client_configuration=configuration,
                persist_config=False,
            )
    except (ConfigException, OSError, ValueError, KeyError, TypeError) as error:
        raise errors.Unreachable(
            f"no usable cluster access in {'the pod' if in_cluster else path or HOME_FILE} "
            f"({type(error).__name__}); set KUBECONFIG",
            reason="NoKubeconfig",
            system=failures.SYSTEM,
        ) from error
    return Connection(configuration, namespace=namespace)
