"""Small pure pieces: patches, documents, credentials, events, logs, dry runs, selectors."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfheal import ports
from selfheal.adapters.kube import (
    connection,
    credentials,
    documents,
    dryrun,
    events,
    evidence,
    kinds,
    logs,
    mergepatch,
    served,
    store,
    targets,
)
from selfheal.api import incident, meta
from selfheal.api.evidence import MAX_DOCUMENT_BYTES, DocumentType
from selfheal.domain import errors

NOW = dt.datetime(2026, 11, 23, 6, 0, tzinfo=dt.UTC)

# --- merge patches ---------------------------------------------------------------------------

# Null means removal in a merge patch, so that the values themselves have none.
JSON = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=3),
    lambda child: st.dictionaries(st.text(max_size=3), child, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(max_size=3), JSON, max_size=5)


def apply_patch(value: Any, patch: Any) -> Any:
    """RFC 7386, 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    for name, change in patch.items():
        if change is None:
            result.pop(name, None)
        else:
            result[name] = apply_patch(result.get(name), change)
    return result


@given(OBJECTS, OBJECTS)
def test_a_patch_leads_from_before_to_after(before: dict[str, Any], after: dict[str, Any]) -> None:
    patch = mergepatch.compute(before, after)
    assert apply_patch(before, patch) == after
    assert bool(patch) is (before != after)


def test_a_patch_says_what_is_gone_and_nothing_else() -> None:
    before = {"a": 1, "b": {"x": 1, "y": 2}, "c": [1, 2]}
    after = {"b": {"x": 1, "z": 3}, "c": [2], "d": {}}
    assert mergepatch.compute(before, after) == {
        "a": None, "b": {"y": None, "z": 3}, "c": [2], "d": {},
    }  # fmt: skip


# --- documents -------------------------------------------------------------------------------


def document(**changes: Any) -> ports.Document:
    values: dict[str, Any] = {
        "namespace": "ns", "name": "d", "incident": "checkout", "incident_uid": "u",
        "type": DocumentType.EVIDENCE, "run": 1, "attempt": 2, "content": {"at": "now"},
    }  # fmt: skip
    return ports.Document(**(values | changes))


def test_a_document_is_packed_the_same_each_time() -> None:
    assert documents.build(document(), NOW) == documents.build(document(), NOW)
    assert documents.parse(documents.build(document(), NOW)) == document()


def test_times_in_a_document_are_written_and_other_objects_refused() -> None:
    built = documents.build(document(content={"at": NOW}), NOW)
    assert documents.parse(built).content == {"at": "2026-11-23T06:00:00Z"}
    with pytest.raises(TypeError, match="JSON only"):
        documents.build(document(content={"at": object()}), NOW)


def test_a_document_too_large_is_shortened_step_by_step() -> None:
    noise = "".join(hashlib.sha256(str(n).encode()).hexdigest() for n in range(9000))
    built = documents.build(document(content={"logs": [noise], "few": ("short",)}), NOW)
    packed = base64.b64decode(built["spec"]["content"])
    assert len(packed) <= MAX_DOCUMENT_BYTES
    content = documents.parse(built).content
    assert content["few"] == ["short"]
    assert "characters left out" in content["logs"][0]


def test_what_no_shortening_makes_fit_is_handed_over() -> None:
    many = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(9000)]
    with pytest.raises(errors.HandOver, match="larger than"):
        documents.build(document(content={"many": many}), NOW)


@pytest.mark.parametrize(
    "change",
    [{"content": "!!"}, {"content": "AAAA"}, {"digest": "00"}, {"type": "Other"}],
)
def test_a_damaged_document_is_not_believed(change: dict[str, str]) -> None:
    built = documents.build(document(), NOW)
    built["spec"] |= change
    with pytest.raises(errors.Stalled) as caught:
        documents.parse(built)
    assert caught.value.reason == "EvidenceDamaged"


def test_a_document_that_expands_without_end_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    built = documents.build(document(content={"x": "a" * 5000}), NOW)
    monkeypatch.setattr(documents, "_MAX_UNPACKED", 1000)
    with pytest.raises(errors.Stalled):
        documents.parse(built)


def test_an_owner_is_an_incident() -> None:
    other = {"metadata": {"ownerReferences": [{"kind": "Pod", "uid": "x"}]}}
    assert documents.owner_uid_of(other) == ""
    assert documents.owner_uid_of(documents.build(document(), NOW)) == "u"


def test_labels_of_long_names_fit_and_differ() -> None:
    one, two = (documents.label_of("a" * 100 + end) for end in "xy")
    assert len(one) <= 63
    assert one != two
    assert documents.label_of("checkout") == "checkout"


# --- credentials -----------------------------------------------------------------------------


