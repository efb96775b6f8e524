from __future__ import annotations

from typing import Any

import pytest
from tests.unit.diagnosis import evidence_factory as make

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import registry
from selfheal.diagnosis.evidence import Finding, Item

REFUSED = 'Readiness probe failed: Get "http://10.244.0.5:{0}/healthz": dial tcp 10.244.0.5:{0}: connect: connection refused'
MISSING = "Readiness probe failed: HTTP probe failed with statuscode: 404"


def http(port: Any = 8081, path: str = "/healthz", scheme: str = "HTTP", **more: Any) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": port, "scheme": scheme}, "periodSeconds": 2, **more}


def ports(*numbers: int, **named: int) -> list[dict[str, Any]]:
    return [{"containerPort": number} for number in numbers] + [
        {"name": name, "containerPort": number} for name, number in named.items()
    ]


def diagnose(container: dict[str, Any], *items: Item, status: dict[str, Any] | None = None) -> list[Finding]:
    pod = make.pod(containers=[container], statuses=[status or make.status()])
    return list(registry.diagnose(make.bundle(pod, *items)))


def only(container: dict[str, Any], *items: Item, **fields: Any) -> Finding:
    (found,) = diagnose(container, *items, **fields)
    assert found.class_ is IncidentClass.FAILED_HEALTH_CHECK
    assert set(found.evidence) <= {"pod/web-1", *(item.id for item in items)}
    return found


def test_a_refused_port_is_corrected_to_the_one_declared() -> None:
    event = make.event("Unhealthy", REFUSED.format(8081))
    found = only(make.container(readinessProbe=http(), ports=ports(8080)), event)
    assert found.confidence == 0.8
    assert found.parameters == {
        "fault": "Port", "probes": ["readinessProbe"], "handler": "httpGet", "field": "port", "old": 8081, "new": 8080,
    }  # fmt: skip
    assert found.evidence == (event.id, "pod/web-1")


def test_what_answers_goes_before_what_is_declared() -> None:
    container = make.container(readinessProbe=http(), ports=ports(8080))
    event = make.event("Unhealthy", REFUSED.format(8081))
    found = only(container, event, make.served(9000), make.served(8081, error="connection refused"))
    assert (found.parameters["new"], found.confidence) == (9000, 0.95)
    both = only(container, event, make.served(8081, error="connection refused", listening=(8080, 9000)))
    assert (both.parameters["new"], both.confidence) == (8080, 0.95)


@pytest.mark.parametrize(
    ("line", "declared", "new", "confidence"),
    [
        ("INFO: Uvicorn running on http://0.0.0.0:8000", (), 8000, 0.8),
        ("2026-11-23T05:59:47 listening on port 8080", (8080, 9090), 8080, 0.9),
        ("05:59:47 starting", (9090,), 9090, 0.8),
        ("Serving HTTP on 0.0.0.0 port 8000, admin listening on :8001", (), None, 0.6),
        ("server started at 12:34:56, port: 99999", (), None, 0.6),
    ],
)
def test_the_log_says_where_it_listens(line: str, declared: tuple[int, ...], new: int | None, confidence: float) -> None:
    found = only(make.container(readinessProbe=http(), ports=ports(*declared)), make.event("Unhealthy", REFUSED.format(8081)), make.log(line, previous=False))
    assert (found.parameters.get("new"), found.confidence) == (new, confidence)


def test_the_port_of_the_revision_before_is_right() -> None:
    history = [make.replica_set(2, []), make.replica_set(1, [make.container("other"), make.container(readinessProbe=http(8080))])]
    found = only(make.container(readinessProbe=http()), make.event("Unhealthy", REFUSED.format(8081)), *history)
    assert (found.parameters["new"], found.confidence) == (8080, 0.8)
    assert "replicaset/web-r1" in found.evidence


def test_history_with_the_same_port_or_a_named_one_says_nothing() -> None:
    history = [
        make.replica_set(3, []),
        make.replica_set(2, [make.container(image="a:1", readinessProbe=http())]),
        make.replica_set(1, [make.container(image="a:1", readinessProbe=http("web"))]),
    ]
    found = only(make.container(readinessProbe=http()), make.event("Unhealthy", REFUSED.format(8081)), *history)
    assert found.parameters == {"fault": "NotListening"}


