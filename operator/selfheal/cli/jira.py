"""``selfheal jira``: help with the set-up of the tracker."""

from __future__ import annotations

import click

from selfheal import wiring
from selfheal.api.policy import Policy
from selfheal.cli.incident import with_runtime
from selfheal.domain import errors, phases


@click.group()
def jira() -> None:
    """Check the tracker of a policy."""


@jira.command()
@click.option("--policy", "name", help="Only this policy; else every one that has a tracker.")
def check(name: str | None) -> None:
    """Say what the tracker lacks and how to mend it: account, rights, project, type, statuses.

    Reads only; exit code 1 where something is missing.
    """
    found = with_runtime(lambda runtime: examine(runtime, name))
    if not found:
        raise click.ClickException("no policy has a tracker; set spec.tracker.type to Jira")
    for policy, problems in found.items():
        click.echo(f"policy {policy}: {'to be mended' if problems else 'everything is there'}")
        for number, problem in enumerate(problems, 1):
            click.echo(f"  {number}. {problem}")
    if any(found.values()):
        raise SystemExit(1)


async def examine(runtime: wiring.Runtime, name: str | None) -> dict[str, list[str]]:
    """Return what is wrong with the tracker of each policy; a fault of reach is one of them."""
    store = runtime.deps.store
    policies = [await store.get_policy(name)] if name else await store.list_policies()
    found: dict[str, list[str]] = {}
    for policy in policies:
        problems = await _problems(runtime, policy)
        if problems is not None:
            found[policy.metadata.name] = problems
    return found


async def _problems(runtime: wiring.Runtime, policy: Policy) -> list[str] | None:
    try:
        tracker = (await runtime.wiring.connect_policy(policy)).tracker
        if tracker is None:
            return None
        statuses = phases.resolve_statuses(policy.spec.tracker.statuses)
        return list(await tracker.check({phase.value: s for phase, s in statuses.items()}))
    except errors.SelfHealError as error:
        return [str(error)]