def secret(**changes: Any) -> dict[str, Any]:
    metadata = {
        "labels": {credentials.LABEL: "true"},
        "annotations": {credentials.HOSTS_ANNOTATION: "jira.example.com"},
    }
    data = {"token": base64.b64encode(b"s3cret\n").decode()}
    return {"metadata": metadata, "data": data} | changes


def test_a_credential_is_decoded_and_bound() -> None:
    found = credentials.parse_secret(secret(), "Secret ops/jira")
    assert found == {"token": "s3cret", "hosts": "jira.example.com"}


def test_a_credential_without_hosts_is_bound_to_none() -> None:
    stored = secret(metadata={"labels": {credentials.LABEL: ""}})
    assert credentials.parse_secret(stored, "x")["hosts"] == ""


@pytest.mark.parametrize(
    ("stored", "reason", "says"),
    [
        (None, "CredentialsMissing", "does not exist"),
        (secret(metadata={}), "CredentialsRefused", "lacks the label"),
        (secret(data={"token": "/w=="}), "CredentialsRefused", "key token is not text"),
        (secret(data={"token": "x"}), "CredentialsRefused", "is not text"),
        (secret(data={}), "CredentialsMissing", "is empty"),
        (secret(data={"token": ""}), "CredentialsMissing", "is empty"),
    ],
)
def test_an_unusable_credential_says_what_mends_it(
    stored: dict[str, Any] | None, reason: str, says: str
) -> None:
    with pytest.raises(errors.Stalled, match=says) as caught:
        credentials.parse_secret(stored, "Secret ops/jira")
    assert caught.value.reason == reason
    assert "Secret ops/jira" in caught.value.message


