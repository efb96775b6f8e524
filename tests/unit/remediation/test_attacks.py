"""Edits that would make a symptom green, or that try to get round a guard: each is refused by name."""

from __future__ import annotations

import ast
import pathlib
from typing import Any

import pytest
from tests.unit.remediation import fix_factory as repo
from tests.unit.remediation.test_guards import LIMITS, PROBE, check, replaced

from selfheal.remediation import field_rules, guards, object_rules, run_rules

PORT = "            port: 8081\n"
DEPLOYMENT = f"{repo.PATH}/attack.yaml"

# fault: name of the reason, what the text is, what the tempting edit makes of it
TEMPTING: list[tuple[str, str, str]] = [
    # probes that answer whatever happens
    ("WeakensProbe", PROBE, ""),
    ("WeakensProbe", PROBE, "        readinessProbe: {}\n"),
    ("WeakensProbe", PROBE, "        readinessProbe: null\n"),
    ("WeakensProbe", "periodSeconds: 2", "periodSeconds: 2\n          initialDelaySeconds: 99999"),
    ("WeakensProbe", "periodSeconds: 2", "periodSeconds: 2\n          failureThreshold: 1000"),
    ("WeakensProbe", "periodSeconds: 2", "periodSeconds: 2\n          timeoutSeconds: 3600"),
    ("WeakensProbe", "periodSeconds: 2", "periodSeconds: 99999"),
    ("WeakensProbe", PORT, f"{PORT}            host: example.com\n"),
    ("WeakensProbe", f"          httpGet:\n            path: /healthz\n{PORT}", '          exec: {command: ["true"]}\n'),
    ("WeakensProbe", f"          httpGet:\n            path: /healthz\n{PORT}", "          exec: true\n"),
    # limits removed, moved, beyond the cap, written in another way
    ("RemovesLimit", LIMITS, ""),
    ("RemovesLimit", "          limits:\n", "          requested:\n"),
    ("RemovesLimit", LIMITS + "          requests: {memory: 32Mi}\n", "          requests: {memory: 64Mi, cpu: 0.5}\n"),
    ("CapExceeded", "64Mi", "0x200000000"),
    ("CapExceeded", "64Mi", "8589934592000m"),
    ("UnreadableQuantity", "64Mi", '"1e12"'),
    ("UnreadableQuantity", "64Mi", "1e+30"),
    ("UnreadableQuantity", "64Mi", ".inf"),
    ("UnreadableQuantity", "64Mi", "-1"),
    ("UnreadableQuantity", "64Mi", "\uff16\uff14Gi"),
    ("UnreadableQuantity", "64Mi", "{a: 1}"),
    ("CapExceeded", "cpu: 0.5", "cpu: 400000m"),
    # images
    ("LatestTag", "nginx:9.9", "nginx:latest"),
    ("LatestTag", "nginx:9.9", "nginx"),
    ("LatestTag", "nginx:9.9", "ngin\u0445:1.27"),
    # privileges
    ("WeakensSecurityContext", "      initContainers:", "      securityContext: {runAsUser: 0}\n      initContainers:"),
    ("WeakensSecurityContext", "      initContainers:", "      hostNetwork: true\n      initContainers:"),
    ("WeakensSecurityContext", "        image: busybox:1.36\n", "        image: busybox:1.36\n        securityContext: {privileged: true}\n"),
    ("WidensRBAC", "      initContainers:", "      serviceAccountName: cluster-admin\n      initContainers:"),
    ("DeletesData", "      initContainers:", "      volumes: [{name: d, hostPath: {path: /}}]\n      initContainers:"),
    # scale, labels, finalizers, another object
    ("ScaleToZero", "replicas: 2", "replicas: 0"),
    ("ChangeNotAllowed", "  labels: {app: web}\nspec", "  labels: {app: web}\n  finalizers: [x/y]\nspec"),
    ("ChangeNotAllowed", "  labels: {app: web}\nspec", "  labels: {app: web}\n  annotations: {a: b}\nspec"),
    ("AnotherApplication", "    matchLabels: {app: web}\n", "    matchLabels: {app: api}\n"),
    ("AnotherApplication", "spec: {selector: {app: web}", "spec: {selector: {app: api}"),
    # variables that switch a check off, or reach into the process
    ("HidesFailure", '{name: A, value: "1"}', '{name: A, value: "1"}\n        - {name: SKIP_HEALTHCHECK, value: "true"}'),
    ("HidesFailure", '{name: A, value: "1"}', '{name: A, value: "1"}\n        - {name: DISABLE_AUTH, value: "1"}'),
    ("HidesFailure", '{name: A, value: "1"}', '{name: A, value: "1"}\n        - {name: NODE_TLS_REJECT_UNAUTHORIZED, value: "0"}'),
    ("HidesFailure", '{name: A, value: "1"}', '{name: A, value: "1"}\n        - {name: LD_PRELOAD, value: /tmp/x.so}'),
    ("HidesFailure", 'value: "1"', "value: host=db sslmode=disable"),
    ("TouchesSecret", '{name: A, value: "1"}', '{name: A, value: "1"}\n        - {name: API_TOKEN, value: abc}'),
    # containers that come beside, order that means something, patches in the wrong place
    ("ChangeNotAllowed", "      - name: setup\n", "      - name: evil\n        image: a:1\n      - name: setup\n"),
    ("ChangeNotAllowed", "      initContainers:", "      ephemeralContainers: [{name: e, image: a:1}]\n      initContainers:"),
    ("ChangeNotAllowed", "      - name: app   # the one", "      - $patch: delete\n        name: app   # the one"),
    ("ChangeNotAllowed", "      initContainers:", "      $patch: replace\n      initContainers:"),
    # YAML that readers understand differently
    ("SourceUnreadable", "            memory: 64Mi\n", "            memory: 64Mi\n            memory: 128Mi\n"),
    ("RemovesLimit", "          limits:\n            memory: 64Mi\n", "          limits:\n            <<: {nvidia.com/gpu: 1}\n            memory: 64Mi\n"),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "old", "new"), TEMPTING)
