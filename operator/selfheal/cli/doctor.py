"""``selfheal doctor``: what is wrong with this installation, and what mends it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from collections.abc import Awaitable, Callable

import click

from selfheal import logs, wiring
from selfheal.agents.config import load_config
from selfheal.cli import environment
from selfheal.domain import errors, mapping, phases
from selfheal.settings import Settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One check of the doctor."""

    check: str
    ok: bool
    message: str


Check = Callable[[wiring.Runtime], Awaitable[list[Finding]]]


async def check_cluster(runtime: wiring.Runtime) -> list[Finding]:
    """The API server answers, and our kinds are installed."""
    uid = await runtime.deps.store.get_cluster_id()
    incidents = await runtime.deps.store.list_incidents()
    return [
        Finding(check="cluster", ok=True, message=f"cluster {uid} answers"),
        Finding(check="kinds", ok=True, message=f"{len(incidents)} incidents"),
    ]


async def check_policies(runtime: wiring.Runtime) -> list[Finding]:
    """Every policy is usable, and so are its tracker and repositories."""
    found = []
    for policy in await runtime.deps.store.list_policies():
        name = policy.metadata.name
        problems = mapping.check_policy(policy.spec)
        found.append(
            Finding(
                check=f"policy {name}", ok=not problems,
                message="; ".join(f"spec.{problem}" for problem in problems) or "valid",
            )
        )  # fmt: skip
        systems = await runtime.wiring.connect_policy(policy)
        if systems.tracker is not None:
            statuses = phases.resolve_statuses(policy.spec.tracker.statuses)
            problems = list(await systems.tracker.check({p.value: s for p, s in statuses.items()}))
            found.append(
                Finding(
                    check=f"tracker of {name}", ok=not problems,
                    message="; ".join(problems) or "project and statuses are there",
                )
            )  # fmt: skip
        for entry in policy.spec.code.repositories:
            if systems.code is not None:
                seen = await systems.code.get_repository(entry.repository)
                found.append(
                    Finding(
                        check=f"repository {entry.repository}", ok=seen.can_push,
                        message="can be pushed to" if seen.can_push else "no right to push",
                    )
                )  # fmt: skip
    return found


async def examine(settings: Settings) -> list[Finding]:
    """Run all checks; an error is a finding."""
    found = [_environment(settings)]
    try:
        load_config(settings.config_path)
        found.append(Finding(check="agents and tasks", ok=True, message="valid"))
    except errors.SelfHealError as error:
        found.append(Finding(check="agents and tasks", ok=False, message=str(error)))
    try:
        runtime = await wiring.build(settings)
    except errors.SelfHealError as error:
        return [*found, Finding(check="cluster", ok=False, message=str(error))]
    try:
        for name, check in (("cluster", check_cluster), ("policies", check_policies)):
            try:
                found += await check(runtime)
            except errors.SelfHealError as error:
                found.append(Finding(check=name, ok=False, message=str(error)))
    finally:
        await runtime.close()
    return found


def _environment(settings: Settings) -> Finding:
    known = {
        "GITHUB_TOKEN": settings.github_token is not None,
        "ATLASSIAN_TOKEN": settings.atlassian_token is not None,
        "ATLASSIAN_CLOUD_ID": settings.atlassian_cloud_id is not None,
        "OPENAI_MODEL": settings.openai_model is not None,
    }
    text = ", ".join(f"{name} {'set' if is_set else 'not set'}" for name, is_set in known.items())
    return Finding(check="environment", ok=True, message=text)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(*, as_json: bool) -> None:
    """Check environment, cluster, kinds, policies, tracker, repositories and configuration."""
    settings = environment.load_settings()
    logs.configure("ERROR", settings.log_dir, name="test_self_heal")
    found = asyncio.run(examine(settings))
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(finding) for finding in found], indent=2))
    else:
        for finding in found:
            click.echo(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.check}: {finding.message}")
    sys.exit(0 if all(finding.ok for finding in found) else 1)
