"""Which credential goes to which host: a Secret bound to hosts, or the environment's own."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping, Sequence

from selfheal import ports
from selfheal.api.policy import CredentialsRef, McpServerSpec
from selfheal.domain import errors


async def resolve(
    store: ports.IncidentStore,
    ref: CredentialsRef | None,
    environment: Mapping[str, str],
    *,
    base_url: str | None,
    environment_url: str | None = None,
    field: str,
) -> Mapping[str, str]:
    """Return the credential for a host, or raise Stalled with what mends it.

    A Secret goes only to the hosts of its annotation ``selfheal.dev/hosts``. The environment's
    credential goes only to the public host (no ``base_url``) or to the URL set in the same
    environment.
    """
    if ref is not None:
        credential = await store.get_credential(ref.name)
        _check_host(credential, base_url, field=field, name=ref.name)
        return credential
    if base_url is not None and base_url != environment_url:
        raise errors.PolicyInvalid(
            f"spec.{field}: {base_url} is named by the policy alone; name a Secret of the "
            f"operator's namespace in {field.rpartition('.')[0]}.credentialsRef "
            "that is bound to that host.",
            reason="CredentialsMissing",
        )
    if not environment:
        raise errors.PolicyInvalid(
            f"spec.{field.rpartition('.')[0]}: no credential. Name a Secret in credentialsRef, or "
            "set it in the Secret selfheal-credentials.",
            reason="CredentialsMissing",
        )
    return environment


async def resolve_servers(
    store: ports.IncidentStore, specs: Sequence[McpServerSpec]
) -> tuple[dict[str, Mapping[str, str]], dict[str, errors.SelfHealError]]:
    """Return credentials of MCP servers by name, and why one cannot be had or sent there.

    Such a server is left out, and a condition says so; the incident goes on without it.
    """
    held: dict[str, Mapping[str, str]] = {}
    refused: dict[str, errors.SelfHealError] = {}
    for spec in specs:
        if spec.credentials_ref is None:
            continue
        field = f"agents.mcpServers[{spec.name}].url"
        try:
            found = await resolve(store, spec.credentials_ref, {}, base_url=spec.url, field=field)
            if spec.url is not None and not found.get("token"):
                raise errors.PolicyInvalid(
                    f"spec.{field}: Secret {spec.credentials_ref.name} has no key token. "
                    "Put the bearer token there.",
                    reason="CredentialsMissing",
                )
        except errors.SelfHealError as error:
            refused[spec.name] = error
            continue
        held[spec.name] = found
    return held, refused


def _check_host(
    credential: Mapping[str, str], base_url: str | None, *, field: str, name: str
) -> None:
    if base_url is None:
        return
    host = urllib.parse.urlsplit(base_url).netloc
    bound = [entry.strip() for entry in credential.get("hosts", "").split(",") if entry.strip()]
    if host not in bound:
        raise errors.PolicyInvalid(
            f"spec.{field}: Secret {name} is not bound to {host}. Add it to the Secret's "
            "annotation selfheal.dev/hosts if the credential may go there.",
            reason="CredentialsRefused",
        )