def test_both_probes_with_the_same_slip_are_one_finding() -> None:
    container = make.container(readinessProbe=http(), livenessProbe=http(), ports=ports(8080))
    status = make.status(restarts=1)
    live = make.event("Unhealthy", REFUSED.format(8081).replace("Readiness", "Liveness"))
    found = only(container, make.event("Unhealthy", REFUSED.format(8081)), live, status=status)
    assert found.parameters["probes"] == ["livenessProbe", "readinessProbe"]


def test_ports_of_other_containers_are_not_this_ones() -> None:
    mine, other = make.container(readinessProbe=http()), make.container("proxy", ports=ports(15000))
    pod = make.pod(containers=[mine, other], statuses=[make.status(), make.status("proxy", ready=True)])
    event = make.event("Unhealthy", REFUSED.format(8081))
    seen = make.served(8081, code=None, error="connection refused", listening=(9000, 15000))
    (found,) = registry.diagnose(make.bundle(pod, event, seen))
    assert found.parameters["new"] == 9000


def test_a_named_port_stays_a_name() -> None:
    container = make.container(readinessProbe=http("admin"), ports=ports(web=8080, admin=8081))
    found = only(container, make.event("Unhealthy", REFUSED.format(8081)))
    assert (found.parameters["old"], found.parameters["new"]) == ("admin", "web")


def test_a_named_port_becomes_a_number_when_nothing_has_that_name() -> None:
    container = make.container(readinessProbe=http("admin"), ports=[*ports(admin=8081), *ports(7000)])
    found = only(container, make.event("Unhealthy", REFUSED.format(8081)), make.served(8080))
    assert found.parameters["new"] == 8080
    assert only(container, make.event("Unhealthy", REFUSED.format(8081))).parameters["new"] == 7000


def test_an_unknown_port_name_is_corrected_to_the_declared_one() -> None:
    event = make.event("Unhealthy", 'Readiness probe errored: strconv.Atoi: parsing "htp": invalid syntax')
    one = only(make.container(readinessProbe=http("htp"), ports=ports(web=8080)), event)
    similar = only(make.container(readinessProbe=http("htp"), ports=ports(http=8080, metrics=9090)), event)
    number = only(make.container(readinessProbe=http("htp"), ports=ports(8080)), event)
    assert [found.parameters["new"] for found in (one, similar, number)] == ["web", "http", 8080]


def test_a_number_in_quotes_is_a_number() -> None:
    found = only(make.container(readinessProbe=http("8081"), ports=ports(8080)), make.event("Unhealthy", REFUSED.format(8081)))
    assert (found.parameters["old"], found.parameters["new"]) == (8081, 8080)


def test_a_tcp_probe_is_corrected_alike() -> None:
    container = make.container(readinessProbe={"tcpSocket": {"port": 9999}}, ports=ports(8080))
    found = only(container, make.event("Unhealthy", "Readiness probe failed: dial tcp 10.244.0.5:9999: connect: connection refused"))
    assert (found.parameters["handler"], found.parameters["new"]) == ("tcpSocket", 8080)


def test_a_port_that_the_container_will_serve_is_not_corrected() -> None:
    container = make.container(readinessProbe=http(8080), ports=ports(8080, 9090))
    event = make.event("Unhealthy", REFUSED.format(8080))
    for item in (make.served(8080), make.log("listening on :8080", previous=False)):
        assert only(container, event, item).parameters == {"fault": "NotListening"}


def test_liveness_that_kills_before_the_start_is_a_slow_start() -> None:
    container = make.container(livenessProbe=http(8080), ports=ports(8080))
    event = make.event("Unhealthy", REFUSED.format(8080).replace("Readiness", "Liveness"))
    killing = make.event("Killing", "Container app failed liveness probe, will be restarted")
    status = make.status(restarts=2, waiting="CrashLoopBackOff", last=make.ended(code=137))
    found = diagnose(container, event, killing, status=status)
    assert [(entry.class_, entry.parameters["fault"]) for entry in found] == [(IncidentClass.CRASH_LOOP_BACK_OFF, "SlowStart")]
    assert (found[0].confidence, found[0].evidence) == (0.8, (event.id, "pod/web-1", killing.id))
    unsure = diagnose({**container, "startupProbe": http(8080)}, event, killing, status=status)
    assert unsure[0].confidence == 0.6


