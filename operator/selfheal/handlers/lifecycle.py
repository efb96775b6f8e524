"""Start, stop and liveness of the operator."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from typing import Any

import kopf
from aiohttp import web

from selfheal import wiring
from selfheal.domain import errors
from selfheal.engine import orphans
from selfheal.engine.policies import review
from selfheal.engine.scheduler import Scheduler
from selfheal.engine.step import step
from selfheal.engine.sweep import sweep
from selfheal.handlers import intake
from selfheal.settings import Settings
from selfheal.web import hooks, metrics

log = logging.getLogger("selfheal.operator")

STUCK_AFTER = 300.0
"""Seconds without any step, while keys are due, after which the liveness probe fails."""
SWEEP_EVERY = 600.0
"""Seconds between two sweeps."""
REVIEW_EVERY = 60.0
"""Seconds between two reviews of policies that did not change."""
START_AGAIN = 5.0
"""Seconds until the API server is asked again at the start."""


@dataclasses.dataclass
class Operator:
    """The running operator."""

    runtime: wiring.Runtime
    scheduler: Scheduler
    tasks: list[asyncio.Task[None]]
    intake: intake.Intake
    page: web.AppRunner | None = None
    seen: dict[str, str] = dataclasses.field(default_factory=dict)
    """Fingerprint of each incident as last observed."""


_operator: list[Operator] = []
_settings: list[Settings] = []


def use(settings: Settings) -> None:
    """Start with these settings instead of the environment's."""
    _settings[:] = [settings]


def running() -> Operator:
    """Return the running operator; kopf calls handlers only between start and stop."""
    return _operator[0]


async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    """Set kopf up; each value's reason stands in the project's kopf rules."""
    settings.scanning.disabled = True
    settings.posting.loggers = False
    settings.watching.chunk_size = 500
    settings.watching.server_timeout = 600
    settings.queueing.idle_timeout = 0.5  # s; a worker that waits longer holds a stop up
    settings.networking.error_backoffs = (1, 2, 5)
    settings.process.ultimate_exiting_timeout = None


async def start(**_: Any) -> None:
    """Wire the adapters, arm every incident that exists, and begin to step.

    A configuration that cannot work ends the process with its sentence; an API server that does not
    answer, refuses or lacks our kinds is asked again.
    """
    settings = _settings[0] if _settings else Settings()
    try:
        runtime = await wiring.build(settings)
    except errors.SelfHealError as error:
        raise kopf.PermanentError(str(error)) from error
    try:
        incidents = await runtime.deps.store.list_incidents()
        runtime = await runtime.identify()
    except errors.SelfHealError as error:
        await runtime.close()
        raise kopf.TemporaryError(str(error), delay=START_AGAIN) from error
    deps = runtime.deps
    meter = runtime.wiring.meter
    scheduler = Scheduler(
        lambda key: meter.count_step(step(key, deps)), deps.clock, concurrency=settings.concurrency
    )
    deps.tickets.wakers.append(scheduler.wake)
    for incident in incidents:
        scheduler.wake(incident.key)
    tasks = [
        asyncio.create_task(scheduler.run(), name="scheduler"),
        asyncio.create_task(_sweep_forever(runtime), name="sweeper"),
        asyncio.create_task(_review_forever(runtime), name="policies"),
    ]
    taking_in = await intake.start(runtime, settings, scheduler)
    _operator[:] = [
        Operator(
            runtime=runtime, scheduler=scheduler, tasks=tasks + taking_in.tasks, intake=taking_in,
            page=await _serve_metrics(runtime, settings.metrics_port),
        )
    ]  # fmt: skip
    log.info("operator started", extra={"holder": deps.holder})


async def _serve_metrics(runtime: wiring.Runtime, port: int) -> web.AppRunner | None:
    if not port:
        return None
    page = metrics.Page(runtime.wiring.meter, runtime.deps.store.list_incidents)
    try:
        return await hooks.serve(metrics.build_app(page), port)
    except OSError as error:  # healing goes before counting
        log.error(
            "no metrics: set SELFHEAL_METRICS_PORT", extra={"port": port, "error": str(error)}
        )
        return None


async def login(**_: Any) -> kopf.ConnectionInfo:
    """Give kopf our own connection's access, the token freshly read; asked again after a 401."""
    connection = running().runtime.connection
    configuration = connection.configuration
    scheme, _space, token = (await connection.authorization() or "").partition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        scheme=scheme or None,
        token=token or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        proxy_url=configuration.proxy,
    )


async def _sweep_forever(runtime: wiring.Runtime) -> None:
    while True:
        try:
            await sweep(runtime.deps)
            await orphans.release(runtime.deps, runtime.wiring.connect_policy)
        except errors.SelfHealError as error:
            log.warning("sweep failed", extra={"error": str(error)})
        await runtime.deps.clock.sleep(SWEEP_EVERY)


async def _review_forever(runtime: wiring.Runtime) -> None:
    """Review all policies now and then: a Secret that a policy names may come or go."""
    deps = runtime.deps
    while True:
        await deps.clock.sleep(REVIEW_EVERY)
        try:
            for policy in await deps.store.list_policies():
                await review(policy.metadata.name, deps)
        except errors.SelfHealError as error:
            log.warning("policies cannot be read", extra={"error": str(error)})


async def stop(**_: Any) -> None:
    """Stop stepping, wait for what runs, and end all connections."""
    if not _operator:
        return
    operator = _operator.pop()
    for task in operator.tasks:
        task.cancel()
    for task in operator.tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await operator.intake.close()
    if operator.page is not None:
        await operator.page.cleanup()
    await operator.runtime.close()


async def probe(**_: Any) -> float:
    """Return seconds since the last step; raise when steps are due and none runs."""
    operator = running()
    idle = operator.runtime.deps.clock.monotonic() - operator.scheduler.last_step
    if operator.scheduler.overdue(STUCK_AFTER):
        raise kopf.PermanentError(f"no step for {idle:.0f} s although some are due")
    return round(idle, 1)
