"""Fixes of what the real cluster showed: from stored evidence and the applied manifests to changed lines."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
from tests.unit.diagnosis.test_real_evidence import REAL, load

from selfheal.api.policy import GuardsSpec
from selfheal.diagnosis import registry
from selfheal.diagnosis.evidence import Bundle
from selfheal.remediation import guards, propose, serialise
from selfheal.remediation.edits import Proposal, Refusal
from selfheal.verification import contract


def files_of(bundle: Bundle) -> dict[str, bytes]:
    """The one applied file that declares the target."""
    for path in sorted((REAL / "sources").glob("*.yaml")):
        try:
            files = {path.name: path.read_bytes()}
            propose.find_source(files, path="", manifest=_live(bundle), namespace=bundle.namespace)
        except Refusal:
            continue
        return files
    raise AssertionError(f"no source declares {bundle.target.name}")


def _live(bundle: Bundle) -> dict[str, object]:
    group = {"Job": "batch/v1", "CronJob": "batch/v1", "Pod": "v1"}.get(bundle.target.kind, "apps/v1")
    return {"apiVersion": group, "kind": bundle.target.kind, "metadata": {"name": bundle.target.name}}


def fix(name: str) -> tuple[Sequence[Proposal], dict[str, bytes], Bundle]:
    bundle = load(name)
    files = files_of(bundle)
    source = propose.find_source(files, path="", manifest=_live(bundle), namespace=bundle.namespace)
    finding = registry.diagnose(bundle)[0]
    return (
        propose.propose(finding, bundle=bundle, source=source, files=files, guards=GuardsSpec()), files, bundle,
    )  # fmt: skip


def changed(proposal: Proposal) -> list[str]:
    lines = proposal.diff.splitlines()[2:]
    return [line[0] + line[1:].strip() for line in lines if line[:1] in "+-"]


@pytest.mark.parametrize(
    ("name", "lines", "risk"),
    [
        ("badcmd", ['-command: [pyhton3, -m, http.server, "8080"]', '+command: [python3, -m, http.server, "8080"]'], "Medium"),
        ("badfile", ["-command: [python3, /code/confg.yaml]", "+command: [python3, /code/config.yaml]"], "Medium"),
        ("cfgmiss", ["-valueFrom: {configMapKeyRef: {name: app-setings, key: log-level}}", "+valueFrom: {configMapKeyRef: {name: app-settings, key: log-level}}"], "Medium"),
        ("dscmd", ['-args: ["forever"]', '+args: ["3600"]'], "Medium"),
        ("execprobe", ["-readinessProbe: {exec: {command: [cat, /tmp/helthy]}, periodSeconds: 2}", "+readinessProbe: {exec: {command: [cat, /tmp/healthy]}, periodSeconds: 2}"], "Medium"),
        ("hostslip", ["-env: [{name: DB_HOST, value: databse}]", "+env: [{name: DB_HOST, value: database}]"], "Medium"),
        ("initcmd", ['-initContainers: [{name: prep, image: "busybox:1.36", command: ["slep", "1"]}]', '+initContainers: [{name: prep, image: "busybox:1.36", command: ["sleep", "1"]}]'], "Medium"),
        ("jvmenv", ['-value: "-Xms16m -Xmx100m"', '+value: "-Xms16m -Xmx240m"', "-resources: {requests: {cpu: 20m, memory: 160Mi}, limits: {memory: 160Mi}}", "+resources: {requests: {cpu: 20m, memory: 320Mi}, limits: {memory: 320Mi}}"], "Medium"),
        ("keymiss", ["-valueFrom: {configMapKeyRef: {name: app-settings, key: loglevel}}", "+valueFrom: {configMapKeyRef: {name: app-settings, key: log-level}}"], "Medium"),
        ("namedport", ["-readinessProbe: {httpGet: {path: /, port: web}, periodSeconds: 2}", "+readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 2}"], "Low"),
        ("secvol", ["-secret: {secretName: app-credential}", "+secret: {secretName: app-credentials}", "-configMap: {name: app-settings, items: [{key: config.yml, path: config.yml}]}", "+configMap: {name: app-settings, items: [{key: config.yaml, path: config.yml}]}"], "Medium"),
        ("slowboot", ["+startupProbe:", "+tcpSocket:", "+port: 8080", "+periodSeconds: 3", "+failureThreshold: 100"], "Low"),
        ("small", ['-containers: [{name: app, image: "busybox:1.36", command: [sleep, "3600"], resources: {requests: {memory: 16Mi}, limits: {memory: 32Mi}}}]', '+containers: [{name: app, image: "busybox:1.36", command: [sleep, "3600"], resources: {requests: {memory: 48Mi}, limits: {memory: 48Mi}}}]'], "Low"),
        ("bare", ["+resources:", "+limits:", "+memory: 128Mi", "+requests:", "+memory: 128Mi", "-resources: {requests: {memory: 40Mi}}", "+resources: {requests: {memory: 40Mi}, limits: {memory: 80Mi}}"], "Low"),
        ("startprobe", ["-startupProbe: {tcpSocket: {port: 8080}, periodSeconds: 2, failureThreshold: 4}", "+startupProbe: {tcpSocket: {port: 8080}, periodSeconds: 2, failureThreshold: 150}"], "Low"),
        ("stsenv", ["-env: [{name: BUKET, value: fats}]", '+env: [{name: BUKET, value: fats}, {"name": "BUCKET", "value": "fast"}]'], "Medium"),
        ("stuckcmd", ['-command: [python3, -m, http.servr, "8080"]', '+command: [python3, -m, http.server, "8080"]'], "Low"),
        ("stuckenv", ["-env: [{name: MODE, value: fats}]", "+env: [{name: MODE, value: fast}]"], "Low"),
        ("stuckprobe", ["-readinessProbe: {exec: {command: [cat, /tmp/ready]}, periodSeconds: 2}", "+readinessProbe: {exec: {command: [cat, /etc/nginx/nginx.conf]}, periodSeconds: 2}"], "Low"),
        ("timing", ["-readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 3}", "+readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 3, timeoutSeconds: 5}"], "Low"),
        ("varmap", ["+env:", "+- name: LISTEN_PORT", "+valueFrom:", "+configMapKeyRef:", "+name: web-config", "+key: LISTEN_PORT"], "Medium"),
        ("varslip", ['-- {name: QUEU_URL, value: "amqp://mq"}', '+- {name: QUEUE_URL, value: "amqp://mq"}'], "Medium"),
    ],
)  # fmt: skip
def test_the_fix_touches_the_lines_it_must(name: str, lines: list[str], risk: str) -> None:
    found, files, bundle = fix(name)
    assert changed(found[0]) == lines
    assert (found[0].risk, bool(found[0].arithmetic), "git revert" in found[0].rollback) == (risk, True, True)
    assert set(found[0].checks) >= {contract.ROLLOUT}
    for proposal in found:
        guards.check_proposal(proposal, guards=GuardsSpec(), namespace=bundle.namespace, mapped_path="", files=files)
        assert serialise.proposal_from_json(serialise.proposal_to_json(proposal)) == proposal


def test_a_live_port_is_corrected_in_both_probes() -> None:
    found, _, _ = fix("livepath")
    assert sorted(line[0] for line in changed(found[0])) == ["+", "+", "-", "-"]
    assert all("8088" in line for line in changed(found[0]) if line[0] == "-")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("barepod", "logs pod/barepod -c app --previous; 2. correct the application"),
        ("cronfail", "bring the file /data/input.csv into the container"),
        ("envfrom", "create Secret nowhere in namespace"),
        ("initfail", "correct the host name databse"),
        ("jobdeadline", "find out how long the work takes"),
        ("jobfail", "set the variable INPUT_BUCKET"),
        ("jobslip", "read the log and find out why it ends"),
        ("nginxconf", "correct the configuration that the log line names"),
        ("noaccount", "create serviceaccount reader-bot"),
        ("nonroot", "the security context is never weakened by a fix"),
        ("sidecar", "set the variable LOG_TARGET"),
    ],
)
def test_where_nothing_is_safe_a_person_gets_the_steps(name: str, words: str) -> None:
    with pytest.raises(Refusal) as caught:
        fix(name)
    assert (caught.value.reason, words in caught.value.message) == ("NeedsPerson", True)


def test_what_a_stateful_set_leaves_to_a_person_is_said() -> None:
    assert "kubectl -n pk-h delete pod stsenv-0." in fix("stsenv")[0][0].risk_reason
    bundle = load("stsenv")
    files = files_of(bundle)
    source = propose.find_source(files, path="", manifest=_live(bundle), namespace=bundle.namespace)
    finding = registry.diagnose(bundle)[0]
    bare = dataclasses.replace(bundle, items=())
    parallel = dataclasses.replace(source, manifest={**source.manifest, "spec": {**source.manifest["spec"], "podManagementPolicy": "Parallel"}})
    for one, where in ((bare, source), (bundle, parallel)):
        found = propose.propose(finding, bundle=one, source=where, files=files, guards=GuardsSpec())
        assert "delete pod" not in found[0].risk_reason
