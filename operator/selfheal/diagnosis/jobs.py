"""Jobs and CronJobs that fail: the deadline as a cause, the used-up retries as a symptom."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis.evidence import Finding, Item, ItemKind
from selfheal.diagnosis.reading import Reading, dig, parse_time, quote, stated

RANK_DEADLINE = 56
RANK_SYMPTOM = 85
KINDS = ("Job", "CronJob")


def find(reading: Reading) -> Iterator[Finding]:
    """Yield what the Job itself says; what its pods died of comes from the other rules."""
    job = newest(reading)
    failed = condition(job.value, "Failed") if job is not None else {}
    if job is None or not failed:
        return
    reason = str(failed.get("reason") or "")
    events = reading.events(reason, about=str(dig(job.value, "metadata").get("name")))
    evidence = (job.id, *(event.id for event in events[:1]))
    said = quote(str(failed.get("message") or reason), 160)
    if reason == "DeadlineExceeded":
        yield _deadline(reading, job, evidence)
        return
    spec = dig(job.value, "spec")
    yield Finding(
        class_=IncidentClass.JOB_FAILED,
        cause=f"Job {dig(job.value, 'metadata').get('name')} failed ({reason}): {said}. "
        f"Its backoffLimit is {spec.get('backoffLimit', 6)}.",
        confidence=0.6,
        evidence=evidence,
        rank=RANK_SYMPTOM,
        parameters={"fault": reason},
    )


def newest(reading: Reading) -> Item | None:
    """Return the Job that is judged: the target, or the newest Job of a CronJob."""
    kind = reading.bundle.target.kind
    if kind not in KINDS:
        return None
    wanted = ItemKind.OBJECT if kind == "Job" else ItemKind.OWNER
    return next(
        (item for item in reading.bundle.of(wanted) if item.value.get("kind") == "Job"), None
    )


def condition(job: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Return a condition of a Job that holds; empty when it does not."""
    for entry in dig(job, "status").get("conditions") or ():
        if entry.get("type") == kind and entry.get("status") == "True":
            found: Mapping[str, Any] = entry
            return found
    return {}


def _deadline(reading: Reading, job: Item, evidence: tuple[str, ...]) -> Finding:
    limit = dig(job.value, "spec").get("activeDeadlineSeconds")
    took = {item.id: seconds for item, seconds in _earlier(reading)}
    longest = max(took.values(), default=None)
    before = f"; earlier runs needed up to {longest:.0f} s" if longest is not None else ""
    return Finding(
        class_=IncidentClass.JOB_FAILED,
        cause=f"Job {dig(job.value, 'metadata').get('name')} was ended by its "
        f"activeDeadlineSeconds of {limit} (DeadlineExceeded): its work takes longer{before}.",
        confidence=0.95,
        evidence=(*evidence, *list(took)[:3]),
        rank=RANK_DEADLINE,
        parameters=stated(fault="DeadlineExceeded", deadline=limit, longest=longest),
    )


def _earlier(reading: Reading) -> Iterator[tuple[Item, float]]:
    """Iterate over earlier Jobs that succeeded and how many seconds they took."""
    for item in reading.bundle.of(ItemKind.REPLICA_SET):
        status = dig(item.value, "status")
        begun = parse_time(status.get("startTime"))
        ended = parse_time(status.get("completionTime"))
        if begun is not None and ended is not None and ended - begun > dt.timedelta(0):
            yield item, (ended - begun).total_seconds()
