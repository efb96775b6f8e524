"""Planted credentials of many kinds, searched for in every sink over a whole life of an incident.

They stand in the report, in the lines beside the edit, in the environment, in an annotation, in the container's log
and in a person's comments. The fakes hand all of it on unredacted, so nothing but the operator's own word at each
sink keeps it back. The values are made here and are nobody's.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from tests.fakes.cluster import FakeCluster
from tests.scenario.world import (
    FILE,
    REPOSITORY,
    SOURCE,
    PlausibleModel,
    World,
    approve_when_asked,
    policy_spec,
)

from selfheal import logs, redaction
from selfheal.adapters.kube import documents
from selfheal.api.incident import Phase
from selfheal.diagnosis.evidence import Bundle, Item, ItemKind

A, B = "Zk3x9Qw7Lp2Vr8Tn4Yb6", "4f9a1c7e3b8d2065"
JWT = ".".join(base64.urlsafe_b64encode(text).decode().rstrip("=") for text in (b'{"alg":"HS256"}', b'{"sub":"x9Qw7"}'))
DOCKER = base64.b64encode(b"robot:" + A.encode()).decode()
PLANTED: Mapping[str, tuple[str, str]] = {  # kind: how it stands in a text, what must not be found
    "password assignment": (f"DB_PASSWORD={A}1", f"{A}1"),
    "YAML password": (f"db_password: {A}2", f"{A}2"),
    "JSON API key": (f'{{"apiKey": "{A}3"}}', f"{A}3"),
    "command line option": (f"run --auth-token {A}4 --fast", f"{A}4"),
    "query parameter": (f"GET /v1?access_token={A}5&x=1", f"{A}5"),
    "database URL": (f"postgres://shop:{A}6@db:5432/shop", f"{A}6"),
    "broker URL": (f"amqp://:{A}7@mq:5672", f"{A}7"),
    "bearer header": (f"Authorization: Bearer {A}8", f"{A}8"),
    "basic header": (f"Authorization: Basic {DOCKER}", DOCKER),
    "JWT": (f"session {JWT}.{A}", JWT),
    "dockerconfigjson": (f'{{"auths":{{"r.example":{{"auth":"{DOCKER}"}}}}}}', DOCKER),
    "private key": (f"-----BEGIN EC PRIVATE KEY-----\n{A}9\n-----END EC PRIVATE KEY-----", f"{A}9"),
    "AWS access key": ("AKIA" + "Q7L2V8T4Y6Z3X9W1", "Q7L2V8T4Y6Z3X9W1"),
    "AWS secret key": (f"aws_secret_access_key = {A}{A}", f"{A}{A}"),
    "Azure storage key": (f"AccountKey={A * 4}aaaaaa==", A * 4),
    "Google API key": (f"AIza{A}{B}", f"{A}{B}"),
    "Google OAuth token": (f"ya29.{A}{A}", f"ya29.{A}"),
    "GitHub token": (f"ghp_{A}{B}", f"ghp_{A}"),
    "GitHub fine-grained token": (f"github_pat_{A}_{B}", f"github_pat_{A}"),
    "GitLab token": (f"glpat-{A}", f"glpat-{A}"),
    "Atlassian token": (f"ATATT3xFf{A}", f"ATATT3xFf{A}"),
    "Slack token": (f"xoxb-123456789012-123456789012-{A}{B[:4]}", f"xoxb-123456789012-123456789012-{A}"),
    "Slack webhook": (f"https://hooks.slack.com/services/T0AAAAAAA/B0AAAAAAA/{A}{B[:4]}", f"B0AAAAAAA/{A}"),
    "Stripe key": (f"sk_live_{A}{B[:4]}", f"sk_live_{A}"),
    "OpenAI key": (f"sk-proj-{A}{B}", f"sk-proj-{A}"),
    "npm token": (f"npm_{A}{B}", f"npm_{A}"),
    "PyPI token": (f"pypi-AgEIcHlwaS5vcmc{A * 4}", f"pypi-AgEIcHlwaS5vcmc{A}"),
    "SendGrid key": (f"SG.{A}aa.{A}{A}aaa", f"SG.{A}"),
    "Vault token": (f"hvs.{A}{B}", f"hvs.{A}"),
    "Docker Hub token": (f"dckr_pat_{A}{B[:7]}", f"dckr_pat_{A}"),
    "DigitalOcean token": (f"dop_v1_{B * 4}", f"dop_v1_{B}"),
    "Grafana token": (f"glsa_{A}{B[:12]}_{B[:8]}", f"glsa_{A}"),
    "age key": (f"AGE-SECRET-KEY-1{A.upper()}{A.upper()}", f"AGE-SECRET-KEY-1{A.upper()}"),
}


def test_there_are_enough_kinds() -> None:
    assert len(PLANTED) >= 25


@pytest.mark.parametrize("kind", PLANTED)
def test_each_kind_is_masked(kind: str) -> None:
    text, value = PLANTED[kind]
    clean = redaction.redact_text(f"the log says {text} and goes on")
    assert value not in clean
    assert "the log says" in clean


class TalkativeCluster(FakeCluster):
    """Hands the planted texts on as they are: log, environment, annotation, ConfigMap."""

    planted = ""

    async def collect_evidence(self, *words: Any, **more: Any) -> Bundle:
        bundle = await super().collect_evidence(*words, **more)
        value = {
            "metadata": {"name": "settings", "annotations": {redaction.LAST_APPLIED: self.planted}},
            "spec": {"env": [{"name": "APP_SECRET", "value": self.planted}, {"name": "NOTE", "value": self.planted}]},
            "data": {"settings": self.planted},
        }
        log = {"pod": "checkout-1", "container": "app", "previous": True, "text": self.planted}
        return bundle.extend(
            Item(id="configmap/settings", kind=ItemKind.OBJECT, value=value),
            Item(id="log/planted", kind=ItemKind.LOG, value=log),
        )


class RepeatingModel(PlausibleModel):
    """Says again whatever it was told, in every text of its answers; keeps its prompts."""

    def __init__(self, said: str) -> None:
        super().__init__()
        self.prompts: list[str] = []
        self._said = said

    async def complete(self, messages: Any, **more: Any) -> Any:
        self.prompts.append(json.dumps(messages))
        answer = await super().complete(messages, **more)
        content = json.loads(answer.text)
        for key in ("explanation", "rationale", "body", "reason", "rollback"):
            if key in content:
                content[key] = f"{content[key]} {self._said}"
        return dataclasses.replace(answer, text=json.dumps(content))


@pytest.fixture
def log_lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonFormatter())
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(before)


GROUPS = [list(PLANTED)[start::4] for start in range(4)]


@pytest.mark.parametrize("kinds", GROUPS, ids=["a", "b", "c", "d"])
async def test_no_sink_shows_it(
    kinds: list[str], log_lines: io.StringIO, record_property: Callable[[str, object], None]
) -> None:
    text = "\n".join(PLANTED[kind][0] for kind in kinds)
    sinks = await live_through(text, log_lines)
    leaks = [
        f"{name}: {kind}"
        for kind in kinds
        for name, shown in sinks.items()
        if PLANTED[kind][1] in shown or json.dumps(PLANTED[kind][1])[1:-1] in shown
    ]
    record_property("tried", len(kinds) * len(sinks))  # bench/diagnosis.py prints both
    record_property("succeeded", len(leaks))
    assert leaks == []
    unmasked = [name for name in ("status", "log line", "ticket", "prompt", "evidence") if redaction.MASK not in sinks[name]]
    assert unmasked == [], "nothing was planted there: the search proves nothing"


async def live_through(text: str, log_lines: io.StringIO) -> dict[str, str]:
    """Let an incident live to its end with a text planted wherever others may write; return what every sink shows."""
    flat = text.replace("\n", " ")
    model = RepeatingModel(text)
    world = World(model=model)
    cluster = TalkativeCluster(now=world.clock.now, needs={"app": "100Mi"})
    cluster.planted = text
    world.cluster = cluster
    source = SOURCE.replace("was enough in spring", f"was enough in spring, {flat}")
    world.code.add_repository(REPOSITORY, {FILE: source.encode(), "README.md": b"# gitops\n"})
    world.apply_source(source.encode())
    world.restart()
    world.people.append(approve_when_asked)
    world.file_incident(policy_spec(), summary=f"checkout restarts {flat[:150]}", description=f"The log says: {text}")
    await world.run_to_end()
    assert world.phase is Phase.INCIDENT_RESOLVED
    assert world.status.usage.model_calls >= 4
    logging.getLogger("selfheal.test").warning("said: %s", text, extra={"why": text})
    repository = world.code.repositories[REPOSITORY]
    return {
        "status": json.dumps(world.status.to_wire()),
        "event": repr(world.store.events),
        "log line": log_lines.getvalue(),
        "ticket": repr(world.ticket) + repr(world.tracker.tickets),
        "pull request": repr(repository.pulls) + repr(repository.comments) + repr(world.pull),
        "commit message": "\n".join(commit.message for commit in repository.commits.values()),
        "prompt": "\n".join(model.prompts),
        "evidence": "\n".join(
            json.dumps(documents.parse(stored).content)
            for stored in world.store.stored_documents.values()
            if stored["spec"]["type"] != "Proposal"  # its files are what will be committed
        ),
    }
