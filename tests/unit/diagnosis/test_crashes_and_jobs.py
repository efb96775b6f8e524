from __future__ import annotations

from typing import Any

import pytest
from tests.unit.diagnosis import evidence_factory as make

from selfheal.api.classes import IncidentClass
from selfheal.api.incident import TargetRef
from selfheal.diagnosis import history, names, registry
from selfheal.diagnosis.evidence import Bundle, Finding, Item, ItemKind
from selfheal.diagnosis.reading import Reading


def crash(code: int, text: str = "", *, restarts: int = 3, spec: dict[str, Any] | None = None, **fields: Any) -> Finding:
    last = make.ended("Completed" if code == 0 else "Error", code)
    status = make.status(restarts=restarts, waiting="CrashLoopBackOff", last=last, **fields)
    items = [make.log(text)] if text else []
    (found,) = registry.diagnose(make.bundle(make.pod(containers=[make.container(**(spec or {}))], statuses=[status]), *items))
    return found


@pytest.mark.parametrize(
    ("code", "class_", "fault", "words", "confidence"),
    [
        (139, IncidentClass.HIGH_RESTART_COUNT, "Signal", "SIGSEGV (signal 11)", 0.8),
        (127, IncidentClass.CRASH_LOOP_BACK_OFF, "MissingCommand", "127", 0.8),
        (126, IncidentClass.CRASH_LOOP_BACK_OFF, "NotExecutable", "126", 0.6),
        (0, IncidentClass.CRASH_LOOP_BACK_OFF, "Completed", "comes to an end", 0.6),
        (9, IncidentClass.CRASH_LOOP_BACK_OFF, "Exit", "nothing known", 0.6),
    ],
)
def test_an_exit_code_speaks_where_the_log_does_not(code: int, class_: IncidentClass, fault: str, words: str, confidence: float) -> None:
    found = crash(code)
    assert (found.class_, found.parameters["fault"], found.confidence) == (class_, fault, confidence)
    assert words in found.cause


def test_the_last_line_is_quoted_where_nothing_explains_it() -> None:
    found = crash(3, "starting\nunknown mode\n\n")
    assert found.parameters["line"] == "unknown mode"
    assert 'the last it said: "unknown mode"' in found.cause
    assert crash(3, "\n\n").parameters["line"] == ""


def test_a_port_is_named_from_what_the_other_container_declares() -> None:
    taken = "OSError: [Errno 98] Address already in use"

    def found(command: list[str], others: list[dict[str, Any]]) -> str | None:
        status = make.status("admin", restarts=3, waiting="CrashLoopBackOff", last=make.ended())
        web = make.container("web", ports=others)
        pod = make.pod(containers=[make.container("admin", command=command), web], statuses=[status, make.status("web", ready=True)])
        return registry.diagnose(make.bundle(pod, make.log(taken, name="admin")))[0].parameters.get("what")

    assert found(["serve", "--port=8080"], [{"containerPort": 8080}, {"containerPort": 9090}]) == "8080"
    assert found(["serve", "8081"], []) == "8081"
    assert found(["serve", "8081", "9091"], []) is None


def test_flapping_counts_only_while_it_is_recent() -> None:
    def look(restarts: int, ago: float) -> Bundle:
        status = make.status(ready=True, restarts=restarts, last=make.ended(ago=ago))
        return make.bundle(make.pod(statuses=[status], ready=True), make.log("ValueError: no"))

    assert [one.class_ for one in registry.diagnose(look(2, 60))] == [IncidentClass.HIGH_RESTART_COUNT]
    assert registry.diagnose(look(2, 6000)) == []
    assert [one.parameters["fault"] for one in registry.diagnose(look(5, 6000))] == ["Application"]


def test_a_kill_by_a_probe_is_no_crash_even_without_the_kubelets_word() -> None:
    probe = {"livenessProbe": {"tcpSocket": {"port": 8080}}}
    status = make.status(restarts=2, waiting="CrashLoopBackOff", last=make.ended(code=137))
    pod = make.pod(containers=[make.container(**probe, ports=[{"containerPort": 8080}])], statuses=[status])
    unhealthy = make.event("Unhealthy", "Liveness probe failed: dial tcp 10.0.0.1:8080: connect: connection refused")
    assert [one.parameters["fault"] for one in registry.diagnose(make.bundle(pod, unhealthy))] == ["SlowStart"]
    silent = registry.diagnose(make.bundle(pod))
    assert [one.parameters["fault"] for one in silent] == ["Exit"]