def test_the_path_that_answers_is_right() -> None:
    container = make.container(readinessProbe=http(8080, "/healthzz"), ports=ports(8080))
    event = make.event("Unhealthy", MISSING)
    others = (make.served(8080, "/healthzz", code=404), make.served(9090, "/healthz"), make.served(8080, "/x", code=None, error="timeout"))
    similar = only(container, event, *others, make.served(8080, "/healthz"), make.served(8080, "/"))
    assert (similar.parameters["field"], similar.parameters["new"], similar.confidence) == ("path", "/healthz", 0.9)
    usual = only(container, event, make.served(8080, "/ping"), make.served(8080, "/ready"), make.served(8080, "/"))
    assert usual.parameters["new"] == "/ready"
    odd = only(container, event, make.served(8080, "/up"))
    assert odd.parameters["new"] == "/up"
    tie = only(container, event, make.served(8080, "/up"), make.served(8080, "/on"))
    assert (tie.parameters["new"], tie.confidence) == (None, 0.6)


def test_the_path_of_another_probe_or_revision_is_right() -> None:
    container = make.container(readinessProbe=http(8080, "/nope"), livenessProbe=http(8080, "/healthz"))
    event = make.event("Unhealthy", MISSING)
    alone = only(container, event)
    assert (alone.parameters["new"], alone.confidence) == ("/healthz", 0.8)
    agreed = only(container, event, make.served(8080, "/healthz"), make.served(8080, "/"))
    assert (agreed.parameters["new"], agreed.confidence) == ("/healthz", 0.95)
    differs = only(container, event, make.served(8080, "/"))
    assert (differs.parameters["new"], differs.confidence) == ("/", 0.9)
    history = [make.replica_set(2, []), make.replica_set(1, [make.container(readinessProbe=http(8080, "/old"))])]
    assert only(make.container(readinessProbe=http(8080, "/nope")), event, *history).parameters["new"] == "/old"


def test_a_failing_probe_is_no_model_for_another() -> None:
    container = make.container(readinessProbe=http(8080, "/a"), livenessProbe=http(8080, "/b"))
    live = make.event("Unhealthy", MISSING.replace("Readiness", "Liveness"))
    found = diagnose(container, make.event("Unhealthy", MISSING), live, status=make.status(restarts=1))
    assert [(entry.parameters["old"], entry.parameters["new"]) for entry in found] == [("/a", None), ("/b", None)]


def test_schemes_are_corrected() -> None:
    plain = make.event("Unhealthy", 'Readiness probe failed: Get "https://10.0.0.1:8080/": http: server gave HTTP response to HTTPS client')
    found = only(make.container(readinessProbe=http(8080, "/", "HTTPS")), plain)
    assert (found.parameters["old"], found.parameters["new"], found.confidence) == ("HTTPS", "HTTP", 0.95)
    bad = make.event("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 400")
    seen = make.served(8443, error="Client sent an HTTP request to an HTTPS server.")
    found = only(make.container(readinessProbe=http(8443)), bad, seen)
    assert (found.parameters["new"], found.confidence) == ("HTTPS", 0.8)
    assert seen.id in found.evidence


@pytest.mark.parametrize(
    ("probe", "message", "fault"),
    [
        (http(8080), "Readiness probe failed: HTTP probe failed with statuscode: 503", "Application"),
        (http(8080), "Readiness probe failed: context deadline exceeded (Client.Timeout exceeded while awaiting headers)", "Timing"),
        ({"exec": {"command": ["false"]}}, "Readiness probe failed: ", "Command"),
        ({"grpc": {"port": 9090}}, "Readiness probe failed: service unhealthy", "Unknown"),
    ],
)
def test_what_a_probe_edit_cannot_mend_is_named(probe: dict[str, Any], message: str, fault: str) -> None:
    found = only(make.container(readinessProbe=probe), make.event("Unhealthy", message))
    assert (found.parameters["fault"], found.confidence) == (fault, 0.6)


