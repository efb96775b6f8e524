"""Requests to Jira through the ``jira`` library, off the event loop, each once and with a deadline.

The library's own methods are used where they make exactly one request; several make more (they look
up users, fields or application links), so most requests are made by its session.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import json
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jira
import requests

from selfheal.adapters.jira import errors as translation
from selfheal.api.policy import JiraDeployment, TrackerSpec
from selfheal.domain import errors

T = TypeVar("T")

GATEWAY = "https://api.atlassian.com"
"""Where a cloud id is served: https://developer.atlassian.com/cloud/jira/platform/rest/v3/intro/."""

_DEADLINE = 10.0  # seconds a request, as the ports promise
# Seconds to connect and to wait for an answer: below the deadline, as the library's word says more.
_SOCKET = (4.0, 9.0)
_POOL = concurrent.futures.ThreadPoolExecutor(max_workers=6, thread_name_prefix="jira")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Login:
    """Where Jira is and who we are there."""

    server: str
    token: str = dataclasses.field(repr=False)
    email: str | None
    cloud: bool
    gateway: bool

    def describe(self) -> str:
        """Return the kind of login in words, with what mends a refusal; never the token."""
        if not self.cloud:
            kind = "user name and password" if self.email else "personal access token (Bearer)"
            return f"{kind}; renew the Secret's token"
        if self.email:
            return (
                "e-mail and API token (Basic); renew the Secret's token, or take the e-mail out "
                "of the Secret if the token is a service account's"
            )
        if self.gateway:
            return (
                "Bearer token at the gateway; renew the Secret's token, check tracker.cloudId, or "
                "add the key email to the Secret if it is a person's API token"
            )
        return (
            "Bearer token at the site; set tracker.cloudId if it is a service account's or a "
            "scoped token, or add the key email to the Secret if it is a person's API token"
        )


def compute_login(spec: TrackerSpec, credential: Mapping[str, str]) -> Login:
    """Return where and how to log in; PolicyInvalid or Unauthorized where something is missing."""
    cloud = spec.deployment is JiraDeployment.CLOUD
    token = _first(credential, "ATLASSIAN_TOKEN", "token")
    email = _first(credential, "ATLASSIAN_EMAIL", "email")
    cloud_id = spec.cloud_id or _first(credential, "ATLASSIAN_CLOUD_ID", "cloudId")
    site = (spec.site or "").rstrip("/")
    gateway = cloud and bool(cloud_id)
    if gateway:
        # A site of Atlassian does not serve cloud ids; any other address is taken for a gateway.
        base = GATEWAY if not site or _host(site).endswith(".atlassian.net") else site
        site = f"{base}/ex/jira/{urllib.parse.quote(cloud_id or '', safe='')}"
    if not site:
        wanted = "tracker.cloudId or tracker.baseURL" if cloud else "tracker.baseURL"
        raise errors.PolicyInvalid(f"{wanted}: say where Jira is", system=translation.SYSTEM)
    if not token:
        raise errors.Unauthorized(
            "the Secret of the tracker has no key token (or ATLASSIAN_TOKEN); add it",
            system=translation.SYSTEM,
        )
    _check_host(site, credential.get("hosts", ""))
    return Login(server=site, token=token, email=email, cloud=cloud, gateway=gateway)


def _first(credential: Mapping[str, str], *names: str) -> str | None:
    return next((credential[name].strip() for name in names if credential.get(name)), None)


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc.rpartition("@")[2].lower()


def _check_host(server: str, allowed: str) -> None:
    hosts = {host.strip().lower() for host in allowed.split(",") if host.strip()}
    host = _host(server)
    if hosts and host not in hosts and host.partition(":")[0] not in hosts:
        raise errors.PolicyInvalid(
            f"the Secret of the tracker is bound to {', '.join(sorted(hosts))}, not to {host}; "
            "correct tracker.baseURL or the Secret's annotation selfheal.dev/hosts",
            system=translation.SYSTEM,
        )


class _Client(jira.JIRA):
    """The library's client; keeps what serverInfo said when it was made."""

    def server_info(self) -> dict[str, Any]:
        """Read and keep serverInfo."""
        # A redirect would turn a POST into a GET, and lead to a log-in page at best.
        self._session.max_redirects = 0
        self.said: dict[str, Any] = super().server_info()
        return self.said


@dataclasses.dataclass(frozen=True, kw_only=True)
class Site:
    """What Jira says of itself, read once."""

    client: _Client
    base_url: str  # of browse links
    deployment: str  # Cloud, Server or DataCenter, as the site says


