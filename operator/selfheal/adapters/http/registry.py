"""The port ``Registry``: tags and labels of images by the OCI distribution API.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags and, for the
handshake, https://distribution.github.io/distribution/spec/auth/token/.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

import httpx2

from selfheal.api.policy import RegistrySpec
from selfheal.diagnosis import reference
from selfheal.diagnosis.evidence import Item, ItemKind

DEADLINE = 10.0  # seconds for one repository, handshake and all pages included
PAGE = 1000
_MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
MAX_PAGES = 5
MAX_BYTES = 4 * 1024 * 1024
# Docker Hub's API does not live under the name that stands in references.
_HOSTS = {reference.DEFAULT_HOST: "registry-1.docker.io"}
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


class _UnansweredError(Exception):
    """The registry gave no list; the text says why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Login:
    username: str = dataclasses.field(repr=False)
    password: str = dataclasses.field(repr=False)
    hosts: frozenset[str]

    def auth_for(self, url: str) -> httpx2.BasicAuth | None:
        """Return the login where it is bound to the host of a URL."""
        if urllib.parse.urlsplit(url).netloc not in self.hosts:
            return None
        return httpx2.BasicAuth(self.username, self.password)


class OciRegistry:
    """Asks only hosts that the policy lists; a login goes only to the hosts that it is bound to."""

    def __init__(
        self,
        specs: Sequence[RegistrySpec],
        logins: Mapping[str, Mapping[str, str]],
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """Take the policy's registries and logins (username, password, hosts) by host."""
        self._specs = {_normalise(spec.host): spec for spec in specs}
        self._logins = {_normalise(host): _read_login(login) for host, login in logins.items()}
        self._client = httpx2.AsyncClient(
            transport=transport, timeout=DEADLINE, follow_redirects=False
        )

    async def close(self) -> None:
        """Close all sockets; may be repeated."""
        await self._client.aclose()

    async def list_tags(self, image: str) -> Item | None:
        """Return the tags of an image's repository; None where the policy does not list its host.

        Never raises: what the registry refuses is in ``error``, ``exists`` is None. Repeatable.
        """
        found = reference.parse(image)
        spec = self._specs.get(found.host)
        if spec is None or not found.valid:
            return None
        value: dict[str, Any] = {"repository": found.repository, "exists": None, "tags": []}
        try:
            async with asyncio.timeout(DEADLINE):
                tags = await self._list(spec, found)
        except TimeoutError:
            value["error"] = f"no answer within {DEADLINE:.0f} s"
        except httpx2.HTTPError as error:
            value["error"] = f"cannot be reached ({type(error).__name__})"
        except _UnansweredError as error:
            value["error"] = str(error)
        else:
            value |= {"exists": tags is not None, "tags": tags or []}
        return Item(id=f"tags/{found.repository}", kind=ItemKind.TAGS, value=value)

    async def _list(self, spec: RegistrySpec, found: reference.Reference) -> list[str] | None:
        url = f"{_base_of(spec, found)}/tags/list?n={PAGE}"
        headers: dict[str, str] = {}
        tags: list[str] = []
        for _ in range(MAX_PAGES):
            answer = await self._ask(url, found, headers)
            if answer.status_code == 404:
                return None
            tags += _read_tags(answer)
            following = _next_of(answer, url)
            if following is None:
                break
            url = following
        return tags

    async def get_labels(self, image: str) -> Mapping[str, str] | None:
        """Return the labels of an image's configuration, of linux/amd64 where there are several.

        None where the policy does not list its host or the registry does not answer. Repeatable.
        """
        found = reference.parse(image)
        spec = self._specs.get(found.host)
        if spec is None or not found.valid:
            return None
        try:
            async with asyncio.timeout(DEADLINE):
                return await self._labels(spec, found)
        except (TimeoutError, httpx2.HTTPError, _UnansweredError):
            return None

    async def _labels(
        self, spec: RegistrySpec, found: reference.Reference
    ) -> Mapping[str, str] | None:
        base, headers = _base_of(spec, found), {"Accept": _MANIFESTS}
        name = found.digest or found.tag or "latest"
        manifest = _read_json(await self._ask(f"{base}/manifests/{name}", found, headers))
        if manifest.get("manifests"):
            digest = _choose_platform(manifest["manifests"])
            manifest = _read_json(await self._ask(f"{base}/manifests/{digest}", found, headers))
        config = (manifest.get("config") or {}).get("digest")
        if not config:
            return None
        answer = await self._ask(f"{base}/blobs/{config}", found, headers)
        where = answer.headers.get("location", "")
        if answer.status_code in (302, 307) and where.startswith("https://"):
            answer = await self._get(where, {}, None)  # a registry's storage; no login goes there
        labels = (_read_json(answer).get("config") or {}).get("Labels") or {}
        return {str(key): str(value) for key, value in labels.items()}

    async def _ask(
        self, url: str, found: reference.Reference, headers: dict[str, str]
    ) -> httpx2.Response:
        """Ask, and once more with a token where that is demanded; headers keep it."""
        login = self._logins.get(found.host)
        answer = await self._get(url, headers, login)
        if answer.status_code == 401 and "Authorization" not in headers:
            headers |= await self._authorize(answer, url, found.path, login)
            answer = await self._get(url, headers, login)
        return answer

    async def _get(
        self, url: str, headers: Mapping[str, str], login: _Login | None
    ) -> httpx2.Response:
        auth = None
        if login is not None and "Authorization" not in headers:
            auth = login.auth_for(url)
        request = self._client.build_request("GET", url, headers=dict(headers))
        answer = await self._client.send(request, auth=auth, stream=True)
        try:
            body = b""
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise _UnansweredError("the answer is too large")
        finally:
            await answer.aclose()
        # a decoded body must not be decoded again
        kept = {
            name: text
            for name, text in answer.headers.items()
            if name not in ("content-encoding", "content-length", "transfer-encoding")
        }
        return httpx2.Response(answer.status_code, headers=kept, content=body)

    async def _authorize(
        self, refused: httpx2.Response, url: str, path: str, login: _Login | None
    ) -> dict[str, str]:
        """Fetch a bearer token as the challenge says, or say that the login is refused."""
        challenge = refused.headers.get("www-authenticate", "")
        scheme, _, rest = challenge.partition(" ")
        parameters = dict(_PARAMETER.findall(rest))
        realm = parameters.get("realm", "")
        if scheme.lower() != "bearer" or urllib.parse.urlsplit(realm).scheme not in (
            "http",
            "https",
        ):
            raise _UnansweredError("401 Unauthorized")
        if url.startswith("https:") and not realm.startswith("https:"):
            raise _UnansweredError("the registry sends its login over plain HTTP")
        query = {"scope": f"repository:{path}:pull"}
        if "service" in parameters:
            query["service"] = parameters["service"]
        answer = await self._get(f"{realm}?{urllib.parse.urlencode(query)}", {}, login)
        if answer.status_code >= 400:
            raise _UnansweredError(f"the token service answers {answer.status_code}")
        body = _read_json(answer)
        token = body.get("token") or body.get("access_token")
        if not token:
            raise _UnansweredError("the token service sent no token")
        return {"Authorization": f"Bearer {token}"}


def _base_of(spec: RegistrySpec, found: reference.Reference) -> str:
    base = (spec.endpoint or f"https://{_HOSTS.get(found.host, found.host)}").rstrip("/")
    return f"{base}/v2/{found.path}"


def _choose_platform(manifests: Sequence[Mapping[str, Any]]) -> str:
    platforms = [one.get("platform") or {} for one in manifests]
    wanted = [
        one
        for one, its in zip(manifests, platforms, strict=True)
        if (its.get("os"), its.get("architecture")) == ("linux", "amd64")
    ]
    return str((wanted or manifests)[0].get("digest"))


def _read_login(login: Mapping[str, str]) -> _Login:
    hosts = (one.strip() for one in login.get("hosts", "").split(","))
    return _Login(
        username=login.get("username", ""),
        password=login.get("password") or login.get("token", ""),
        hosts=frozenset(one for one in hosts if one),
    )


def _normalise(host: str) -> str:
    return reference.parse(f"{host}/x/y").host


def _read_tags(answer: httpx2.Response) -> list[str]:
    if answer.status_code != 200:
        raise _UnansweredError(f"{answer.status_code} {answer.reason_phrase}".strip())
    return [str(tag) for tag in _read_json(answer).get("tags") or ()]


def _read_json(answer: httpx2.Response) -> Mapping[str, Any]:
    try:
        body = json.loads(answer.content)
    except ValueError:
        raise _UnansweredError("the answer is not JSON") from None
    if not isinstance(body, dict):
        raise _UnansweredError("the answer is not an object")
    return body


def _next_of(answer: httpx2.Response, url: str) -> str | None:
    """Return the next page's URL, only on the same host (RFC 5988)."""
    found = re.match(r'<([^>]+)>\s*;\s*rel="?next"?', answer.headers.get("link", ""))
    if found is None:
        return None
    following = urllib.parse.urljoin(url, found[1])
    before, after = urllib.parse.urlsplit(url), urllib.parse.urlsplit(following)
    return following if (before.scheme, before.netloc) == (after.scheme, after.netloc) else None
