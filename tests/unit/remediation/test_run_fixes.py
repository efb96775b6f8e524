"""Fixes of how a container runs: heap, start, probe, references, requests, slips and reverts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from tests.unit.diagnosis import evidence_factory as make
from tests.unit.diagnosis.test_references import config_map
from tests.unit.remediation import fix_factory as repo
from tests.unit.remediation.test_propose import accepted, refusal

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis.evidence import Finding, Item, ItemKind

Java = IncidentClass.JAVA_OUT_OF_MEMORY
CRASH = IncidentClass.CRASH_LOOP_BACK_OFF
ENV = '        - {name: A, value: "1"}\n'


def with_env(*entries: str, text: str = repo.TEXT) -> str:
    return text.replace(ENV, ENV + "".join(f"        - {entry}\n" for entry in entries))


def with_limit(memory: str | None, text: str = repo.TEXT) -> str:
    if memory is None:
        return text.replace("            memory: 64Mi\n", "")
    return text.replace("memory: 64Mi", f"memory: {memory}")


def lines(found: Finding, *items: Item, text: str = repo.TEXT, **guards: Any) -> list[str]:
    proposal = repo.fix(found, *items, text=text, **guards)[0]
    return [line[0] + line[1:].strip() for line in repo.changed_lines(accepted(proposal, text).diff)]


def heap(**parameters: Any) -> Finding:
    return repo.finding(Java, **{"fault": "Heap", "signature": "java.lang.OutOfMemoryError: Java heap space", "limit": "64Mi", **parameters})


@pytest.mark.parametrize(
    ("flag", "limit", "expected"),
    [
        ("-Xmx64m", "512Mi", ["-Xmx384m"]),
        ("-Xmx64M", "512Mi", ["-Xmx384M"]),
        ("-Xmx1g", "4Gi", ["-Xmx3g"]),
        ("-Xmx65536k", "512Mi", ["-Xmx393216k"]),
        ("-Xmx67108864", "512Mi", ["-Xmx384m"]),
        ("-Xmx300m", "512Mi", ["memory: 1Gi", "-Xmx768m"]),
        ("-Xmx100m", None, ["-Xmx200m"]),
        ("-XX:MaxRAMPercentage=25.0", "512Mi", ["-XX:MaxRAMPercentage=75.0"]),
        ("-XX:MaxRAMPercentage=80", "512Mi", ["memory: 1Gi"]),
    ],
)
def test_the_heap_gets_three_quarters_of_the_limit(flag: str, limit: str | None, expected: list[str]) -> None:
    text = with_env(f"{{name: JAVA_TOOL_OPTIONS, value: {flag} -server}}", text=with_limit(limit))
    added = [line for line in lines(heap(limit=limit), text=text) if line[0] == "+"]
    assert len(added) == len(expected)
    assert all(one in line for one, line in zip(expected, added, strict=True))


def test_without_a_flag_one_is_added_to_what_the_jvm_reads() -> None:
    assert lines(heap()) == ["+- name: JAVA_TOOL_OPTIONS", "+value: -XX:MaxRAMPercentage=75.0"]
    text = with_env("{name: JAVA_TOOL_OPTIONS, value: -Dx=1}")
    assert lines(heap(), text=text)[1] == "+- {name: JAVA_TOOL_OPTIONS, value: -Dx=1 -XX:MaxRAMPercentage=75.0}"
    assert refusal(repo.fix, heap(limit=None), text=with_limit(None)) == "NoSafeFix"


def test_a_heap_at_the_cap_is_for_a_person() -> None:
    text = with_env("{name: JAVA_OPTS, value: -Xmx400m}", text=with_limit("512Mi"))
    assert refusal(repo.fix, heap(limit="512Mi"), text=text, max_memory="512Mi") == "CapReached"
    assert refusal(repo.fix, heap(limit=None), text=with_env("{name: J, value: -Xmx4g}", text=with_limit(None))) == "CapReached"
    assert refusal(repo.fix, heap(limit=None), text=with_env("{name: J, value: -XX:MaxRAMPercentage=80}", text=with_limit(None))) == "NoSafeFix"
    near = with_env("{name: J, value: -Xmx500m}", text=with_limit("512Mi"))
    assert refusal(repo.fix, heap(limit="512Mi"), text=near, max_memory="600Mi") == "CapReached"


@pytest.mark.parametrize(
    ("kind", "flag", "new"),
    [
        ("Metaspace", "-XX:MaxMetaspaceSize=64m", "-XX:MaxMetaspaceSize=128m"),
        ("Direct buffer memory", "-XX:MaxDirectMemorySize=16M", "-XX:MaxDirectMemorySize=64M"),
    ],
)
def test_another_pool_of_the_jvm_is_raised_by_its_own_flag(kind: str, flag: str, new: str) -> None:
    found = heap(fault="NotHeap", signature=f"java.lang.OutOfMemoryError: {kind}")
    assert new in lines(found, text=with_env(f"{{name: J, value: {flag}}}"))[1]
    assert refusal(repo.fix, found) == "NoSafeFix"
    threads = heap(fault="NotHeap", signature="java.lang.OutOfMemoryError: unable to create native thread")
    assert refusal(repo.fix, threads, text=with_env(f"{{name: J, value: {flag}}}")) == "NoSafeFix"


def test_a_request_that_equals_the_limit_goes_with_the_heap() -> None:
    text = with_env("{name: J, value: -Xmx60m}").replace("requests: {memory: 32Mi}", "requests: {memory: 64Mi}")
    assert [line for line in lines(heap(), text=text) if "memory" in line and line[0] == "+"] == ["+memory: 160Mi", "+requests: {memory: 160Mi}"]


def test_a_leak_is_not_fed() -> None:
    found = repo.finding(IncidentClass.OOM_KILLED, limit="64Mi", leak=True)
    assert refusal(repo.fix, found) == "Leak"


def test_a_limit_below_the_heap_is_raised_to_hold_it() -> None:
    found = repo.finding(IncidentClass.OOM_KILLED, limit="64Mi", heap=300 * 2**20)
    assert lines(found) == ["-memory: 64Mi", "+memory: 400Mi"]
    assert "room for its heap flag of 300Mi" in repo.fix(found)[0].arithmetic


LIVE = "        livenessProbe: {tcpSocket: {port: 8080}, periodSeconds: 5, timeoutSeconds: 2}\n        readinessProbe:"


def slow(**parameters: Any) -> Finding:
    return repo.finding(CRASH, **{"fault": "SlowStart", "probe": "livenessProbe", "allowed": 15.0, **parameters})


def test_a_slow_start_gets_a_startup_probe() -> None:
    text = repo.TEXT.replace("        readinessProbe:", LIVE)
    assert lines(slow(), text=text) == ["+startupProbe:", "+tcpSocket:", "+port: 8080", "+periodSeconds: 5", "+failureThreshold: 60", "+timeoutSeconds: 2"]
    assert refusal(repo.fix, slow()) == "Drifted"


def test_a_startup_probe_gets_more_patience_within_bounds() -> None:
    text = repo.TEXT.replace("        readinessProbe:", "        startupProbe: {tcpSocket: {port: 8080}, failureThreshold: 6}\n        readinessProbe:")
    assert "failureThreshold: 60" in lines(slow(probe="startupProbe", allowed=60.0), text=text)[1]
    assert refusal(repo.fix, slow(), text=text) == "NoSafeFix"
    patient = text.replace("failureThreshold: 6}", "failureThreshold: 90}")
    assert refusal(repo.fix, slow(probe="startupProbe", allowed=900.0), text=patient) == "CapReached"


def probing(**parameters: Any) -> Finding:
    return repo.finding(IncidentClass.FAILED_HEALTH_CHECK, probe="readinessProbe", **parameters)


def test_a_probe_waits_as_long_as_the_answer_takes_and_no_longer_than_30_s() -> None:
    assert lines(probing(fault="Timing", timeout=1.0, seconds=2.4)) == ["+timeoutSeconds: 5"]
    assert lines(probing(fault="Timing", timeout=1.0)) == ["+timeoutSeconds: 5"]
    assert lines(probing(fault="Timing", timeout=1.0, seconds=40)) == ["+timeoutSeconds: 30"]
    assert refusal(repo.fix, probing(fault="Timing", timeout=30.0, seconds=20)) == "NeedsPerson"
    other = repo.finding(IncidentClass.FAILED_HEALTH_CHECK, probe="livenessProbe", fault="Timing", timeout=1.0)
    assert refusal(repo.fix, other) == "Drifted"


def test_a_word_of_a_probes_command_that_the_source_lacks_changes_nothing() -> None:
    assert refusal(repo.fix, probing(fault="Command", old="/tmp/redy", new="/tmp/ready")) == "NeedsPerson"
    text = repo.TEXT.replace("          httpGet:\n            path: /healthz\n            port: 8081\n", "          exec: {command: [cat, /tmp/redy]}\n")
    found = repo.fix(probing(fault="Command", old="/tmp/redy", new="/tmp/ready"), text=text)
    assert repo.changed_lines(found[0].diff)[1].endswith("[cat, /tmp/ready]}")


def missing(kind: str, name: str, key: str | None = None, near: str | None = None) -> Finding:
    return repo.finding(IncidentClass.MISSING_REFERENCE, object=name, missing=[{"kind": kind, "name": name, "key": key, "near": near}])


REFERENCES = with_env(
    "{name: B, valueFrom: {secretKeyRef: {name: login, key: pass}}}", "{name: C, valueFrom: {configMapKeyRef: {name: conf, key: a, optional: true}}}",
    "{name: D, valueFrom: {configMapKeyRef: {name: conf, key: b}}}",
    text=repo.TEXT.replace("      initContainers:", "      volumes: [{name: h, configMap: {name: held, items: [{key: y, path: y}]}}]\n      initContainers:"),
)  # fmt: skip


def declared(kind: str, name: str, body: str, space: str = "shop") -> Mapping[str, bytes]:
    text = f"apiVersion: v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {space}}}\n{body}\n"
    return {f"{repo.PATH}/{kind}-{name}-{space}.yaml".lower(): text.encode()}


@pytest.mark.parametrize(
    ("found", "declares", "new"),
    [
        (missing("Secret", "login", near="logins"), {}, "secretKeyRef: {name: logins, key: pass}"),
        (missing("Secret", "login"), declared("SealedSecret", "logins", "spec: {encryptedData: {x: y}}"), "secretKeyRef: {name: logins, key: pass}"),
        (missing("Secret", "login", "pass"), declared("Secret", "login", "stringData: {passw: x}"), "secretKeyRef: {name: login, key: passw}"),
        (missing("Secret", "login", "pass"), declared("ExternalSecret", "login", "spec: {data: [{secretKey: passw}]}"), "secretKeyRef: {name: login, key: passw}"),
        (missing("ConfigMap", "conf", "b", near="bb"), {}, "configMapKeyRef: {name: conf, key: bb}"),
    ],
)
def test_a_reference_is_corrected_to_the_one_name_that_is_meant(found: Finding, declares: Mapping[str, bytes], new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repo, "FILES", {**repo.FILES, **declares})
    changed = lines(found, text=REFERENCES)
    assert len(changed) == 2
    assert new in changed[1]


@pytest.mark.parametrize(
    ("found", "declares"),
    [
        (missing("Secret", "login", "pass"), declared("Secret", "login", "stringData: {passw: x}", space="other")),
        (missing("Secret", "login", "pass"), declared("Secret", "other", "stringData: {passw: x}")),
        (missing("ConfigMap", "elsewhere", near="else-where"), {}),
        (missing("ConfigMap", "conf", "z", near="zz"), {}),
        (missing("ConfigMap", "held", "z", near="zz"), {}),
        (missing("ServiceAccount", "runer", near="runner"), {}),
        (missing("PriorityClass", "business-critical"), {}),
        (missing("RuntimeClass", "gvisor"), declared("ConfigMap", "gvisor", "data: {x: y}")),
    ],
)
def test_a_reference_that_is_unclear_is_for_a_person(found: Finding, declares: Mapping[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repo, "FILES", {**repo.FILES, **declares})
    assert refusal(repo.fix, found, text=REFERENCES) == "NeedsPerson"


def test_an_optional_reference_is_left_alone() -> None:
    assert refusal(repo.fix, missing("ConfigMap", "conf", "a", near="aa"), text=REFERENCES) == "NeedsPerson"


def short(**parameters: Any) -> Finding:
    return repo.finding(IncidentClass.INSUFFICIENT_MEMORY, **parameters)


def test_memory_is_stated_from_use_then_from_what_is_stated() -> None:
    bare = repo.TEXT.replace("            memory: 64Mi\n", "").replace("requests: {memory: 32Mi}", "requests: {cpu: 10m}")
    wanted = short(fault="Unstated", missing=["limits.memory"], containers=["app"])
    assert lines(wanted, make.counters(workingSetBytes=50 * 2**20), text=bare) == ["+memory: 100Mi"]
    assert lines(wanted, text=bare) == ["+memory: 128Mi"]
    assert "setup" in repo.fix(short(fault="Unstated", missing=["requests.memory"]))[0].arithmetic
    assert refusal(repo.fix, wanted) == "NeedsPerson"
    assert refusal(repo.fix, short(fault="BelowMinimum", minimum="1Mi")) == "NeedsPerson"


def test_an_evicted_container_gets_what_it_was_seen_to_use() -> None:
    message = "The node was low on resource: memory. Container app was using 51200Ki, request is 0."
    evicted = make.pod(statuses=[], phase="Failed", message=message)
    bare = repo.TEXT.replace("            memory: 64Mi\n", "").replace("          requests: {memory: 32Mi}\n", "")
    assert lines(short(fault="Evicted"), evicted, text=bare) == ["+memory: 100Mi", "+requests:", "+memory: 50Mi"]
    assert refusal(repo.fix, short(fault="Evicted"), text=bare) == "NeedsPerson"
    assert refusal(repo.fix, short(fault="Evicted"), evicted) == "NeedsPerson", "both are stated"


def crash(fault: str, what: str | None = None, container: str | None = "app", **more: Any) -> Finding:
    return repo.finding(CRASH, container=container, fault=fault, what=what, **more)


def test_a_missing_variable_is_taken_from_the_one_config_map_that_has_it() -> None:
    assert lines(crash("MissingVariable", "URL"), config_map("conf", "URL"))[:1] == ["+- name: URL"]
    assert refusal(repo.fix, crash("MissingVariable", "URL"), config_map("a", "URL"), config_map("b", "URL")) == "NeedsPerson"
    assert refusal(repo.fix, crash("MissingVariable")) == "NeedsPerson"


def test_a_finding_without_a_container_has_no_slip() -> None:
    assert refusal(repo.fix, crash("MissingVariable", "URL", container=None), config_map("conf", "URL")) == "NeedsPerson"


def test_a_word_that_the_source_does_not_hold_is_for_a_person() -> None:
    assert refusal(repo.fix, crash("BadCommand", "pyhton3")) == "NeedsPerson"
    assert refusal(repo.fix, crash("MissingFile", "/etc/conf/app.yml"), config_map("conf", "app.yaml")) == "NeedsPerson"


MOUNTED = repo.TEXT.replace(
    "        env:", '        args: ["--config=/etc/conf/app.yml", "-v", 5]\n        volumeMounts: [{name: d, mountPath: /etc/other}, {name: c, mountPath: /etc/conf/}, {name: s, mountPath: /etc/conf, subPath: x}]\n        env:'
).replace("      initContainers:", "      volumes: [{name: d, configMap: {name: conf}}, {name: c, configMap: {name: conf}}, {name: s, emptyDir: {}}, {name: e, emptyDir: {}}]\n      initContainers:")


def test_a_file_is_corrected_to_the_one_that_is_mounted_there() -> None:
    found = crash("MissingFile", "/etc/conf/app.yml")
    assert '"--config=/etc/conf/app.yaml"' in lines(found, config_map("conf", "app.yaml", "other.txt"), text=MOUNTED)[1]
    items = MOUNTED.replace("{name: c, configMap: {name: conf}", "{name: c, configMap: {name: conf, items: [{key: k, path: app.yaml}]}")
    assert '"--config=/etc/conf/app.yaml"' in lines(found, text=items)[1]


PORTS = repo.TEXT.replace("        env:\n", '        args: ["--port", "80"]\n        env:\n').replace(
    "      initContainers:", "      - name: web\n        image: nginx:1.27\n        ports: [{containerPort: 80}, {containerPort: 81}]\n      initContainers:"
)


def test_a_taken_port_moves_to_the_next_free_one() -> None:
    assert lines(crash("PortTaken", "80"), text=PORTS) == ['-args: ["--port", "80"]', '+args: ["--port", "82"]']
    assert refusal(repo.fix, crash("PortTaken", "80")) == "NeedsPerson", "nobody declares it"
    probed = PORTS.replace("            port: 8081", "            port: 80")
    assert refusal(repo.fix, crash("PortTaken", "80"), text=probed) == "NeedsPerson", "its own probe asks it"
    assert refusal(repo.fix, crash("PortTaken"), text=PORTS) == "NeedsPerson"


def change(path: list[str], before: Any, after: Any, container: str | None = "app") -> dict[str, Any]:
    return {"container": container, "path": path, "before": before, "after": after}


def broken(*changes: dict[str, Any], **more: Any) -> Finding:
    return crash("Exit", changed=list(changes), revertable=True, **more)


def test_what_changed_is_taken_back() -> None:
    image = broken(change(["image"], "nginx:1.27", "nginx:9.9"))
    assert lines(image)[1].startswith('+image: "nginx:1.27"')
    probe = broken(change(["readinessProbe"], {"httpGet": {"path": "/healthz", "port": 8080}}, {"httpGet": {"path": "/healthz", "port": 8081}}))
    assert lines(probe) == ["-port: 8081", "+port: 8080"]
    both = broken(change(["env", "A"], {"name": "A", "value": "0"}, {"name": "A", "value": "1"}), change(["env", "B"], {"name": "B", "value": "2"}, None), change(["env", "X"], None, {"name": "X"}))
    assert [line[0] for line in lines(both)] == ["-", "+", "+", "+"]


def test_what_the_failure_names_is_taken_back_first() -> None:
    found = repo.fix(broken(change(["env", "A"], {"name": "A", "value": "0"}, {"name": "A", "value": "1"}), change(["image"], "nginx:1.27", "nginx:9.9"), line="nginx:9.9 has no such module"))
    assert [len(proposal.edits) for proposal in found] == [1, 2]
    assert found[0].edits[0].new == "nginx:1.27"


@pytest.mark.parametrize(
    "changed",
    [
        change(["image"], "nginx", "nginx:9.9"),
        change(["args"], None, ["--fast"]),
        change(["env", "PASSWORD"], {"name": "PASSWORD", "value": "***"}, None),
        change(["env", "X"], None, {"name": "X"}),
        change(["image"], "nginx:9.9", "nginx:9.8"),
    ],
)
def test_what_cannot_be_taken_back_by_an_edit_is_for_a_person(changed: dict[str, Any]) -> None:
    assert refusal(repo.fix, broken(changed)) == "NeedsPerson"


def test_a_change_of_the_pod_is_taken_back_where_it_stands() -> None:
    text = repo.TEXT.replace("      initContainers:", "      terminationGracePeriodSeconds: 1\n      initContainers:")
    found = repo.fix(broken(change(["terminationGracePeriodSeconds"], 30, 1, container=None)), text=text)
    assert repo.changed_lines(found[0].diff)[1].strip("+ ") == "terminationGracePeriodSeconds: 30"


def test_the_evidence_of_services_names_hosts() -> None:
    service = Item(id="service/db", kind=ItemKind.SERVICE, value={"metadata": {"name": "database"}})
    text = with_env("{name: URL, value: 'postgres://databse.shop.svc:5432/x'}")
    assert "postgres://database.shop.svc:5432/x" in lines(crash("UnknownHost", "databse.shop.svc"), service, text=text)[1]
    assert refusal(repo.fix, crash("UnknownHost", "cache"), service, text=text) == "NeedsPerson"
    assert "database.shop.svc" in lines(crash("Waits", "databse.shop.svc"), service, text=text)[1]
