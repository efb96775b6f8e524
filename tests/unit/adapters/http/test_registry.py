"""OciRegistry over httpx2's mock transport: who is asked, with what, and what is made of the answer."""

from __future__ import annotations

import base64
from collections.abc import Callable

import httpx2
import pytest

from selfheal.adapters.http import registry
from selfheal.api.policy import RegistrySpec

LOGIN = {"username": "bot", "password": "pa55word", "hosts": "reg.example.com"}
BASIC = "Basic " + base64.b64encode(b"bot:pa55word").decode()


def build(
    answer: Callable[[httpx2.Request], httpx2.Response],
    *specs: RegistrySpec,
    logins: dict[str, dict[str, str]] | None = None,
) -> tuple[registry.OciRegistry, list[httpx2.Request]]:
    seen: list[httpx2.Request] = []

    def record(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return answer(request)

    transport = httpx2.MockTransport(record)
    return registry.OciRegistry(specs, logins or {}, transport=transport), seen


def tags(*names: str) -> httpx2.Response:
    return httpx2.Response(200, json={"name": "x", "tags": list(names)})


@pytest.mark.parametrize(
    ("image", "url"),
    [
        ("nginx", "https://registry-1.docker.io/v2/library/nginx/tags/list?n=1000"),
        ("docker.io/acme/web:1", "https://registry-1.docker.io/v2/acme/web/tags/list?n=1000"),
        ("reg.example.com/a/b@sha256:00", "https://reg.example.com/v2/a/b/tags/list?n=1000"),
        ("reg.local:5000/web:9", "http://172.30.0.1:5000/v2/web/tags/list?n=1000"),
    ],
)
async def test_the_repository_of_a_reference_is_asked_at_its_endpoint(image: str, url: str) -> None:
    subject, seen = build(
        lambda request: tags("1.0", "1.1"),
        RegistrySpec(host="docker.io"),
        RegistrySpec(host="reg.example.com"),
        RegistrySpec(host="reg.local:5000", endpoint="http://172.30.0.1:5000/"),
    )
    item = await subject.list_tags(image)
    assert item is not None
    assert [str(request.url) for request in seen] == [url]
    assert item.value["exists"] is True
    assert item.value["tags"] == ["1.0", "1.1"]
    await subject.close()


@pytest.mark.parametrize("image", ["other.example.com/a/b:1", "nginx:1", "reg.example.com/UPPER:1"])
async def test_no_other_host_and_no_invalid_name_is_asked(image: str) -> None:
    subject, seen = build(lambda request: tags(), RegistrySpec(host="reg.example.com"))
    assert await subject.list_tags(image) is None
    assert seen == []


async def test_a_missing_repository_does_not_exist() -> None:
    subject, _ = build(
        lambda request: httpx2.Response(404, json={"errors": [{"code": "NAME_UNKNOWN"}]}),
        RegistrySpec(host="docker.io"),
    )
    item = await subject.list_tags("ngnix:1.25")
    assert item is not None
    assert item.id == "tags/docker.io/library/ngnix"
    assert item.value == {"repository": "docker.io/library/ngnix", "exists": False, "tags": []}


async def test_all_pages_are_read_on_the_same_host_only() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if "last" not in request.url.params:
            link = '</v2/a/b/tags/list?n=1000&last=1.0>; rel="next"'
            return httpx2.Response(200, json={"tags": ["1.0"]}, headers={"Link": link})
        link = '<https://evil.example.org/v2/a/b/tags/list>; rel="next"'
        return httpx2.Response(200, json={"tags": ["1.1"]}, headers={"Link": link})

    subject, seen = build(answer, RegistrySpec(host="reg.example.com"))
    item = await subject.list_tags("reg.example.com/a/b")
    assert item is not None
    assert item.value["tags"] == ["1.0", "1.1"]
    assert {request.url.host for request in seen} == {"reg.example.com"}
    assert len(seen) == 2


async def test_endless_pages_end() -> None:
    link = '</v2/a/b/tags/list?n=1000&last=1.0>; rel="next"'
    subject, seen = build(
        lambda request: httpx2.Response(200, json={"tags": ["1"]}, headers={"Link": link}),
        RegistrySpec(host="reg.example.com"),
    )
    await subject.list_tags("reg.example.com/a/b")
    assert len(seen) == registry.MAX_PAGES


async def test_a_basic_login_goes_to_the_host_it_is_bound_to() -> None:
    subject, seen = build(
        lambda request: tags("1"), RegistrySpec(host="reg.example.com"),
        logins={"reg.example.com": LOGIN},
    )  # fmt: skip
    await subject.list_tags("reg.example.com/a/b")
    assert seen[0].headers["Authorization"] == BASIC


async def test_a_login_bound_elsewhere_is_not_sent() -> None:
    subject, seen = build(
        lambda request: httpx2.Response(401, headers={"WWW-Authenticate": 'Basic realm="x"'}),
        RegistrySpec(host="reg.example.com", endpoint="https://proxy.example.net"),
        logins={"reg.example.com": LOGIN},
    )
    item = await subject.list_tags("reg.example.com/a/b")
    assert "Authorization" not in seen[0].headers
    assert item is not None
    assert item.value["exists"] is None
    assert item.value["error"] == "401 Unauthorized"


def bearer(realm: str) -> Callable[[httpx2.Request], httpx2.Response]:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/token":
            return httpx2.Response(200, json={"token": "t0ken"})
        if request.headers.get("Authorization") == "Bearer t0ken":
            return tags("1.0")
        challenge = f'Bearer realm="{realm}",service="reg",scope="repository:other:push"'
        return httpx2.Response(401, headers={"WWW-Authenticate": challenge})

    return answer


async def test_the_bearer_handshake_asks_for_pull_only() -> None:
    subject, seen = build(
        bearer("https://auth.example.com/token"), RegistrySpec(host="reg.example.com"),
        logins={"reg.example.com": LOGIN | {"hosts": "reg.example.com, auth.example.com"}},
    )  # fmt: skip
    item = await subject.list_tags("reg.example.com/a/b")
    assert item is not None
    assert item.value["tags"] == ["1.0"]
    assert seen[1].url.params["scope"] == "repository:a/b:pull"
    assert seen[1].url.params["service"] == "reg"
    assert seen[1].headers["Authorization"] == BASIC


async def test_a_foreign_token_service_never_sees_the_login() -> None:
    subject, seen = build(
        bearer("https://evil.example.org/token"), RegistrySpec(host="reg.example.com"),
        logins={"reg.example.com": LOGIN},
    )  # fmt: skip
    await subject.list_tags("reg.example.com/a/b")
    assert "Authorization" not in seen[1].headers


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx2.Response(500), "500 Internal Server Error"),
        (httpx2.Response(200, text="<html>"), "the answer is not JSON"),
        (httpx2.Response(200, json=[]), "the answer is not an object"),
        (httpx2.Response(200, content=b"x" * (registry.MAX_BYTES + 1)), "the answer is too large"),
        (
            httpx2.Response(401, headers={"WWW-Authenticate": 'Bearer realm="http://a/token"'}),
            "the registry sends its login over plain HTTP",
        ),
        (
            httpx2.Response(401, headers={"WWW-Authenticate": 'Bearer realm="https://a/token"'}),
            "the token service answers 401",
        ),
    ],
)
async def test_what_is_refused_is_said(answer: httpx2.Response, error: str) -> None:
    subject, _ = build(lambda request: answer, RegistrySpec(host="reg.example.com"))
    item = await subject.list_tags("reg.example.com/a/b")
    assert item is not None
    assert item.value["exists"] is None
    assert item.value["error"] == error


