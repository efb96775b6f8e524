"""Intake in the running operator: rounds over policies, and the webhooks."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import logging
from collections.abc import Callable

from aiohttp import web

from selfheal import ports, wiring
from selfheal.agents.crew import Crew
from selfheal.api.incident import Incident
from selfheal.api.policy import Policy
from selfheal.domain import errors
from selfheal.engine import perform_intake
from selfheal.engine.deps import Deps
from selfheal.intake import alerts
from selfheal.intake.admission import Admission
from selfheal.intake.rounds import Rounds
from selfheal.intake.tickets import Narrowing
from selfheal.settings import Settings
from selfheal.web import hooks

Concerns = Callable[[Incident], object]

log = logging.getLogger("selfheal.intake")


def build_rounds(runtime: wiring.Runtime, admission: Admission, settings: Settings) -> Rounds:
    """Return the rounds of intake, narrowed as the settings say."""

    async def connect(policy: Policy) -> tuple[ports.IssueTracker | None, Crew]:
        systems = await runtime.wiring.connect_policy(policy)
        return systems.tracker, systems.crew

    seconds = settings.poll_interval
    return Rounds(
        store=runtime.deps.store,
        cluster=runtime.deps.cluster,
        clock=runtime.deps.clock,
        admission=admission,
        connect=connect,
        ask=perform_intake.ask_namespace,
        name=perform_intake.name_incident,
        narrowing=Narrowing(
            namespace=settings.intake_namespace,
            priority=settings.intake_priority,
            keywords=settings.intake_keywords,
        ),
        poll_interval=dt.timedelta(seconds=seconds) if seconds else None,
    )


@dataclasses.dataclass
class Intake:
    """What runs beside the scheduler: its tasks, and the server of the webhooks."""

    tasks: list[asyncio.Task[None]]
    server: web.AppRunner | None = None

    async def close(self) -> None:
        """End the server; the tasks are their holder's to cancel."""
        if self.server is not None:
            await self.server.cleanup()


async def start(runtime: wiring.Runtime, settings: Settings, waker: ports.Waker) -> Intake:
    """Begin the rounds and, where a secret for one is set, serve the webhooks."""
    if settings.read_only:
        return Intake(tasks=[])
    admission = Admission(runtime.deps.store, runtime.deps.clock)
    rounds = build_rounds(runtime, admission, settings)
    tasks = [
        asyncio.create_task(admission.run(), name="admission"),
        asyncio.create_task(rounds.run(), name="intake"),
    ]
    token, secret = settings.alert_token, settings.webhook_secret
    if token is None and secret is None:
        return Intake(tasks=tasks)
    notices = Notices(runtime.deps, admission, rounds, waker)
    app = hooks.build_app(
        hooks.Hooks(
            alert_token=token.get_secret_value() if token else None,
            signing_secret=secret.get_secret_value() if secret else None,
            admit=notices.admit,
            look_at_ticket=notices.look_at_ticket,
            look_at_pull=notices.look_at_pull,
        )
    )
    return Intake(tasks=tasks, server=await hooks.serve(app, settings.hooks_port))


@dataclasses.dataclass(frozen=True)
class Notices:
    """What a webhook leads to: signals, or a look at incidents that are known."""

    deps: Deps
    admission: Admission
    rounds: Rounds
    waker: ports.Waker

    async def admit(self, body: bytes) -> tuple[int, list[str]]:
        """Admit a request of Alertmanager; ValueError where it cannot be read."""
        group = alerts.parse(body)
        found, left = await alerts.build_signals(
            group.alerts,
            policies=await self.deps.store.list_policies(),
            cluster=self.deps.cluster,
            now=self.deps.clock.now(),
        )
        if not self.admission.submit(found):
            return -1, left
        return len(found), left

    async def look_at_ticket(self, key: str) -> int:
        """Wake the incidents of a ticket; one that nobody knows may be new: poll now."""
        woken = await self._wake(lambda one: one.status.ticket and one.status.ticket.key == key)
        if not woken:
            self.rounds.poll_now()
        return woken

    async def look_at_pull(self, url: str) -> int:
        """Wake the incidents of a pull request."""
        return await self._wake(
            lambda one: one.status.pull_request and one.status.pull_request.url == url
        )

    async def _wake(self, concerns: Concerns) -> int:
        try:
            incidents = await self.deps.store.list_incidents()
        except errors.SelfHealError as error:
            log.warning("a notice was not followed", extra={"error": str(error)})
            return 0
        concerned = [one for one in incidents if concerns(one)]
        for one in concerned:
            self.deps.readings.pop(one.metadata.uid, None)  # something is new to be read
            self.deps.tickets.forget(one.metadata.uid)
            self.waker.wake(one.key)
        return len(concerned)