class Session:
    """A lazy connection: nothing is sent before the first call."""

    def __init__(self, spec: TrackerSpec, credential: Mapping[str, str]) -> None:
        """Keep where and how; faults of it are raised by the first call."""
        self._spec, self._credential = spec, credential
        self._site: Site | None = None
        self._me: frozenset[str] | None = None
        self._connecting: asyncio.Task[Site] | None = None
        self._login: Login | None = None

    @property
    def cloud(self) -> bool:
        """Whether REST v3 is spoken."""
        return self._spec.deployment is JiraDeployment.CLOUD

    async def site(self) -> Site:
        """Connect, or return the connection; callers at the same time share one attempt."""
        if self._site is None:
            if self._connecting is None or self._connecting.done():
                self._connecting = asyncio.create_task(self._connect())
                # Where every caller was cancelled, nobody else looks at how it ended.
                self._connecting.add_done_callback(
                    lambda task: task.cancelled() or task.exception()
                )
            return await asyncio.shield(self._connecting)
        return self._site

    async def _connect(self) -> Site:
        login = compute_login(self._spec, self._credential)
        self._login = login
        try:
            self._site = await self._run(lambda: _connect(login), writing=False)
        except (errors.NotFound, translation.Refused) as exc:
            raise translation.not_jira(f"serverInfo: {exc}") from exc
        return self._site

    async def me(self, *, fresh: bool = False) -> frozenset[str]:
        """Return the ids by which Jira names our own account; read once, or freshly."""
        if self._me is None or fresh:
            client = (await self.site()).client
            self._me = actor_ids(await self._run(client.myself, writing=False))
        return self._me

    async def read(
        self, path: str, params: Mapping[str, Any] | None = None, *, body: Any = None
    ) -> Any:
        """GET, or POST with a body that changes nothing; NotFound on 404, PolicyInvalid on 400.

        Paths follow ``/rest/api/<version>/``; those that begin with ``/`` follow the server.
        """
        verb = "GET" if body is None else "POST"
        try:
            return await self._request(verb, path, params, body, writing=False)
        except translation.Refused as exc:
            raise errors.PolicyInvalid(
                f"Jira refuses a request of ours: {exc.text}", system=translation.SYSTEM
            ) from exc

    async def read_pages(
        self, path: str, key: str | tuple[str, ...], params: Mapping[str, Any] | None = None
    ) -> list[Any]:
        """GET all items of a list paged by startAt; the list stands under one of the keys."""
        names = (key,) if isinstance(key, str) else key
        found: list[Any] = []
        while True:
            place = {"maxResults": 100, "startAt": len(found)}
            page = await self.read(path, {**place, **(params or {})})
            items: list[Any] = next((page[name] for name in names if name in page), [])
            found += items
            if not items or page.get("isLast") or len(found) >= page.get("total", len(found) + 1):
                return found

    async def write(self, verb: str, path: str, body: Any) -> Any:
        """Write once; ``Refused`` on 400, NotFound on 404."""
        return await self._request(verb, path, None, body, writing=True)

    async def _request(
        self, verb: str, path: str, params: Mapping[str, Any] | None, body: Any, *, writing: bool
    ) -> Any:
        client = (await self.site()).client
        given = {k: v for k, v in (params or {}).items() if v is not None}
        return await self._run(lambda: _send(client, verb, path, given, body), writing=writing)

    async def _run(self, function: Callable[[], T], *, writing: bool) -> T:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_DEADLINE):
                return await loop.run_in_executor(_POOL, function)
        except TimeoutError as exc:
            raise translation.cut_off("no answer in 10 s", writing=writing) from exc
        except Exception as exc:
            login = self._login.describe() if self._login else "unknown"
            raise translation.translate(exc, writing=writing, login=login) from exc


def _look_at(task: asyncio.Task[Site]) -> None:
    if not task.cancelled():
        task.exception()


def _connect(login: Login) -> Site:
    auth: dict[str, Any] = (
        {"basic_auth": (login.email, login.token)} if login.email else {"token_auth": login.token}
    )
    version = "3" if login.cloud else "2"
    try:
        client = _Client(
            options={"server": login.server, "rest_api_version": version},
            timeout=_SOCKET,
            max_retries=0,
            logging=False,
            **auth,
        )
    except (ValueError, KeyError, AttributeError, TypeError) as exc:
        wire = isinstance(exc, requests.RequestException)  # some are ValueErrors as well
        if wire and not isinstance(exc, requests.exceptions.JSONDecodeError):
            raise
        # serverInfo answered, but not with JSON, or with other JSON than Jira's.
        raise translation.not_jira("serverInfo is not Jira's") from exc
    said = client.said
    return Site(
        client=client,
        base_url=str(said.get("baseUrl") or login.server).rstrip("/"),
        deployment=str(said.get("deploymentType") or ""),
    )


def _send(client: _Client, verb: str, path: str, params: Mapping[str, Any], body: Any) -> Any:
    url = client.server_url + path if path.startswith("/") else client._get_url(path)
    data = None if body is None else json.dumps(body)
    response = client._session.request(verb, url, params=params, data=data)
    if not response.content:
        return {}
    if "html" in response.headers.get("Content-Type", "").lower() and verb == "GET":
        raise translation.not_jira("a web page")
    return response.json()


def actor_ids(user: Mapping[str, Any] | None) -> frozenset[str]:
    """Return every id of a user: account id on Cloud, name and key on Data Center."""
    names = ("accountId", "name", "key")
    return frozenset(str(user[name]) for name in names if user and user.get(name))


def quote(text: str) -> str:
    """Return text as one segment of a path."""
    return urllib.parse.quote(text, safe="")
