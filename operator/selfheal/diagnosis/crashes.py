"""Containers that end by themselves again and again, and what their log says of it."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import jobs, log_signs
from selfheal.diagnosis.evidence import Finding, Item
from selfheal.diagnosis.log_signs import Sign
from selfheal.diagnosis.reading import RECENT, Container, Reading, dig, parse_time, quote

RANK_KNOWN = 52
RANK_APPLICATION = 54
RANK_EXIT = 65
MANY_RESTARTS = 5
"""Restarts from which a container counts as restarting often, however long ago the last was."""

FLAPPING = 2
"""Restarts from which a container counts so when the last one is only minutes ago."""

SHORT_LIFE = dt.timedelta(minutes=1)
"""What ends sooner than this after its start never gets to work; later, it worked and fell."""

SIGNALS = {132: "SIGILL", 134: "SIGABRT", 135: "SIGBUS", 136: "SIGFPE", 137: "SIGKILL",
           139: "SIGSEGV", 143: "SIGTERM"}  # fmt: skip
KILLED = 137
_CRASHED = frozenset({132, 134, 135, 136, 139})
"""Signals that a program's own fault raises."""

_KILLS = re.compile(r"(?:Liveness|Startup) probe")
_STOPPED = frozenset({0, 130, 137, 143})
_RUNS_ONCE = frozenset({"Job", "CronJob"})
_PHRASES = {
    "PortTaken": "the port ({what}) that it wants is already in use",
    "MissingVariable": "an environment variable that it needs ({what}) is not set",
    "MissingCommand": "what it is told to run ({what}) is not there",
    "MissingFile": "a file that it needs ({what}) is not there",
    "BadArgument": "it does not understand an argument ({what})",
    "UnknownHost": "a host name ({what}) cannot be resolved",
    "Unreachable": "it cannot connect to what it needs ({what})",
    "FilePermission": "it may not use a file ({what})",
    "BadConfiguration": "it refuses its configuration",
    "Application": "its own code fails",
}


def find(reading: Reading) -> Iterator[Finding]:
    """Yield one finding for each container that exits with what its log or exit code says."""
    job = jobs.newest(reading)
    if job is not None and jobs.condition(job.value, "Complete"):
        return  # pods of it that failed were tried again
    seen: set[str] = set()
    for container in sorted(reading.containers, key=lambda entry: -entry.restarts):
        if container.name not in seen and _crashes(reading, container):
            seen.add(container.name)
            yield _classify(reading, container)


def _crashes(reading: Reading, container: Container) -> bool:
    reason = container.terminated.get("reason")
    if reason not in ("Error", "Completed") or container.ended_with_pod:
        return False
    if container.exit_code in _STOPPED and killed_by_probe(reading, container):
        return False
    if killed_unasked(container):
        return False  # memory.py
    if container.waiting_reason == "CrashLoopBackOff" or container.restarts >= MANY_RESTARTS:
        return True
    if not container.ready and container.exit_code != 0:
        return True
    ended = parse_time(container.terminated.get("finishedAt"))
    lately = ended is not None and reading.bundle.now - ended <= RECENT
    return lately and container.restarts >= FLAPPING


def ends_itself(reading: Reading, container: Container) -> bool:
    """Tell whether a container that is down, or was lately, ended without the kubelet's doing."""
    last = container.terminated
    if not last or container.exit_code == 0 or killed_by_probe(reading, container):
        return False
    ended = parse_time(last.get("finishedAt"))
    down = "running" not in container.status.get("state", {})
    return down or (
        container.restarts >= FLAPPING
        and ended is not None
        and reading.bundle.now - ended <= RECENT
    )


def killed_by_probe(reading: Reading, container: Container) -> bool:
    """Tell whether the kubelet killed it for a failing liveness or startup probe.

    The kubelet drops events of a pod that has many: without its word, the way the container ended
    and the probe's own failures say it.
    """
    name = re.escape(container.name)
    wanted = re.compile(rf"[Cc]ontainer {name}\b.*(?:liveness|startup) probe")
    if any(
        wanted.search(str(event.value.get("message", "")))
        for event in reading.events("Killing", about=container.pod_name)
    ):
        return True
    probed = "livenessProbe" in container.spec or "startupProbe" in container.spec
    if not probed or container.exit_code not in _STOPPED:
        return False
    if container.terminated.get("reason") == "OOMKilled":
        return False
    return probe_of_lifetime(container) is not None or any(
        _KILLS.match(str(event.value.get("message", "")))
        for event in reading.events("Unhealthy", about=container.pod_name)
    )


def probe_of_lifetime(container: Container) -> str | None:
    """Return the probe that allows just as long as the container lived before it was stopped."""
    begun = parse_time(container.terminated.get("startedAt"))
    ended = parse_time(container.terminated.get("finishedAt"))
    if begun is None or ended is None or container.restarts < FLAPPING:
        return None
    lived = (ended - begun).total_seconds()
    spec = dig(container.pod.value, "spec")
    grace = 5.0  # it went when it was told to; else it was killed after its time of grace
    if container.exit_code == KILLED:
        grace = float(spec.get("terminationGracePeriodSeconds") or 30)
    for name in ("startupProbe", "livenessProbe"):
        probe = dig(container.spec, name)
        period = float(probe.get("periodSeconds") or 10)
        allowed = allowed_seconds(probe)
        if probe and allowed - period - 1 <= lived <= allowed + period + grace:
            return name
    return None


def allowed_seconds(probe: Mapping[str, Any]) -> float:
    """Return the seconds after which a probe kills a container that never answers."""
    delay, period = probe.get("initialDelaySeconds") or 0, probe.get("periodSeconds") or 10
    return float(delay + period * (probe.get("failureThreshold") or 3))


