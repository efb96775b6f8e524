"""The command line: one module a command."""

from __future__ import annotations

import click

from selfheal.cli import audit, doctor, incident, jira, once, operator, rollback, try_folder


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
main.add_command(rollback.rollback)
main.add_command(try_folder.try_folder)
