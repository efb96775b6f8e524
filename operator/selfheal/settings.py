"""Process settings: the only reader of the environment. Frozen, validated before kopf starts."""

from __future__ import annotations

import pathlib
import shlex
from collections.abc import Mapping
from typing import Annotated, Any

import pydantic
import pydantic_settings

from selfheal.api.incident import Priority

LOG_LEVELS = "^(DEBUG|INFO|WARNING|ERROR)$"


def _split_commands(value: Any) -> Any:
    """Read ``name=command args;name=command`` as a mapping of argument lists."""
    if not isinstance(value, str):
        return value
    pairs = [entry.partition("=") for entry in value.split(";") if entry.strip()]
    return {name.strip(): shlex.split(command) for name, _, command in pairs}


def _split_words(value: Any) -> Any:
    """Read comma-separated words."""
    if not isinstance(value, str):
        return value
    return tuple(word.strip() for word in value.split(",") if word.strip())


class Settings(pydantic_settings.BaseSettings):
    """Facts of the process; operational policy stands in SelfHealingPolicy."""

    model_config = pydantic_settings.SettingsConfigDict(
        env_prefix="SELFHEAL_", frozen=True, populate_by_name=True
    )

    log_level: str = pydantic.Field(default="INFO", pattern=LOG_LEVELS)
    """DEBUG, INFO, WARNING or ERROR."""
    log_dir: pathlib.Path | None = None
    """Folder for log files; unset: JSON on standard output only."""
    concurrency: int = pydantic.Field(default=8, ge=1, le=64)
    """Steps at once."""
    namespace: str = "selfheal-system"
    """The operator's own namespace, where credentials and Leases live."""
    read_only: bool = False
    """Stop every outside write."""
    dry_run: bool = False
    """Analysis only, for all incidents."""
    config_path: pathlib.Path | None = None
    """Folder with self_heal_agents.yaml and self_heal_tasks.yaml; unset: the packaged ones."""
    liveness_port: int = pydantic.Field(default=8080, ge=1, le=65535)
    """Port of /healthz."""
    mcp_commands: Annotated[
        Mapping[str, list[str]],
        pydantic_settings.NoDecode,
        pydantic.BeforeValidator(_split_commands),
    ] = {}
    """MCP servers that a policy may name by ``command``: ``name=command args;name2=…``."""
    poll_interval: float | None = pydantic.Field(default=None, gt=0)
    """Seconds between polls for new tickets; unset: as each policy says (5 minutes)."""
    intake_namespace: str | None = None
    """Take tickets in for this namespace only."""
    intake_priority: Priority | None = None
    """Least priority of tickets taken in; a policy's own minimum holds as well."""
    intake_keywords: Annotated[
        tuple[str, ...], pydantic_settings.NoDecode, pydantic.BeforeValidator(_split_words)
    ] = ()
    """Comma-separated; any must occur in a ticket that is taken in."""
    hooks_port: int = pydantic.Field(default=8090, ge=1, le=65535)
    """Port of the webhooks, served where a secret for one is set."""
    metrics_port: int = pydantic.Field(default=8081, ge=0, le=65535)
    """Port of /metrics and /metrics.json; 0: not served."""
    alert_token: pydantic.SecretStr | None = None
    """Bearer token of Alertmanager; unset: no alerts are taken."""
    webhook_secret: pydantic.SecretStr | None = None
    """Secret with which Jira and GitHub sign their notices; unset: polling alone."""
    kustomize: pathlib.Path = pathlib.Path("/usr/local/bin/kustomize")
    """The program that renders Kustomize sources."""
    helm: pathlib.Path = pathlib.Path("/usr/local/bin/helm")
    """The program that renders Helm sources."""
    insecure_kubelet: bool = False
    """Accept a kubelet certificate that the cluster's CA did not sign (self-signed kubelets)."""

    github_token: pydantic.SecretStr | None = pydantic.Field(
        default=None, validation_alias="GITHUB_TOKEN"
    )
    atlassian_token: pydantic.SecretStr | None = pydantic.Field(
        default=None, validation_alias="ATLASSIAN_TOKEN"
    )
    atlassian_email: str | None = pydantic.Field(default=None, validation_alias="ATLASSIAN_EMAIL")
    atlassian_cloud_id: str | None = pydantic.Field(
        default=None, validation_alias="ATLASSIAN_CLOUD_ID"
    )
    openai_api_key: pydantic.SecretStr | None = pydantic.Field(
        default=None, validation_alias="OPENAI_API_KEY"
    )
    openai_base_url: str | None = pydantic.Field(default=None, validation_alias="OPENAI_BASE_URL")
    openai_model: str | None = pydantic.Field(default=None, validation_alias="OPENAI_MODEL")

    def github_credential(self) -> dict[str, str]:
        """Return the code host's credential of the environment; empty: none."""
        return {"token": self.github_token.get_secret_value()} if self.github_token else {}

    def atlassian_credential(self) -> dict[str, str]:
        """Return the tracker's credential of the environment; empty: none."""
        if self.atlassian_token is None:
            return {}
        found = {"token": self.atlassian_token.get_secret_value()}
        if self.atlassian_email:
            found["email"] = self.atlassian_email
        if self.atlassian_cloud_id:
            found["cloudId"] = self.atlassian_cloud_id
        return found

    def openai_credential(self) -> dict[str, str]:
        """Return the model's credential of the environment; empty: none."""
        return {"apiKey": self.openai_api_key.get_secret_value()} if self.openai_api_key else {}
