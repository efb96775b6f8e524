"""The command line: one module a command."""

from __future__ import annotations

import click

from selfheal.cli import (
    audit,
    doctor,
    incident,
    incident_move,
    incident_read,
    jira,
    once,
    operator,
    policy,
    printed,
    report,
    rollback,
    try_folder,
)

__all__ = ["incident_move", "incident_read", "main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="selfheal-operator")
def main() -> None:
    """Heal incidents at the source of truth: ticket, cause, pull request, delivery, proof."""


main.add_command(operator.operator)
main.add_command(audit.audit)
main.add_command(once.once)
main.add_command(doctor.doctor)
main.add_command(incident.incident)
main.add_command(jira.jira)
main.add_command(policy.policy)
main.add_command(printed.crd)
main.add_command(printed.completion)
main.add_command(report.metrics)
main.add_command(report.report)
main.add_command(rollback.rollback)
main.add_command(try_folder.try_folder)