class Secrets:
    """Stands for a connection that counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def find(self, path: str) -> dict[str, Any]:
        self.asked.append(path)
        return secret()


async def test_credentials_are_kept_for_half_a_minute() -> None:
    api, clock = Secrets(), [0.0]
    subject = credentials.Credentials(api, namespace="ops", monotonic=lambda: clock[0])  # type: ignore[arg-type]
    for moment in (0.0, 29.9, 30.0):
        clock[0] = moment
        await subject.get("jira")
    assert api.asked == ["/api/v1/namespaces/ops/secrets/jira"] * 2


# --- events ----------------------------------------------------------------------------------


def test_equal_events_of_an_incident_share_a_name() -> None:
    metadata = meta.ObjectMeta(name="a", namespace="ns", uid="u")
    about = incident.Incident(metadata=metadata, spec=incident.IncidentSpec(summary="x"))
    one = store.build_event(about, NOW, "Normal", "Diagnosed", "x" * 3000)
    two = store.build_event(about, NOW, "Normal", "Diagnosed", "y")
    again = store.build_event(about, NOW + dt.timedelta(hours=1), "Normal", "Diagnosed", "y")
    assert len(one["message"]) == 1024
    assert one["metadata"]["name"] != two["metadata"]["name"] == again["metadata"]["name"]


def test_events_of_the_new_kind_have_their_time_elsewhere() -> None:
    created = {"creationTimestamp": "2026-11-23T06:00:00Z"}
    scheduler = {
        "metadata": created, "count": None, "firstTimestamp": None, "lastTimestamp": None,
        "reason": "FailedScheduling", "message": "password=hunter22", "type": "Warning",
    }  # fmt: skip
    assert events.time_of(scheduler) == "2026-11-23T06:00:00Z"
    (found,) = events.build_facts([scheduler])
    assert (found.count, found.at, found.object) == (1, NOW, "?/?")
    assert "hunter22" not in found.message
    series = {"lastObservedTime": "2026-11-23T07:00:00.5Z", "count": 9}
    repeated = scheduler | {"series": series}
    assert events.build_value(repeated)["at"] == "2026-11-23T07:00:00.5Z"
    assert events.count_of(repeated) == 9


# --- logs ------------------------------------------------------------------------------------


def test_a_short_log_stays_whole() -> None:
    assert logs.shorten("a\nb") == "a\nb"


def test_the_end_of_a_long_log_stays() -> None:
    found = logs.shorten("x" * 40_000 + "the end")
    assert len(found) <= logs.MAX_KEPT
    assert found.endswith("the end")


def test_the_first_failure_of_a_long_log_stays() -> None:
    early = "starting\nException in thread main java.lang.OutOfMemoryError: Java heap space\n"
    found = logs.shorten(early + "noise\n" * 10_000 + "the end")
    assert len(found) <= logs.MAX_KEPT
    assert found.startswith("Exception in thread")
    assert found.endswith("the end")


# --- dry runs --------------------------------------------------------------------------------


def test_warnings_are_unquoted() -> None:
    headers = ('299 - "spec.x is \\"old\\""', "garbage")
    assert dryrun.parse_warnings(headers) == ('spec.x is "old"',)


def test_an_object_as_new_lets_the_server_name_and_select() -> None:
    labels = {"app": "a", "controller-uid": "u", "batch.kubernetes.io/job-name": "j"}
    job = {
        "kind": "Job",
        "metadata": {"name": "j", "uid": "u", "resourceVersion": "1", "labels": dict(labels)},
        "spec": {"selector": {}, "template": {"metadata": {"labels": dict(labels)}}},
        "status": {},
    }
    assert dryrun.as_new(job) == {
        "kind": "Job",
        "metadata": {"generateName": "j-", "labels": {"app": "a"}},
        "spec": {"template": {"metadata": {"labels": {"app": "a"}}}},
    }
    assert job["metadata"]["name"] == "j"  # type: ignore[index]
    pod = {"kind": "Pod", "metadata": {"name": "p"}, "spec": {"nodeName": "n"}}
    assert dryrun.as_new(pod)["spec"] == {}


class Answers:
    """Stands for a connection that answers dry runs in turn."""

    def __init__(self, *answers: connection.Answer) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, Any]] = []

    async def exchange(
        self, method: str, path: str, *, query: Any = None, body: Any = None
    ) -> connection.Answer:
        assert query["dryRun"] == "All"
        assert query["fieldValidation"] == "Strict"
        self.asked.append((method, path, body))
        return self.answers.pop(0)

    async def get(self, path: str) -> dict[str, Any]:
        return {"metadata": {"resourceVersion": "41", "uid": "u-2"}}


def answer(status: int, message: str = "", **details: str) -> connection.Answer:
    body = {"kind": "Status", "message": message, "details": details}
    return connection.Answer(status=status, text=json.dumps(body))


def workload(kind: str = "Deployment", api_version: str = "apps/v1") -> dict[str, Any]:
    metadata = {"name": "web", "namespace": "ns"}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": {}}


async def ask(api: Answers, manifest: dict[str, Any]) -> ports.DryRun:
    return await dryrun.update(api, kinds.Kinds(api), manifest)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (422, "spec.replicas: must be greater than or equal to 0"),
        (400, "strict decoding error: unknown field"),
        (403, "exceeded quota: q, requested: cpu=9"),
        (404, 'deployments.apps "web" not found'),
    ],
)
async def test_a_refusal_of_the_content_is_an_answer(status: int, message: str) -> None:
    found = await ask(Answers(answer(status, message, name="web")), workload())
    assert found == ports.DryRun(accepted=False, message=message)


@pytest.mark.parametrize(
    ("given_answer", "kind"),
    [
        (answer(403, 'User "op" cannot update resource "deployments"'), errors.Forbidden),
        (answer(409, "the object has been modified"), errors.Conflict),
        (answer(500, "etcd"), errors.Transient),
        (answer(401, ""), errors.Unauthorized),
    ],
)
async def test_a_fault_of_ours_is_an_error(
    given_answer: connection.Answer, kind: type[errors.SelfHealError]
) -> None:
    with pytest.raises(kind):
        await ask(Answers(given_answer), workload())


async def test_an_immutable_field_leads_to_a_create() -> None:
    api = Answers(answer(422, "spec.template: field is immutable"), answer(201))
    found = await ask(api, workload("Job", "batch/v1"))
    assert found.accepted
    assert found.warnings[0].startswith(dryrun.REPLACE)
    (put, post) = api.asked
    assert put[:2] == ("PUT", "/apis/batch/v1/namespaces/ns/jobs/web")
    assert post[:2] == ("POST", "/apis/batch/v1/namespaces/ns/jobs")
    assert post[2]["metadata"]["generateName"] == "web-"


async def test_a_reason_behind_a_long_object_is_found_and_shown() -> None:
    long = f'spec.template: Invalid value: {{{"x" * 3000}}}: field is immutable'
    assert (await ask(Answers(answer(422, long), answer(201)), workload("Job", "batch/v1"))).accepted
    refused = await ask(Answers(answer(422, long.replace("field is immutable", "is bad"))), workload())
    assert len(refused.message) < 700
    assert refused.message.startswith("spec.template")
    assert refused.message.endswith("is bad")


async def test_a_kind_that_is_never_updated_unconditionally_gets_its_version() -> None:
    needs = "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
    api = Answers(answer(422, needs), answer(200))
    budget = workload()
    budget["metadata"]["uid"] = "u-1"
    assert (await ask(api, budget)).accepted
    assert api.asked[1][2]["metadata"] == budget["metadata"] | {"resourceVersion": "41"}


async def test_a_create_that_is_refused_too_is_the_answer() -> None:
    api = Answers(answer(422, "field is immutable"), answer(422, "spec.x: bad"))
    assert not (await ask(api, workload("Job", "batch/v1"))).accepted


async def test_a_bound_claim_is_never_replaced() -> None:
    api = Answers(answer(422, "spec is immutable after creation"), answer(201))
    claim = workload("PersistentVolumeClaim", "v1")
    assert not (await ask(api, claim | {"spec": {"volumeName": "pv-1"}})).accepted
    assert len(api.asked) == 1
    api = Answers(answer(422, "spec is immutable after creation"), answer(201))
    assert (await ask(api, claim)).warnings[0].startswith(dryrun.REPLACE)


async def test_a_claim_that_is_new_is_created() -> None:
    api = Answers(answer(404, "not found"), answer(201))
    assert (await ask(api, workload("PersistentVolumeClaim", "v1"))).accepted
    assert [one[0] for one in api.asked] == ["PUT", "POST"]


async def test_a_webhook_without_dry_runs_is_a_risk_not_a_refusal() -> None:
    api = Answers(answer(400, "admission webhook w does not support dry run"))
    found = await ask(api, workload())
    assert found.accepted
    assert found.warnings[0].startswith(dryrun.UNAVAILABLE)


# --- kinds and targets -----------------------------------------------------------------------


def test_selectors_are_rendered_with_their_expressions() -> None:
    expressions = [
        {"key": "a", "operator": "In", "values": ["1", "2"]},
        {"key": "b", "operator": "NotIn", "values": ["3"]},
        {"key": "c", "operator": "Exists"},
        {"key": "d", "operator": "DoesNotExist"},
    ]
    text = kinds.render_selector({"matchLabels": {"x": "y"}, "matchExpressions": expressions})
    assert text == "x=y,a in (1,2),b notin (3),c,!d"
    assert kinds.render_selector({}) == ""


class Discovery:
    """Stands for a connection that knows one group."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def get(self, path: str) -> dict[str, Any]:
        self.asked.append(path)
        if path != "/apis/argoproj.io/v1alpha1":
            raise errors.Stalled("unknown", reason="KindUnknown")
        return {
            "resources": [
                {"name": "rollouts", "kind": "Rollout", "namespaced": True},
                {"name": "rollouts/status", "kind": "Rollout", "namespaced": True},
                {"name": "clusters", "kind": "Cluster", "namespaced": False},
            ]
        }


