"""Slips of one word: an address that nobody outside reaches, a unit that nothing fits in."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.remediation import fix_factory as repo
from tests.unit.remediation.test_propose import accepted, refusal

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis.evidence import Finding

IMAGE = '        image: "nginx:9.9"   # bumped on Monday\n'
ENV = '        - {name: A, value: "1"}\n'
LOOPBACK = repo.finding(
    IncidentClass.FAILED_HEALTH_CHECK, confidence=0.8, fault="Loopback", probe="readinessProbe", line="--bind 127.0.0.1"
)


def running(*lines: str) -> str:
    return repo.TEXT.replace(IMAGE, IMAGE + "".join(f"        {line}\n" for line in lines))


def variable(name: str, value: str) -> str:
    return repo.TEXT.replace(ENV, f'{ENV}        - {{name: {name}, value: "{value}"}}\n')


@pytest.mark.parametrize(
    ("text", "new"),
    [
        (running('command: [serve, "--bind", "127.0.0.1"]'), 'command: [serve, "--bind", "0.0.0.0"]'),
        (running('args: ["--listen=localhost:8080"]'), 'args: ["--listen=0.0.0.0:8080"]'),
        (running('args: ["serve --host ::1 --port 8080"]'), 'args: ["serve --host :: --port 8080"]'),
        (running("args: [--address, '[::1]:8080']"), "args: [--address, '[::]:8080']"),
        (variable("BIND_HOST", "127.0.0.1"), '- {name: BIND_HOST, value: "0.0.0.0"}'),
        (variable("LISTEN_ADDR", "127.0.0.1:8080"), '- {name: LISTEN_ADDR, value: "0.0.0.0:8080"}'),
    ],
)
def test_a_server_listens_on_every_address(text: str, new: str) -> None:
    (found,) = repo.fix(LOOPBACK, text=text)
    added = [line for line in repo.changed_lines(accepted(found, text).diff) if line.startswith("+")]
    assert [line[1:].strip() for line in added] == [new]
    assert found.risk == "Medium"


@pytest.mark.parametrize(
    "text",
    [
        repo.TEXT,
        running('command: [serve, "--redis-host", "127.0.0.1"]'),
        running('command: [serve, "--origin", "127.0.0.1"]'),
        running('command: [serve, "--bind", "127.0.0.1", "--admin-listen", "127.0.0.1"]'),
        running('command: [serve, "--bind", "127.0.0.10"]'),
        variable("DB_HOST", "localhost"),
        variable("HOST", "10.0.0.1"),
        variable("GREETING", "localhost"),
    ],
)
def test_an_address_that_is_not_surely_its_own_is_for_a_person(text: str) -> None:
    assert refusal(repo.fix, LOOPBACK, text=text) == "NeedsPerson"


def tiny(**parameters: Any) -> Finding:
    return repo.finding(
        IncidentClass.INSUFFICIENT_MEMORY, **{"fault": "TinyLimit", "limit": "256m", "bytes": 0.256, "meant": "256Mi"} | parameters
    )


def with_memory(limit: str, request: str) -> str:
    text = repo.TEXT.replace("memory: 64Mi", f"memory: {limit}").replace("{memory: 32Mi}", f"{{memory: {request}}}")
    assert text != repo.TEXT
    return text


def changed(found: Finding, text: str) -> list[str]:
    (proposal,) = repo.fix(found, text=text)
    assert proposal.risk == "Medium"
    return [line.strip("+ ") for line in repo.changed_lines(accepted(proposal, text).diff) if line[0] == "+"]


def test_a_limit_is_written_in_the_unit_that_was_meant() -> None:
    assert changed(tiny(), with_memory("256m", "128m")) == ["memory: 256Mi", "requests: {memory: 128Mi}"]
    assert changed(tiny(), with_memory("256m", "1")) == ["memory: 256Mi"]
    assert changed(tiny(limit="256", bytes=256), with_memory('"256"', '"64"')) == ['memory: "256Mi"', 'requests: {memory: "64Mi"}']


def test_a_unit_that_is_not_known_is_for_a_person() -> None:
    text = with_memory("256m", "128m")
    assert refusal(repo.fix, tiny(meant=None), text=text) == "NeedsPerson"
    assert refusal(repo.fix, tiny(), text=text, max_memory="128Mi") == "NeedsPerson"
    assert refusal(repo.fix, tiny(), text=with_memory("512Mi", "1Mi")) == "Drifted"
