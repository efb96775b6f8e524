"""Settings, credentials, logs, and ports that cannot be served."""

from __future__ import annotations

import json
import logging
import pathlib
from collections.abc import Iterator

import click
import pydantic
import pytest
import yaml
from tests.fakes.store import FakeStore

from selfheal import credentials, logs
from selfheal.api.policy import CredentialsRef
from selfheal.cli import environment
from selfheal.domain import errors
from selfheal.settings import Settings
from selfheal.unavailable import Unavailable

SECRETS = {
    "GITHUB_TOKEN": "ghp-very-secret",
    "ATLASSIAN_TOKEN": "atl-very-secret",
    "OPENAI_API_KEY": "sk-very-secret",
}


def test_commands_are_read_with_quotes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELFHEAL_MCP_COMMANDS", "kubernetes=mcp --config 'a b'; other = run ;")
    assert Settings().mcp_commands == {
        "kubernetes": ["mcp", "--config", "a b"],
        "other": ["run"],
    }


def test_commands_that_cannot_be_read_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELFHEAL_MCP_COMMANDS", "kubernetes=mcp 'a")
    with pytest.raises(click.ClickException, match=r"SELFHEAL_MCP_COMMANDS: .*quotation"):
        environment.load_settings()


def test_a_flag_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELFHEAL_LOG_LEVEL", "ERROR")
    monkeypatch.setenv("SELFHEAL_READ_ONLY", "true")
    settings = environment.load_settings(log_level="DEBUG", read_only=False, log_dir=None)
    assert settings.log_level == "DEBUG"
    assert settings.read_only, "a flag that was not given leaves the environment's word"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SELFHEAL_CONCURRENCY", "65"),
        ("SELFHEAL_CONCURRENCY", "many"),
        ("SELFHEAL_LOG_LEVEL", "LOUD"),
        ("SELFHEAL_LIVENESS_PORT", "0"),
    ],
)
def test_a_wrong_value_names_its_variable_and_shows_nothing_else(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(click.ClickException) as caught:
        environment.load_settings()
    assert name in caught.value.message
    assert value not in caught.value.message
    assert "\n" not in caught.value.message


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert "very-secret" not in shown


def test_credentials_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().github_credential() == {}
    assert Settings().atlassian_credential() == {}
    assert Settings().openai_credential() == {}
    more = {"ATLASSIAN_EMAIL": "bot@example.com", "ATLASSIAN_CLOUD_ID": "cloud-1"}
    for name, value in {**SECRETS, **more}.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.github_credential() == {"token": "ghp-very-secret"}
    assert settings.atlassian_credential() == {
        "token": "atl-very-secret",
        "email": "bot@example.com",
        "cloudId": "cloud-1",
    }
    assert settings.openai_credential() == {"apiKey": "sk-very-secret"}


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(pydantic.ValidationError):
        Settings().concurrency = 3  # type: ignore[misc]


async def resolve(
    ref: str | None = None,
    environment: dict[str, str] | None = None,
    *,
    base_url: str | None = None,
    environment_url: str | None = None,
) -> object:
    store = FakeStore()
    store.credentials["git"] = {"token": "t", "hosts": "git.example.com, other.example.com:8443"}
    return await credentials.resolve(
        store,
        CredentialsRef(name=ref) if ref else None,
        {"token": "e"} if environment is None else environment,
        base_url=base_url,
        environment_url=environment_url,
        field="code.baseURL",
    )


@pytest.mark.parametrize(
    "url",
    [None, "https://git.example.com/api/v3", "https://other.example.com:8443"],
)
async def test_a_secret_goes_to_its_hosts(url: str | None) -> None:
    assert (await resolve("git", base_url=url))["token"] == "t"  # type: ignore[index]


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example.com",
        "https://git.example.com:8443",
        "https://git.example.com.evil.example",
        "https://git.example.com@evil.example",
        "https://example.com",
    ],
)
async def test_a_secret_goes_only_to_its_hosts(url: str) -> None:
    with pytest.raises(errors.PolicyInvalid, match=r"selfheal\.dev/hosts") as caught:
        await resolve("git", base_url=url)
    assert caught.value.reason == "CredentialsRefused"


async def test_the_environment_goes_to_the_public_host_and_its_own_url() -> None:
    url = "https://models.example.com/v1"
    assert await resolve() == {"token": "e"}
    assert await resolve(base_url=url, environment_url=url) == {"token": "e"}


async def test_the_environment_never_goes_where_only_a_policy_points() -> None:
    with pytest.raises(errors.PolicyInvalid, match=r"code\.credentialsRef") as caught:
        await resolve(base_url="https://evil.example.com", environment_url="https://a.example")
    assert caught.value.reason == "CredentialsMissing"


async def test_no_credential_at_all_says_where_to_put_one() -> None:
    with pytest.raises(errors.PolicyInvalid, match="selfheal-credentials"):
        await resolve(environment={})


async def test_a_port_that_cannot_be_served_tells_its_reason_at_every_call() -> None:
    port = Unavailable(errors.PolicyInvalid("spec.code: wrong"))
    for call in (port.get_ticket, port.merge_pull_request):
        with pytest.raises(errors.PolicyInvalid, match=r"spec\.code: wrong"):
            await call("any", key="thing")


@pytest.fixture
def _root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("_root_logger")
def test_log_file_and_json_lines(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "logs"
    logs.configure("INFO", folder)
    logging.getLogger("selfheal.phase").info("moved", extra={"incident": "a/b", "what": object()})
    logging.getLogger("selfheal.phase").debug("not shown")
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("selfheal.step").exception("failed")
    lines = (folder / "self_healing_crew.log").read_text().splitlines()
    first, second = (json.loads(line) for line in lines)
    assert first["time"].endswith("+00:00")
    del first["time"]
    assert first == {
        "level": "INFO",
        "logger": "selfheal.phase",
        "message": "moved",
        "incident": "a/b",
    }, "objects that are no plain values are left out"
    assert "ValueError: broken" in second["exception"]


@pytest.mark.usefixtures("_root_logger")
def test_libraries_that_log_requests_are_quiet() -> None:
    logs.configure("DEBUG", None)
    for name in ("httpx2", "openai", "github", "urllib3"):
        assert logging.getLogger(name).getEffectiveLevel() == logging.WARNING


def test_no_service_of_the_manifests_is_read_as_a_setting() -> None:
    """Kubernetes injects <SERVICE>_PORT and _SERVICE_HOST for each Service of a namespace."""
    path = pathlib.Path(__file__).resolve().parents[3] / "manifests" / "base" / "deployment.yaml"
    found = list(yaml.safe_load_all(path.read_text()))
    (pod,) = (entry["spec"]["template"]["spec"] for entry in found if entry["kind"] == "Deployment")
    assert pod["enableServiceLinks"] is False
    for entry in found:
        if entry["kind"] == "Service":
            word = entry["metadata"]["name"].replace("-", "_").removeprefix("selfheal_")
            assert not {f"{word}_port", f"{word}_service_host"} & set(Settings.model_fields)