async def test_kinds_beyond_the_usual_are_discovered_once() -> None:
    api = Discovery()
    subject = kinds.Kinds(api)  # type: ignore[arg-type]
    group = "argoproj.io/v1alpha1"
    root = f"/apis/{group}"
    assert await subject.find_path("v1", "Pod", "ns", "p") == "/api/v1/namespaces/ns/pods/p"
    assert (
        await subject.find_path(group, "Rollout", "ns", "r") == f"{root}/namespaces/ns/rollouts/r"
    )
    assert await subject.find_path(group, "Cluster", "ns", "c") == f"{root}/clusters/c"
    assert await subject.find_path(group, "Nothing", "ns") is None
    assert await subject.find_path("none/v1", "Nothing", "ns") is None
    assert api.asked == [root, "/apis/none/v1"]


def test_revisions_of_replica_sets() -> None:
    assert targets.revision_of({"metadata": {"annotations": {targets.REVISION: "12"}}}) == 12
    assert targets.revision_of({"metadata": {}}) == 0


# --- what is served --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "safe"),
    [
        ("/healthz", "/healthz"),
        ("/healthz?full=1", "/healthz"),
        ("/../../secrets", "/"),
        ("/%2e%2e/secrets", "/"),
        ("/%252e%252e/secrets", "/"),
        ("//evil", "/"),
    ],
)
def test_a_probe_path_cannot_leave_the_pod(path: str, safe: str) -> None:
    assert served._safe(path) == safe


# --- the choice of pods ----------------------------------------------------------------------


def pod(name: str, minute: int, *, ready: bool) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "creationTimestamp": f"2026-11-23T06:{minute:02d}:00Z"},
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def test_unwell_pods_come_first_newest_first_with_a_well_one_among_them() -> None:
    pods = [pod(f"bad{n}", n, ready=False) for n in range(12)] + [pod("good", 0, ready=True)]
    target = targets.Target(
        ref=incident.TargetRef(kind="Deployment", name="w"), namespace="ns", stored={}, pods=pods
    )
    names = [kinds.name_of(one) for one in evidence.choose_pods(target)]
    assert names[:4] == ["bad11", "bad10", "bad9", "good"]
    assert len(names) == evidence.MAX_POD_ITEMS