def test_a_probe_of_a_container_that_ends_by_itself_is_no_cause() -> None:
    probe = {"readinessProbe": {"httpGet": {"path": "/", "port": 8080}}}
    status = make.status(restarts=2, last=make.ended(ago=30))
    pod = make.pod(containers=[make.container(**probe)], statuses=[status])
    unhealthy = make.event("Unhealthy", "Readiness probe failed: dial tcp 10.0.0.1:8080: connect: connection refused")
    found = registry.diagnose(make.bundle(pod, unhealthy, make.log("BUCKET is required")))
    assert [one.parameters["fault"] for one in found] == ["MissingVariable"]


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ('OCI runtime create failed: chdir to cwd ("/srv/app") set in config.json failed: no such file or directory', "WorkingDirectory"),
        ('exec: "/app/run.sh": permission denied', "NotExecutable"),
        ("something else entirely", "StartError"),
    ],
)
def test_why_a_container_is_not_started(message: str, fault: str) -> None:
    status = make.status(waiting="RunContainerError", message=message)
    (found,) = registry.diagnose(make.bundle(make.pod(statuses=[status])))
    assert (found.parameters["fault"], found.rank) == (fault, 22)


JOB = {"kind": "Job", "metadata": {"name": "sums"}, "spec": {"backoffLimit": 2, "activeDeadlineSeconds": 60}}


def job(kind: str, condition: str, reason: str = "", *items: Item) -> Bundle:
    value = {**JOB, "status": {"conditions": [{"type": condition, "status": "True", "reason": reason, "message": "too long"}]}}
    stored = Item(id="job", kind=ItemKind.OBJECT if kind == "Job" else ItemKind.OWNER, value=value)
    target = TargetRef(kind=kind, name="sums" if kind == "Job" else "nightly")
    return Bundle(target=target, namespace="shop", now=make.NOW, items=(stored, *items))


def test_a_job_that_is_done_is_well_whatever_its_first_pods_did() -> None:
    failed = make.pod(statuses=[make.status(terminated=make.ended())], phase="Failed")
    done = job("Job", "Complete", "", failed, make.log("boom", previous=False))
    assert registry.diagnose(done) == []
    assert not registry.is_failing(done)


def test_a_deadline_is_compared_with_earlier_runs() -> None:
    def run(name: str, **status: str) -> Item:
        return Item(id=f"job/{name}", kind=ItemKind.REPLICA_SET, value={"metadata": {"name": name}, "status": status})

    earlier = [run("a", startTime=make.stamp(500), completionTime=make.stamp(400)), run("b", startTime=make.stamp(300))]
    found = registry.diagnose(job("CronJob", "Failed", "DeadlineExceeded", *earlier))[0]
    assert "earlier runs needed up to 100 s" in found.cause
    assert (found.class_, found.evidence) == (IncidentClass.JOB_FAILED, ("job", "job/a"))


def test_a_job_that_still_runs_says_nothing() -> None:
    assert registry.diagnose(job("Job", "Suspended")) == []
    assert registry.diagnose(Bundle(target=TargetRef(kind="Job", name="x"), namespace="shop", now=make.NOW)) == []


def test_memory_explains_the_crash_and_the_failed_job() -> None:
    limits = {"resources": {"limits": {"memory": "64Mi"}}}
    killed = make.status(terminated=make.ended("OOMKilled", 137))
    pod = make.pod(containers=[make.container(**limits)], statuses=[killed], phase="Failed")
    found = registry.diagnose(job("Job", "Failed", "BackoffLimitExceeded", pod))
    assert [one.class_ for one in found] == [IncidentClass.OOM_KILLED]


def commit(name: str, ago: float) -> Item:
    value = {"sha": name * 8, "at": make.stamp(ago), "author": "a", "message": f"{name}\n\nmore"}
    return Item(id=f"commit/{name}", kind=ItemKind.COMMIT, value=value, at=make.NOW - make.dt.timedelta(seconds=ago))


def revisions(before: dict[str, Any], after: dict[str, Any]) -> list[Item]:
    found = [make.replica_set(1, [make.container(**before)], ready=1), make.replica_set(2, [make.container(**after)])]
    found[1].value["metadata"]["creationTimestamp"] = make.stamp(100)
    return found