async def test_a_token_service_without_a_token_is_said() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/token":
            return httpx2.Response(200, json={})
        challenge = 'Bearer realm="https://a.example.com/token"'
        return httpx2.Response(401, headers={"WWW-Authenticate": challenge})

    subject, _ = build(answer, RegistrySpec(host="reg.example.com"))
    item = await subject.list_tags("reg.example.com/a/b")
    assert item is not None
    assert item.value["error"] == "the token service sent no token"


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (httpx2.ConnectError("refused"), "cannot be reached (ConnectError)"),
        (TimeoutError(), "no answer within 10 s"),
    ],
)
async def test_an_unreachable_registry_is_said(failure: Exception, error: str) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        raise failure

    subject, _ = build(answer, RegistrySpec(host="reg.example.com"))
    item = await subject.list_tags("reg.example.com/a/b")
    assert item is not None
    assert item.value["error"] == error


def test_a_login_does_not_show_its_password() -> None:
    assert "pa55word" not in repr(registry._read_login(LOGIN))


LABELS = {"org.opencontainers.image.revision": "abc123"}


def image(request: httpx2.Request) -> httpx2.Response:
    """An index of two platforms, and the configuration in a storage elsewhere."""
    path = request.url.path
    if path.endswith("/manifests/1.0"):
        platforms = [("arm64", "sha256:arm"), ("amd64", "sha256:amd")]
        found = [{"digest": digest, "platform": {"os": "linux", "architecture": arch}} for arch, digest in platforms]
        return httpx2.Response(200, json={"manifests": found})
    if path.endswith("/manifests/sha256:amd"):
        return httpx2.Response(200, json={"config": {"digest": "sha256:conf"}})
    if path.endswith("/blobs/sha256:conf"):
        return httpx2.Response(307, headers={"Location": "https://storage.example.net/conf"})
    if request.url.host == "storage.example.net":
        return httpx2.Response(200, json={"config": {"Labels": LABELS}})
    return httpx2.Response(404, json={})


async def test_the_labels_of_an_image_are_those_of_its_configuration() -> None:
    subject, seen = build(image, RegistrySpec(host="reg.example.com"), logins={"reg.example.com": LOGIN})
    assert await subject.get_labels("reg.example.com/a/b:1.0") == LABELS
    assert "index" in seen[0].headers["Accept"]
    assert seen[0].headers["Authorization"] == BASIC
    assert "Authorization" not in seen[-1].headers, "no login goes to the storage"


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("other.example.com/a:1", {}), ("reg.example.com/UPPER:1", {}), ("reg.example.com/a:9", {}),
        ("reg.example.com/a", {"config": {}}), ("reg.example.com/a", []), ("reg.example.com/a@sha256:1", {"manifests": []}),
    ],
)  # fmt: skip
async def test_labels_that_cannot_be_known_are_none(name: str, answer: object) -> None:
    subject, _ = build(lambda request: httpx2.Response(200, json=answer), RegistrySpec(host="reg.example.com"))
    assert await subject.get_labels(name) is None


async def test_an_image_without_labels_has_none_of_them() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        blob = "/blobs/" in request.url.path
        return httpx2.Response(200, json={"config": {"Labels": None}} if blob else {"config": {"digest": "sha256:c"}})

    subject, _ = build(answer, RegistrySpec(host="reg.example.com"))
    assert await subject.get_labels("reg.example.com/a:1") == {}


async def test_a_registry_that_is_down_has_no_labels() -> None:
    def down(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    subject, _ = build(down, RegistrySpec(host="reg.example.com"))
    assert await subject.get_labels("reg.example.com/a:1") is None
