"""Prometheus metrics: what the process does is counted here, what incidents say is read when asked.

Names and units: https://prometheus.io/docs/practices/naming/. Labels come from closed lists
(phases, classes, systems, kinds of errors, calls of the ports), so that their number is bounded.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import prometheus_client as prometheus
from aiohttp import web
from prometheus_client.core import GaugeHistogramMetricFamily, GaugeMetricFamily, Metric

from selfheal.api.incident import Incident
from selfheal.domain import errors, figures

FRESH = 15.0
"""Seconds for which a list of incidents is good enough for another scrape."""

BUCKETS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0, float("inf"))
"""Seconds from an incident's filing to a milestone."""

List = Callable[[], Awaitable[Sequence[Incident]]]


class Meter:
    """The counters of one process, and the figures of the incidents that it last listed."""

    def __init__(self) -> None:
        """Begin at nothing, in a registry of its own."""
        self.registry = prometheus.CollectorRegistry()
        self.steps = prometheus.Counter(
            "selfheal_steps", "Steps taken.", ["outcome"], registry=self.registry
        )
        self.step_seconds = prometheus.Histogram(
            "selfheal_step_duration_seconds", "Duration of a step.", registry=self.registry
        )
        self.calls = prometheus.Counter(
            "selfheal_calls", "Calls of a system.", ["system", "call", "outcome"],
            registry=self.registry,
        )  # fmt: skip
        self.call_seconds = prometheus.Histogram(
            "selfheal_call_duration_seconds", "Duration of a call.", ["system"],
            registry=self.registry,
        )  # fmt: skip
        self.incidents: Sequence[Incident] = ()
        self.registry.register(_Incidents(self))

    def watch(self, port: Any, system: str) -> Any:
        """Return a port whose calls are counted; None stays None."""
        return None if port is None else _Counted(port, system, self)

    async def count_step(self, step: Awaitable[Any]) -> Any:
        """Await a step and count it."""
        begun, outcome = time.monotonic(), "bug"
        try:
            found = await step
            outcome = "ok"
            return found
        except errors.SelfHealError as error:
            outcome = type(error).__name__
            raise
        finally:
            self.steps.labels(outcome).inc()
            self.step_seconds.observe(time.monotonic() - begun)


class _Counted:
    """A port in front of another one, which counts."""

    def __init__(self, port: Any, system: str, meter: Meter) -> None:
        self._port, self._system, self._meter = port, system, meter

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if not callable(found) or name.startswith("_"):
            return found

        def call(*args: Any, **values: Any) -> Any:
            answer = found(*args, **values)
            return self._count(name, answer) if hasattr(answer, "__await__") else answer

        return call

    async def _count(self, name: str, answer: Awaitable[Any]) -> Any:
        begun, outcome = time.monotonic(), "ok"
        try:
            return await answer
        except errors.SelfHealError as error:
            outcome = type(error).__name__
            raise
        except BaseException:
            outcome = "cut_off"
            raise
        finally:
            self._meter.calls.labels(self._system, name, outcome).inc()
            self._meter.call_seconds.labels(self._system).observe(time.monotonic() - begun)


class _Incidents:
    """Figures of the incidents, computed when Prometheus asks."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def collect(self) -> Iterator[Metric]:
        """Yield one metric after the other."""
        incidents = self._meter.incidents
        there = GaugeMetricFamily("selfheal_incidents", "Incidents.", labels=["phase", "class"])
        for (phase, class_), count in figures.count_phases(incidents).items():
            there.add_metric([phase, class_], count)
        yield there
        found = figures.measure(incidents)
        for name, told, read in (
            ("selfheal_incidents_fixed", "Incidents that a fix resolved.", "fixed"),
            ("selfheal_wrong_fixes", "Merged fixes that failed to prove.", "failed_verifications"),
            ("selfheal_model_calls", "Calls of language models.", "model_calls"),
            ("selfheal_model_tokens", "Tokens sent and received.", "tokens"),
            ("selfheal_model_cost", "Cost of models, in the currency of the policy.", "cost"),
        ):  # fmt: skip
            gauge = GaugeMetricFamily(name, told, labels=["class"])
            for one in found:
                gauge.add_metric([one.name], float(getattr(one, read)))
            yield gauge
        yield self._times(found)

    def _times(self, found: Sequence[figures.ClassFigures]) -> Metric:
        """Return a histogram over the incidents that there are; swept ones leave it."""
        family = GaugeHistogramMetricFamily(
            "selfheal_incident_time_to_milestone_seconds",
            "Time from an incident's filing to a milestone.", labels=["milestone"],
        )  # fmt: skip
        for milestone in figures.MILESTONES:
            values = [seconds for one in found for seconds in one.times[milestone]]
            buckets = [
                (_bound(bound), float(sum(value <= bound for value in values))) for bound in BUCKETS
            ]
            family.add_metric([milestone], buckets, gsum_value=sum(values))
        return family


def _bound(seconds: float) -> str:
    return "+Inf" if seconds == float("inf") else str(seconds)


class Page:
    """``/metrics`` for Prometheus, ``/metrics.json`` for everybody else."""

    def __init__(self, meter: Meter, list_incidents: List) -> None:
        """Read incidents by ``list_incidents``, at most every FRESH seconds."""
        self._meter, self._list, self._listed = meter, list_incidents, float("-inf")

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.get("/metrics", self.metrics), web.get("/metrics.json", self.as_json)]

    async def metrics(self, request: web.Request) -> web.Response:
        """Answer Prometheus; an API server that does not answer leaves the last figures."""
        await self._refresh()
        body = prometheus.generate_latest(self._meter.registry)
        return web.Response(body=body, headers={"Content-Type": prometheus.CONTENT_TYPE_LATEST})

    async def as_json(self, request: web.Request) -> web.Response:
        """Answer the same figures as JSON."""
        await self._refresh()
        return web.json_response(render_json(self._meter.registry))

    async def _refresh(self) -> None:
        if time.monotonic() - self._listed < FRESH:
            return
        try:
            self._meter.incidents = await self._list()
            self._listed = time.monotonic()
        except errors.SelfHealError:
            return


def render_json(registry: prometheus.CollectorRegistry) -> list[dict[str, Any]]:
    """Return every sample with its labels, for programs without a Prometheus parser."""
    return [
        {"name": sample.name, "labels": dict(sample.labels), "value": sample.value}
        for family in registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    ]


def build_app(page: Page) -> web.Application:
    """Return the application."""
    app = web.Application(client_max_size=1024)
    app.add_routes(page.routes())
    return app