def killed_unasked(container: Container) -> bool:
    """Tell whether SIGKILL ended a limited container that no probe, eviction or shutdown killed.

    The kernel's OOM killer is what is left; where it takes a child first, or the runtime misses its
    event, the reason reads Error.
    """
    probed = "livenessProbe" in container.spec or "startupProbe" in container.spec
    return (
        container.exit_code == KILLED
        and container.terminated.get("reason") == "Error"
        and container.resource("limits", "memory") is not None
        and not probed
        and not container.ended_with_pod
        and not dig(container.pod.value, "status").get("reason")
    )


def _comes_up(reading: Reading, container: Container) -> bool:
    """Tell whether it works for a while before it ends, or works now for long.

    Whether it runs, waits or is ready at the moment says nothing: a container that ends at its
    start is each of these for some seconds of every round.
    """
    begun = parse_time(container.terminated.get("startedAt"))
    ended = parse_time(container.terminated.get("finishedAt"))
    if begun is None or ended is None:
        return container.ready
    return ended - begun >= SHORT_LIFE or (container.ready and reading.bundle.now - ended > RECENT)


def _classify(reading: Reading, container: Container) -> Finding:
    sign = log_signs.find(reading, container)
    if sign is None:
        return _silent(reading, container)
    if sign.fault == "PortTaken" and sign.what is None:
        sign = _with_port(reading, container, sign)
    phrase = _PHRASES[sign.fault].format(what=sign.what or "see its log")
    application = sign.fault == "Application"
    class_ = IncidentClass.CRASH_LOOP_BACK_OFF
    if application or (sign.fault == "Unreachable" and _comes_up(reading, container)):
        class_ = IncidentClass.HIGH_RESTART_COUNT
    return _finding(
        container, _of_kind(reading, container, class_), f"{phrase}: {quote(sign.line, 160)}",
        sign.fault, 0.8, RANK_APPLICATION if application else RANK_KNOWN, sign.log,
        what=sign.what, line=quote(sign.line),
    )  # fmt: skip


def _silent(reading: Reading, container: Container) -> Finding:
    code = container.exit_code or 0
    last = _last_line(reading, container)
    said = f'; the last it said: "{quote(last, 120)}"' if last else ""
    class_ = IncidentClass.CRASH_LOOP_BACK_OFF
    if code in _CRASHED or _comes_up(reading, container):
        class_ = IncidentClass.HIGH_RESTART_COUNT
    fault, phrase = "Exit", f"nothing known explains it{said}"
    if code in _CRASHED:
        fault, phrase = "Signal", f"it was ended by {SIGNALS[code]} (signal {code - 128}){said}"
    elif code == 127:
        fault, phrase = "MissingCommand", f"exit code 127 is a command that is not there{said}"
    elif code == 126:
        fault, phrase = "NotExecutable", f"exit code 126 is a command that may not be run{said}"
    elif code == 0:
        fault, phrase = "Completed", f"its command comes to an end, and it is meant to run on{said}"
    logs = list(log_signs.dead_logs(reading, container))[:1] if last else []
    return _finding(
        container, _of_kind(reading, container, class_), phrase, fault,
        0.8 if fault in ("Signal", "MissingCommand") else 0.6, RANK_EXIT, *logs, line=quote(last),
    )  # fmt: skip


def _of_kind(reading: Reading, container: Container, class_: IncidentClass) -> IncidentClass:
    """Return the class that a crash has in an init container or in a Job."""
    if container.runs_first:
        return IncidentClass.INIT_CONTAINER_FAILED
    if reading.bundle.target.kind in _RUNS_ONCE:
        return IncidentClass.JOB_FAILED
    return class_


def _last_line(reading: Reading, container: Container) -> str:
    for log in log_signs.dead_logs(reading, container):
        lines = str(log.value.get("text", "")).splitlines()
        return next((line for line in reversed(lines) if line.strip()), "")
    return ""


def _with_port(reading: Reading, container: Container, sign: Sign) -> Sign:
    """Name the port that another container of the pod declares and this one's command wants."""
    others = {
        str(port["containerPort"])
        for entry in dig(container.pod.value, "spec").get("containers") or ()
        if entry["name"] != container.name
        for port in entry.get("ports") or ()
    }
    words = _words(container)
    taken = [port for port in sorted(others) if port in words]
    if len(taken) != 1:
        taken = sorted({word for word in words if word.isdigit() and 80 <= int(word) <= 65535})
    if len(taken) != 1:
        return sign
    return Sign(fault=sign.fault, line=sign.line, what=taken[0], log=sign.log)


def _words(container: Container) -> set[str]:
    spec = container.spec
    texts = [*(spec.get("command") or ()), *(spec.get("args") or ())]
    texts += [str(entry.get("value") or "") for entry in spec.get("env") or ()]
    texts += [str(port["containerPort"]) for port in spec.get("ports") or ()]
    return {word for text in texts for word in re.findall(r"\d+|\w+", str(text))}


def _finding(
    container: Container, class_: IncidentClass, phrase: str, fault: str, confidence: float,
    rank: int, *logs: Item, **more: str | None,
) -> Finding:  # fmt: skip
    times = f", {container.restarts} restarts" if container.restarts else ""
    return Finding(
        class_=class_,
        cause=f"{container.title} exits with code {container.exit_code}{times}: {phrase}",
        confidence=confidence,
        evidence=tuple(dict.fromkeys((container.pod.id, *(log.id for log in logs)))),
        container=container.name,
        rank=rank,
        parameters={
            "fault": fault,
            "exitCode": container.exit_code,
            "restarts": container.restarts,
            **{name: value for name, value in more.items() if value is not None},
        },
    )
