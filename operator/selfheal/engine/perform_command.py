"""Commands by comment: answered once, and obeyed with the status patch that says so."""

from __future__ import annotations

from selfheal import redaction
from selfheal.api.incident import Phase
from selfheal.api.policy import CommandsSpec
from selfheal.domain import commands, errors
from selfheal.domain.commands import Command, Verb, Verdict
from selfheal.domain.effects import Effect
from selfheal.engine import escaping, setup
from selfheal.engine.context import Context
from selfheal.engine.deps import require_tracker
from selfheal.engine.outcome import Outcome


async def obey(context: Context, effect: Effect) -> Outcome:
    """Answer the oldest open command; its effect on the incident rides on the same status patch.

    May be repeated: until that patch the answer is found by its marker, after it the command is
    no longer open.
    """
    known, ticket = context.status.ticket, context.facts.ticket
    spec = context.spec.tracker.commands
    command = commands.find_open(known, ticket, spec) if known and ticket else None
    if known is None or ticket is None or command is None:
        raise errors.Conflict("a command that is gone")
    verdict = commands.judge(command, context.facts.author_groups, ticket, spec)
    if commands.compute_key(context.uid, command, verdict) != effect.key:
        raise errors.Conflict("a command that was changed meanwhile")
    said = await require_tracker(context.systems).ensure_comment(
        known.key, marker=effect.key, public=context.spec.tracker.public_comments,
        body=render_answer(command, verdict, spec, context.status.phase),
    )  # fmt: skip
    run = context.status.run
    context.status = commands.obey(
        context.status, command, verdict, uid=context.uid, now=context.now
    )
    if context.status.run != run:
        context.forget_run()
        setup.renew_identity(context, run)
    context.forget("author_groups")
    return Outcome(ref=said)


def render_answer(
    command: Command, verdict: Verdict, spec: CommandsSpec, phase: Phase | None
) -> str:
    """Return what is said to a command; nothing of its own text is repeated."""
    name = escaping.line(command.by.name)
    texts = {
        Verdict.OBEYED: lambda: _obeyed(command, name, spec, phase),
        Verdict.REFUSED: lambda: (
            f"{name} may not give commands here: that takes a member of "
            f"{' or '.join(spec.groups)} (`tracker.commands.groups` of the policy). Whoever may "
            "move this ticket may still do so, and is obeyed."
        ),
        Verdict.UNPROVEN: lambda: (
            f"Whether {name} may give commands cannot be seen. Give the operator's account the "
            "global permission *Browse users and groups* (scope `read:jira-user`), and comment "
            "again; or move the ticket."
        ),
        Verdict.UNKNOWN: lambda: (
            "**Not understood.** A command is one of:\n\n"
            f"- `{spec.mention} hint` and a text: the next attempt reads it\n"
            f"- `{spec.mention} retry`: a new attempt now; a text after it is a hint\n"
            f"- `{spec.mention} stop`: it is left to people"
        ),
        Verdict.OUTDATED: lambda: (
            f"The ticket was moved after the command of {name}; the move counts. Comment again if "
            "the command still holds."
        ),
    }
    return redaction.redact_text(texts[verdict]())


def _obeyed(command: Command, name: str, spec: CommandsSpec, phase: Phase | None) -> str:
    if command.verb is Verb.HINT:
        return (
            f"**Noted**, {name}: the next attempt reads it. `{spec.mention} retry` begins one now."
        )
    if command.verb is Verb.RETRY:
        return f"**A new attempt begins**, asked for by {name}."
    if phase is Phase.INCIDENT_RESOLVED:
        return f"There is nothing to stop, {name}: the incident has ended."
    return (
        f"**Stopped** by {name}: nothing is done any more. Move the ticket back, or comment "
        f"`{spec.mention} retry`, to hand it to the operator again."
    )