def test_the_commit_and_the_change_before_it_broke_enter_the_cause() -> None:
    status = make.status(restarts=3, waiting="CrashLoopBackOff", last=make.ended())
    pod = make.pod(statuses=[status], owner="web-r2")
    before = {"command": ["run"], "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "S", "value": "s"}], "ports": [{"containerPort": 1}]}
    after = {"command": ["run", "--fast"], "env": [{"name": "A", "value": "3"}, {"name": "C", "value": "4"}, {"name": "S", "value": "s"}], "workingDir": "/srv", "args": ["x"]}
    items = [*revisions(before, after), commit("new", 50), commit("late", 110), commit("early", 900), commit("old", 90000)]
    (found,) = registry.diagnose(make.bundle(pod, make.log("what now"), *items))
    assert 'Since revision 2, commit latelate "late": command of app changed from run to run --fast' in found.cause
    assert "2 more" in found.cause
    assert {"replicaset/web-r1", "replicaset/web-r2", "commit/late"} <= set(found.evidence)
    assert [change["path"] for change in found.parameters["changed"]] == [
        ["command"], ["args"], ["workingDir"], ["env", "A"], ["env", "B"], ["env", "C"],
    ]  # fmt: skip
    assert found.parameters["revertable"] is True


def test_what_cannot_be_the_cause_is_left_out() -> None:
    reading = Reading(bundle=make.bundle(*revisions({"ports": []}, {"ports": [{"containerPort": 2}]})))
    finding = Finding(class_=IncidentClass.OOM_KILLED, cause="x", confidence=1, evidence=("a",), container="app")
    assert history.annotate(reading, finding) is finding
    past = history.read(reading)
    assert past is not None
    assert [change.name for change in past.touching("app", ("ports",))] == ["ports"]
    assert past.touching("other", ("ports",)) == ()
    gone = history.read(Reading(bundle=make.bundle(*revisions({"name": "app"}, {"name": "web"}))))
    assert gone is not None
    assert gone.changes == ()


def test_a_revision_whose_pods_are_all_unready_is_not_what_ran() -> None:
    items = [make.replica_set(1, [make.container(image="a:1")]), make.replica_set(2, [make.container(image="a:2")])]

    def past(*pods: Item) -> history.History | None:
        return history.read(Reading(bundle=make.bundle(*items, *pods)))

    gone, well = past(), past(make.pod("old", ready=True, owner="web-r1"), make.pod("other", owner="web-r1"))
    assert gone is not None
    assert well is not None
    assert (gone.ready, well.ready) == (False, True)
    assert past(make.pod("old", owner="web-r1")) is None


def test_pods_of_a_set_are_known_by_their_label() -> None:
    items = [make.replica_set(1, []), make.replica_set(2, [])]
    for number, item in enumerate(items, start=1):
        item.value["metadata"]["name"] = f"web-r{number}"
    renamed = [Item(id=f"controllerrevision/{item.value['metadata']['name']}", kind=item.kind, value=item.value) for item in items]
    old, new = make.pod("web-0", owner="web"), make.pod("web-1", owner="web")
    old.value["metadata"]["labels"] = {"controller-revision-hash": "r1"}
    new.value["metadata"]["labels"] = {"controller-revision-hash": "web-r2"}
    assert [pod.id for pod in Reading(bundle=make.bundle(*renamed, old, new)).pods] == ["pod/web-1"]
    assert [pod.id for pod in Reading(bundle=make.bundle(*renamed, old)).pods] == ["pod/web-0"], "none is of the newest yet"
    assert Reading(bundle=make.bundle(*items, old)).pods == (), "pods of an older ReplicaSet never count"


def test_names_are_near_part_by_part() -> None:
    assert names.only_near("db-prod", ["db-dev"]) is None
    assert names.only_near("app-v1", ["app-v2"]) is None
    assert names.only_near("appsettings", ["app-settings"]) == "app-settings"
    assert names.only_near("settings", ["settngs", "setings"]) is None, "a tie"
    assert names.only_near("databse", ["database", "cache"]) == "database"
    assert names.only_near("a-b-c", ["a-x"]) is None


@pytest.mark.parametrize(
    ("text", "ago", "fault", "what", "confidence"),
    [
        ("nslookup: can't resolve 'ledger-db'\n", 60, "UnknownHost", "ledger-db", 0.8),
        ("** server can't find it\nwaiting for ledger-db\n", 60, "Waits", "ledger-db", 0.6),
        ("broker not ready\n", 60, "Waits", None, 0.6),
        ("waiting for ledger-db\n", 10, None, None, 0.0),
        ("applying migration 7 of 40\n", 600, None, None, 0.0),
    ],
)
def test_an_init_container_that_waits_for_ever(text: str, ago: float, fault: str | None, what: str | None, confidence: float) -> None:
    running = make.status("setup")
    running["state"] = {"running": {"startedAt": make.stamp(ago)}}
    pods = [
        make.pod(name, statuses=[make.status(waiting="PodInitializing")], init=[make.container("setup")], init_statuses=[running], phase="Pending")
        for name in ("web-1", "web-2")
    ]
    logs = [make.log(text, previous=False, name="setup", of=name) for name in ("web-1", "web-2")]
    old = make.log("waiting for nobody", name="setup")
    found = registry.diagnose(make.bundle(*pods, old, *logs))
    assert [(one.parameters["fault"], one.parameters["what"], one.confidence, one.container) for one in found] == (
        [(fault, what, confidence, "setup")] if fault else []
    )


@pytest.mark.parametrize(
    ("lived", "code", "text", "fault"),
    [
        (10, 137, "loading model", "SlowStart"),
        (10, 0, "", "Unknown"),
        (2, 0, "", "Completed"),
        (10, 1, "", "Exit"),
    ],
)
def test_the_time_that_a_container_lived_tells_of_the_probe_before_its_events_do(lived: float, code: int, text: str, fault: str) -> None:
    probe = {"livenessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 3}}
    last = make.ended("Error" if code else "Completed", code, lived=lived)
    statuses = [make.status(restarts=3, waiting="CrashLoopBackOff", last=last)]
    pods = [make.pod(name, containers=[make.container(**probe)], statuses=statuses) for name in ("web-1", "web-2")]
    for pod in pods:
        pod.value["spec"]["terminationGracePeriodSeconds"] = 1
    found = registry.diagnose(make.bundle(*pods, *([make.log(text)] if text else [])))
    assert [one.parameters["fault"] for one in found] == [fault]
    assert found[0].evidence[0] == "pod/web-1"
    once = make.status(restarts=1, waiting="CrashLoopBackOff", last=last)
    pods[0].value["status"]["containerStatuses"] = [once]
    assert registry.diagnose(make.bundle(pods[0]))[0].parameters["fault"] in ("Exit", "Completed")


@pytest.mark.parametrize("state", [{"waiting": "CrashLoopBackOff"}, {}, {"ready": True}])
@pytest.mark.parametrize(("lived", "class_"), [(1, IncidentClass.CRASH_LOOP_BACK_OFF), (600, IncidentClass.HIGH_RESTART_COUNT)])
@pytest.mark.parametrize(("code", "text"), [(0, ""), (1, "dial tcp 10.0.0.1:5432: connect: connection refused")])
def test_the_class_of_a_crash_does_not_depend_on_the_moment(state: dict[str, Any], lived: float, class_: IncidentClass, code: int, text: str) -> None:
    last = make.ended("Error" if code else "Completed", code, lived=lived)
    pod = make.pod(statuses=[make.status(restarts=3, last=last, **state)])
    assert [one.class_ for one in registry.diagnose(make.bundle(pod, make.log(text)))] == [class_]


def test_a_crash_without_times_is_judged_by_what_is_seen_now() -> None:
    last = {"reason": "Error", "exitCode": 1}
    pods = [make.pod(statuses=[make.status(restarts=6, last=last, ready=ready)]) for ready in (True, False)]
    found = [registry.diagnose(make.bundle(pod))[0].class_ for pod in pods]
    assert found == [IncidentClass.HIGH_RESTART_COUNT, IncidentClass.CRASH_LOOP_BACK_OFF]


def test_what_ended_at_its_start_long_ago_and_works_since_is_a_high_count() -> None:
    pod = make.pod(statuses=[make.status(restarts=6, last=make.ended(ago=6000, lived=1), ready=True)], ready=True)
    assert [one.class_ for one in registry.diagnose(make.bundle(pod))] == [IncidentClass.HIGH_RESTART_COUNT]