def test_a_tempting_edit_is_refused(reason: str, old: str, new: str) -> None:
    assert replaced(old, new) == reason


def altered(before: str, old: str, new: str, **settings: Any) -> str | None:
    """Return the reason with which a change of another object is refused."""
    assert old in before
    return check(before.replace(old, new), repo.edit((), None, None, file=DEPLOYMENT, document=0), file=DEPLOYMENT,
                 files={DEPLOYMENT: before.encode()}, **settings)  # fmt: skip


TWO = "kind: Pod\nmetadata: {name: x}\nspec:\n  initContainers:\n  - {name: a, image: a:1}\n  - {name: b, image: b:1}\n"
ROLE = "kind: Role\nmetadata: {name: x}\nrules:\n- {apiGroups: [''], resources: [RESOURCE], verbs: [list]}\n"
BUDGET = "kind: PodDisruptionBudget\nmetadata: {name: x}\nspec: {minAvailable: 2}\n"
SIDECAR = (
    "kind: Pod\nmetadata: {name: x}\nspec:\n  containers:\n  - name: app\n    ports: [{containerPort: 80}]\n"
    "    readinessProbe: {tcpSocket: {port: 81}}\n  - name: mesh\n    ports: [{containerPort: 15021, name: status}]\n"
)
LIVE = "kind: Pod\nmetadata: {name: x}\nspec:\n  containers:\n  - name: app\n    livenessProbe: {tcpSocket: {port: 80}}\n"
STARTUP = "    startupProbe: {tcpSocket: {port: 80}, failureThreshold: 300, periodSeconds: 30}\n"
EXEC = 'kind: Pod\nmetadata: {name: x}\nspec:\n  containers:\n  - name: app\n    readinessProbe: {exec: {command: ["test", "-f", "/tmp/redy"]}}\n'
COMMAND = "kind: Pod\nmetadata: {name: x}\nspec:\n  containers:\n  - name: app\n    command: [serve]\n"

