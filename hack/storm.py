"""A storm of alerts at the installed operator, sent as Alertmanager sends: again, until it is taken.

Each cause is a Deployment whose image does not exist; its alerts name the Deployment or one of its
pods. While it is sent, the operator's pod can be killed. What came of it is counted at the API
server and in the ticket tracker.
"""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hack import world
from hack.sandbox.jira import client as jira

TOKEN = "storm-token"
GROUP = 250
"""Alerts of one request."""
OPERATOR = "deployment/selfheal-operator"


def causes(namespace: str, count: int) -> Iterator[dict[str, Any]]:
    """Yield a namespace and its Deployments."""
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    for number in range(count):
        labels = {"app": f"app-{number}"}
        container = {"name": "app", "image": "docker.io/selfheal/nothing:here", "resources": {"requests": {"cpu": "1m"}}}
        yield {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": f"app-{number}", "namespace": namespace},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        }


def alerts(namespace: str, count: int, signals: int) -> list[dict[str, Any]]:
    """Return the alerts, causes in turn; every other one names a pod that may be gone."""
    found = []
    for number in range(signals):
        app = f"app-{number % count}"
        named = {"pod": f"{app}-7d5f9c-{number:05d}"} if number // count % 2 else {"deployment": app}
        labels = {"alertname": f"Alert{number % 7}", "namespace": namespace, "severity": "critical", **named}
        found.append({"status": "firing", "labels": labels, "annotations": {"summary": f"{app} of {namespace} is down"}})
    return found


def take_alerts() -> None:
    """Give the operator its alert token; it starts anew with it. May be repeated."""
    world.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "selfheal-credentials", "namespace": world.SYSTEM},
            "stringData": {"SELFHEAL_ALERT_TOKEN": TOKEN},
        }
    )
    world.kubectl("-n", world.SYSTEM, "rollout", "restart", OPERATOR)
    world.kubectl("-n", world.SYSTEM, "rollout", "status", OPERATOR, "--timeout=120s")


def leave_alerts() -> None:
    """Take the token away again."""
    world.kubectl("-n", world.SYSTEM, "delete", "secret", "selfheal-credentials", "--ignore-not-found")
    world.kubectl("-n", world.SYSTEM, "rollout", "restart", OPERATOR)
    world.kubectl("-n", world.SYSTEM, "rollout", "status", OPERATOR, "--timeout=120s")


@contextmanager
def forwarded() -> Iterator[str]:
    """Forward the hooks' port of the operator's pod of this moment; yield its URL."""
    words = [world.kubectl_binary(), "-n", world.SYSTEM, "port-forward", OPERATOR, ":8090"]
    process = subprocess.Popen(
        words, env=world.environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("Forwarding from"):
            raise ConnectionError("the operator is not up")
        yield f"http://{line.split()[2]}"
    finally:
        process.terminate()
        process.wait()


def post(url: str, group: list[dict[str, Any]]) -> int:
    """Post a group of alerts; return how many were taken. OSError: send it again."""
    body = json.dumps({"version": "4", "status": "firing", "receiver": "selfheal", "alerts": group}).encode()
    request = urllib.request.Request(f"{url}/hooks/alertmanager", data=body, headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return int(json.load(answer)["taken"])


def send(fired: list[dict[str, Any]], *, timeout: float = 120) -> int:
    """Send alerts until each group was taken once; return how many were taken."""
    groups = [fired[start : start + GROUP] for start in range(0, len(fired), GROUP)]
    until, taken = time.monotonic() + timeout, 0
    while groups:
        if time.monotonic() > until:
            raise world.WorldError(f"{len(groups)} groups of alerts were not taken in {timeout:.0f} s")
        try:
            with forwarded() as url:
                while groups:
                    taken += post(url, groups[0])
                    groups.pop(0)
        except (OSError, urllib.error.URLError):
            time.sleep(0.2)  # what Alertmanager does, too: it comes again
    return taken


def kill_operator() -> None:
    """End the operator's pod without grace."""
    selector = "app.kubernetes.io/name=selfheal-operator"
    world.kubectl("-n", world.SYSTEM, "delete", "pod", "-l", selector, "--grace-period=0", "--force", check=False)


def incidents(namespace: str) -> list[dict[str, Any]]:
    """Return the namespace's incidents."""
    return list(json.loads(world.kubectl("-n", namespace, "get", "shi", "-o", "json"))["items"])


def tickets(namespace: str) -> list[str]:
    """Return the keys of all tickets that tell of the namespace."""
    return jira.search(world.sandbox()["jira"], f'summary ~ "{namespace}"')


def run(namespace: str, *, count: int = 40, signals: int = 2_000, kills: int = 5, timeout: float = 300) -> dict[str, int]:
    """Send the storm and kill the operator so often meanwhile; return figures once all have a ticket."""
    fired = alerts(namespace, count, signals)
    share = max(len(fired) // (kills + 1), 1)
    taken = 0
    for number in range(kills + 1):
        end = len(fired) if number == kills else (number + 1) * share
        taken += send(fired[number * share : end])
        if number < kills:
            kill_operator()
    # what was taken and not yet admitted went with the pod: Alertmanager repeats what still fires
    send(fired)

    def all_have_tickets() -> bool:
        found = incidents(namespace)
        return len(found) >= count and all(one.get("status", {}).get("ticket") for one in found)

    world.wait_until("a ticket for each cause", all_have_tickets, timeout=timeout)
    return {"taken": taken, "kills": kills, "incidents": len(incidents(namespace)), "tickets": len(tickets(namespace))}