def test_a_changed_image_is_the_cause_of_an_unchanged_probe() -> None:
    probe = http(8080)
    old = make.pod("web-0", containers=[make.container(image="web:1", readinessProbe=probe)], statuses=[make.status(ready=True)], ready=True)
    event = make.event("Unhealthy", REFUSED.format(8080))
    found = only(make.container(image="web:2", readinessProbe=probe, ports=ports(9090)), event, old)
    assert (found.parameters["fault"], found.parameters["ran"], found.rank) == ("ImageChanged", ["web:1"], 40)
    same_image = make.pod("web-0", containers=[make.container(image="web:2", readinessProbe=probe, env=[])], statuses=[make.status(ready=True)], ready=True)
    found = only(make.container(image="web:2", readinessProbe=probe, ports=ports(9090)), event, same_image)
    assert found.parameters["fault"] == "Port"


def test_events_of_what_is_well_again_do_not_count() -> None:
    container = make.container(readinessProbe=http(), livenessProbe=http(), ports=ports(8080))
    live = make.event("Unhealthy", REFUSED.format(8081).replace("Readiness", "Liveness"))
    ready = make.status(ready=True)
    assert diagnose(container, make.event("Unhealthy", REFUSED.format(8081)), live, status=ready) == []
    assert diagnose(container, make.event("Unhealthy", "something else")) == []
    assert diagnose(container, make.event("Unhealthy", REFUSED.format(8081), "Pod/gone")) == []


def test_of_several_containers_the_port_tells_which() -> None:
    first = make.container("first", readinessProbe={"exec": {"command": ["true"]}})
    second = make.container("second", readinessProbe=http("web"), ports=ports(admin=7, web=8081))
    third = make.container("third", readinessProbe=http("9"), ports=ports(9))
    pod = make.pod(containers=[first, second, third], statuses=[make.status(name) for name in ("first", "second", "third")])
    found = registry.diagnose(make.bundle(pod, make.event("Unhealthy", REFUSED.format(8081))))
    assert found[0].container == "second"
    unclear = registry.diagnose(make.bundle(pod, make.event("Unhealthy", REFUSED.format(1234))))
    assert unclear[0].container == "first"
    number = registry.diagnose(make.bundle(pod, make.event("Unhealthy", MISSING)))
    assert number[0].container == "first"


def test_a_revision_without_the_probe_says_nothing_about_it() -> None:
    history = [make.replica_set(2, []), make.replica_set(1, [make.container(ports=ports(7))])]
    found = only(make.container(readinessProbe=http()), make.event("Unhealthy", REFUSED.format(8081)), *history)
    assert found.parameters == {"fault": "NotListening"}


def test_a_page_that_wants_a_login_is_asked_elsewhere_only_where_another_answers() -> None:
    container = make.container(readinessProbe=http(8080, "/admin"), ports=ports(8080))
    event = make.event("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 401")
    assert only(container, event).parameters["fault"] == "Application"
    found = only(container, event, make.served(8080, "/admin", code=401), make.served(8080, "/healthz"))
    assert (found.parameters["field"], found.parameters["new"]) == ("path", "/healthz")


def test_a_container_that_just_began_may_not_listen_yet() -> None:
    container = make.container(readinessProbe=http(8080), ports=ports(8080))
    status = make.status()
    status["state"] = {"running": {"startedAt": make.stamp(5)}}
    found = diagnose(container, make.event("Unhealthy", REFUSED.format(8080)), status=status)
    assert [one.confidence for one in found] == [0.5]


def test_the_newest_failure_counts_not_the_first_ones_of_the_start() -> None:
    container = make.container(readinessProbe=http(8080), ports=ports(8080))
    begun, now = make.event("Unhealthy", REFUSED.format(8080)), make.event("Unhealthy", "Readiness probe failed: context deadline exceeded")
    begun.value["at"] = make.stamp(100)
    assert only(container, begun, now).parameters["fault"] == "Timing"