OBJECTS: list[tuple[str | None, str, str, str]] = [
    ("ChangeNotAllowed", TWO, "  - {name: a, image: a:1}\n  - {name: b, image: b:1}\n", "  - {name: b, image: b:1}\n  - {name: a, image: a:1}\n"),
    ("WidensRBAC", ROLE.replace("RESOURCE", "secrets"), "[list]", "[list, get]"),
    ("WidensRBAC", ROLE.replace("RESOURCE", "pods/exec"), "[list]", "[list, create]"),
    ("WidensRBAC", ROLE.replace("RESOURCE", "'*'"), "[list]", "[list, get]"),
    ("WidensRBAC", ROLE.replace("RESOURCE", "configmaps, secrets"), "[list]", "[list, get]"),
    ("WidensRBAC", ROLE.replace("RESOURCE", "pods"), "[list]", "['*']"),
    ("WidensRBAC", ROLE.replace("RESOURCE", "pods"), "[pods]", "['*']"),
    (None, ROLE.replace("RESOURCE", "configmaps"), "[list]", "[list, get]"),
    ("WeakensBudget", BUDGET, "minAvailable: 2", "minAvailable: 0"),
    ("WeakensBudget", BUDGET, "spec: {minAvailable: 2}", "spec: {}"),
    ("WeakensProbe", SIDECAR, "port: 81}", "port: 15021}"),
    ("WeakensProbe", SIDECAR, "port: 81}", "port: status}"),
    (None, SIDECAR, "port: 81}", "port: 80}"),
    (None, SIDECAR, "port: 81}", "port: 8080}"),
    ("WeakensProbe", LIVE, LIVE, LIVE + STARTUP),
    (None, LIVE, LIVE, LIVE + STARTUP.replace("300", "30")),
    ("WeakensProbe", EXEC, '"test", "-f", "/tmp/redy"', '"ls", "/"'),
    (None, EXEC, "redy", "ready"),
    ("HidesFailure", COMMAND, "[serve]", "[python, -m, http.server]"),
    ("HidesFailure", COMMAND, "[serve]", "[nc, -lk, '8080']"),
    ("HidesFailure", COMMAND, "[serve]", "[echo, ok]"),
    ("HidesFailure", COMMAND, "[serve]", "[serve, --skip-tls-verify]"),
    ("HidesFailure", COMMAND, "[serve]", "[serve, --insecure]"),
    ("WeakensProbe", LIVE, LIVE, LIVE + "    startupProbe: exec\n"),
    ("WidensRBAC", "kind: Role\nmetadata: {name: x}\nrules: [a, b]\n", "[a, b]", "[a, c]"),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "before", "old", "new"), OBJECTS)
def test_other_objects_under_attack(reason: str | None, before: str, old: str, new: str) -> None:
    assert altered(before, old, new) == reason


@pytest.mark.parametrize("kind", sorted(guards.KIND_RULES))
def test_what_guards_the_cluster_is_never_changed(kind: str) -> None:
    before = f"kind: {kind}\nmetadata: {{name: x}}\nspec: {{a: 1}}\n"
    assert altered(before, "a: 1", "a: 2", kinds=["Deployment", kind]) == guards.KIND_RULES[kind][0]


@pytest.mark.parametrize("file", ["Jenkinsfile", ".circleci/config.yml", ".gitlab-ci.yml", ".github/x.yaml", "CODEOWNERS",
                                  "docs/CODEOWNERS", ".gitmodules", ".tekton/run.yaml", "a/.sops.yaml"])  # fmt: skip
def test_pipelines_and_owners_are_never_changed(file: str) -> None:
    assert check("kind: Pod\n", file=file, path="") == "ProtectedPath"


ELSEWHERE = {  # reasons that test_guards.py shows
    "AnotherNamespace", "DeletesData", "FieldOwned", "KindNotAllowed", "NamespaceNotAllowed", "NewDocument", "NothingChanged", "OutsidePath",
    "TooManyFiles", "TooManyLines", "UndeclaredChange",
}  # fmt: skip


def stated(*modules: Any) -> set[str]:
    """Return each reason that modules name: in Refusals and in their tables of rules."""
    found: set[str] = set()
    for module in modules:
        for node in ast.walk(ast.parse(pathlib.Path(module.__file__).read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Refusal" and isinstance(node.args[0], ast.Constant):
                found.add(node.args[0].value)
    tables = [*field_rules.RULES, *run_rules.RULES, *(rule for kind in object_rules.KINDS for rule in object_rules.rules_for(kind))]
    return found | {reason for _, reason, _ in tables} | {reason for reason, _ in guards.KIND_RULES.values()}


def test_every_reason_of_the_gate_has_a_fault_that_it_refuses() -> None:
    shown = {row[0] for row in TEMPTING} | {row[0] for row in OBJECTS if row[0]} | {"ProtectedPath", *ELSEWHERE}
    shown |= {reason for reason, _ in guards.KIND_RULES.values()}
    text = (pathlib.Path(__file__).parent / "test_guards.py").read_text()
    assert all(f'"{reason}"' in text for reason in ELSEWHERE)
    assert stated(guards, field_rules, object_rules, run_rules) - shown == set()
