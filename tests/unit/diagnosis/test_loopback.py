"""Servers that listen on 127.0.0.1 only, seen from the kubelet's side."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.diagnosis import evidence_factory as make

from selfheal.diagnosis import registry
from selfheal.diagnosis.evidence import Finding, Item

PORTS = [{"name": "http", "containerPort": 8080}]


def look(
    text: str = "",
    *more: Item,
    at: str = "10.244.0.67:8080",
    probe: str = "readinessProbe",
    **spec: Any,
) -> Finding:
    container = make.container(
        ports=PORTS, **{probe: {"httpGet": {"path": "/", "port": "http"}}}, **spec
    )
    title = probe.removesuffix("Probe").capitalize()
    refused = make.event(
        "Unhealthy",
        f'{title} probe failed: Get "http://{at}/": dial tcp {at}: connect: connection refused',
    )
    restarts = 0 if probe == "readinessProbe" else 2
    pod = make.pod(containers=[container], statuses=[make.status(restarts=restarts)])
    return registry.diagnose(make.bundle(pod, refused, make.log(text, previous=False), *more))[0]


@pytest.mark.parametrize(
    ("text", "spec", "words"),
    [
        (
            "Serving HTTP on 127.0.0.1 port 8080 (http://127.0.0.1:8080/) ...",
            {},
            "127.0.0.1 port 8080",
        ),
        (
            " * Running on http://127.0.0.1:8080\nPress CTRL+C to quit",
            {},
            "Running on http://127.0.0.1:8080",
        ),
        (
            "  Local:   http://localhost:8080/\n  Network: use --host to expose",
            {},
            "localhost:8080",
        ),
        ("listening on [::1]:8080", {}, "[::1]:8080"),
        ("server listening at 127.0.0.1", {}, "listening at 127.0.0.1"),
        ("", {"command": ["serve", "--bind", "127.0.0.1"]}, "--bind 127.0.0.1"),
        ("", {"args": ["--host=localhost:8080"]}, "--host localhost:8080"),
        (
            "",
            {"command": ["sh", "-c", "exec serve --listen http://127.0.0.1:8080"]},
            "--listen http://127.0.0.1:8080",
        ),
        (
            "",
            {
                "env": [
                    {"name": "A", "valueFrom": {"fieldRef": {}}},
                    {"name": "BIND_ADDRESS", "value": "127.0.0.1"},
                ]
            },
            "BIND_ADDRESS 127.0.0.1",
        ),
    ],
)
def test_who_listens_on_the_loopback_address_says_so(
    text: str, spec: dict[str, Any], words: str
) -> None:
    found = look(text, **spec)
    assert (found.parameters["fault"], found.confidence) == ("Loopback", 0.8)
    assert "loopback" in found.cause
    assert words in found.cause


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("listening on 0.0.0.0:8080, admin listening on 127.0.0.1:8081", {}),
        ("listening on 127.0.0.1:8080\nlistening on 0.0.0.0:8080", {}),
        ("admin listening on 127.0.0.1:8081", {}),
        ("connecting to cache at 127.0.0.1:6379", {}),
        ("", {"command": ["serve", "--upstream", "127.0.0.1"]}),
        ("", {"command": ["serve", "--host", "0.0.0.0"]}),
        ("", {"env": [{"name": "DB_HOST"}]}),
    ],
)
def test_what_says_something_else_is_no_loopback(text: str, spec: dict[str, Any]) -> None:
    assert look(text, **spec).parameters["fault"] != "Loopback"


def test_an_answer_from_the_port_or_a_probe_of_loopback_itself_speaks_against_it() -> None:
    said = "listening on 127.0.0.1:8080"
    assert look(said, make.served(8080)).parameters["fault"] != "Loopback"
    assert look(said, at="127.0.0.1:8080").parameters["fault"] != "Loopback"


def test_a_liveness_probe_that_kills_it_is_no_slow_start() -> None:
    assert (
        look("starting\nlistening on 127.0.0.1:8080", probe="livenessProbe").parameters["fault"]
        == "Loopback"
    )
