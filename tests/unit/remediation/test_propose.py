from __future__ import annotations

from typing import Any

import pytest
from tests.unit.diagnosis import evidence_factory as make
from tests.unit.remediation import fix_factory as repo

from selfheal.api.classes import IncidentClass
from selfheal.api.policy import GuardsSpec
from selfheal.remediation import compare, guards, memory_fix
from selfheal.remediation.edits import Proposal, Refusal

OOM: dict[str, Any] = {"limit": "64Mi", "request": "32Mi", "workingSetBytes": None, "restarts": 3, "steady": False}


def refusal(call: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(Refusal) as caught:
        call(*args, **kwargs)
    assert str(caught.value) == caught.value.message
    return caught.value.reason


def accepted(proposal: Proposal, text: str = repo.TEXT) -> Proposal:
    """Check that a proposal passes the guard and the comparison, and return it."""
    files = {**repo.FILES, repo.FILE: text.encode()}
    guards.check_proposal(proposal, guards=GuardsSpec(), namespace="shop", mapped_path=repo.PATH, files=files)
    after = proposal.files[repo.FILE].decode()
    compare.check_equivalence(
        rendered_before=repo.manifest(text), rendered_after=repo.manifest(after), live=repo.live(text), edits=proposal.edits
    )
    intended = compare.intended_manifest(repo.live(text), proposal, repo.source(text))
    assert compare.carries_change(intended, repo.manifest(after), proposal.edits)
    assert not compare.carries_change(repo.live(text), repo.manifest(after), proposal.edits)
    return proposal


def test_oom_killed_raises_the_limit_by_the_step_in_one_line() -> None:
    (found,) = repo.fix(repo.finding(IncidentClass.OOM_KILLED, **OOM | {"workingSetBytes": 66060288}))
    accepted(found)
    assert repo.changed_lines(found.diff) == ["-            memory: 64Mi", "+            memory: 128Mi"]
    assert found.diff.startswith(f"--- a/{repo.FILE}\n+++ b/{repo.FILE}\n@@ ")
    assert found.arithmetic == "64Mi x 2 (guards.memoryStep), at most 4Gi (guards.maxMemory) = 128Mi, working set 63Mi."
    assert (found.risk, found.checks[:2]) == ("Low", ("RolloutComplete", "PodsReady"))
    assert "back to 64Mi" in found.rollback


def test_a_steady_climb_is_a_risk_that_is_said() -> None:
    (found,) = repo.fix(repo.finding(IncidentClass.OOM_KILLED, **OOM | {"steady": True}))
    assert found.risk == "Medium"
    assert "leaks" in found.risk_reason


def test_a_request_that_equals_the_limit_goes_with_it() -> None:
    text = repo.TEXT.replace("32Mi", "65536Ki")
    (found,) = repo.fix(repo.finding(IncidentClass.OOM_KILLED, **OOM), text=text)
    accepted(found, text)
    assert repo.changed_lines(found.diff) == [
        "-            memory: 64Mi", "-            cpu: 0.5", "-          requests: {memory: 65536Ki}",
        "+            memory: 128Mi", "+            cpu: 0.5", "+          requests: {memory: 128Mi}",
    ] or len(repo.changed_lines(found.diff)) == 4  # fmt: skip


def test_a_limit_that_the_source_lacks_is_added() -> None:
    start, end = repo.TEXT.index("        resources:"), repo.TEXT.index("        readinessProbe:")
    text = repo.TEXT[:start] + repo.TEXT[end:]
    (found,) = repo.fix(repo.finding(IncidentClass.OOM_KILLED, **OOM), text=text)
    accepted(found, text)
    assert [line[1:].strip() for line in repo.changed_lines(found.diff)] == ["resources:", "limits:", "memory: 128Mi"]


@pytest.mark.parametrize(
    ("parameters", "settings", "reason"),
    [
        ({"limit": "32Mi"}, {}, "Drifted"),
        ({"limit": "lots"}, {}, "UnreadableQuantity"),
        ({}, {"max_memory": "64Mi"}, "CapReached"),
        ({}, {"classes": ["Storage"]}, "ClassNotAllowed"),
    ],
)
def test_a_raise_that_is_not_safe_is_refused(parameters: dict[str, Any], settings: dict[str, Any], reason: str) -> None:
    found = repo.finding(IncidentClass.OOM_KILLED, **OOM | parameters)
    assert refusal(repo.fix, found, **settings) == reason


@pytest.mark.parametrize(
    ("value", "like", "text"),
    [
        (2**27, "64Mi", "128Mi"), (2**30, "512Mi", "1Gi"), (1.5 * 2**30, "1Gi", "1536Mi"), (2**27, "67108864", "128Mi"),
        (2e8, "100M", "200M"), (1e9, "500M", "1G"), (1.5e6, "1M", "1M"), (2**19, "256Ki", "512Ki"), (5e5, "1k", "500k"), (1.5 * 2**20, "x", "1Mi"),
    ],
)  # fmt: skip
def test_quantities_stay_in_their_family(value: float, like: str, text: str) -> None:
    assert memory_fix.render_quantity(value, like=like) == text


def test_the_cap_bounds_the_step() -> None:
    (found,) = repo.fix(repo.finding(IncidentClass.OOM_KILLED, **OOM), max_memory="100Mi")
    assert "= 100Mi" in found.arithmetic


def test_a_container_that_the_source_lacks_is_refused() -> None:
    assert refusal(repo.fix, repo.finding(IncidentClass.OOM_KILLED, container="proxy", **OOM)) == "SourceNotFound"


def image(class_: IncidentClass, wanted: str = "nginx:9.9", *items: Any, **parameters: Any) -> list[str]:
    known: dict[str, Any] = {"image": wanted, "fault": "MissingTag", "ran": [], "tags": [], "tags_known": False}
    text = repo.TEXT.replace("nginx:9.9", wanted)
    found = repo.fix(repo.finding(class_, **known | parameters), *items, text=text)
    lines = []
    for proposal in found:
        if "latest" not in wanted:
            accepted(proposal, text)
        old, new = repo.changed_lines(proposal.diff)
        assert old.replace(wanted, "") == new.replace("+", "-").replace(str(proposal.edits[0].new), "")
        lines.append(f"{proposal.edits[0].new} {proposal.risk}")
    return lines


TAG, REPOSITORY = IncidentClass.INVALID_IMAGE_TAG, IncidentClass.IMAGE_PULL_BACK_OFF


def test_the_last_tag_that_ran_goes_before_the_nearest() -> None:
    listed = {"tags": ["1.26", "1.27", "9.8", "latest"], "tags_known": True}
    assert image(TAG, ran=["other:1", "nginx:latest", "nginx:1.25", "nginx:1.26"], **listed) == ["nginx:1.26 Low", "nginx:9.8 Medium"]
    assert image(TAG, ran=["nginx:1.25"]) == ["nginx:1.25 Low"]
    assert image(TAG, ran=["nginx@sha256:ab"], **listed)[0] == "nginx@sha256:ab Low"
    assert image(TAG, tags=["1.27"], tags_known=True) == ["nginx:1.27 High"]
    assert image(TAG, ran=["nginx:9.8"], **listed) == ["nginx:9.8 Low"]


def test_without_any_known_tag_a_person_decides() -> None:
    found = repo.finding(TAG, image="nginx:9.9", fault="MissingTag", ran=[], tags=["latest"], tags_known=True)
    assert refusal(repo.fix, found) == "NoSafeFix"


def test_the_source_must_say_what_runs() -> None:
    found = repo.finding(TAG, image="nginx:9.8", fault="MissingTag", ran=["nginx:1"], tags=[], tags_known=False)
    assert refusal(repo.fix, found) == "Drifted"


def test_the_repository_that_ran_is_right() -> None:
    fault = {"fault": "MissingRepository"}
    assert image(REPOSITORY, "ngnix:1.27", ran=["ngnix:1", "nginx:latest", "nginx:1.26", "web:1"], **fault) == ["nginx:1.26 Low"]
    assert image(REPOSITORY, "ngnix:1.27", make.tags("nginx", "1.27"), ran=["nginx:1.26"], **fault) == [
        "nginx:1.27 Low", "nginx:1.26 Low",
    ]  # fmt: skip


def test_the_one_near_name_of_siblings_or_registry_is_right() -> None:
    fault = {"fault": "UnknownHost"}
    other = make.sibling("api", "registry.local:5000/shop/web:1", "redis:7", "nginx:latest", "BAD:1")
    assert image(REPOSITORY, "registry.lokal:5000/shop/web:2", other, **fault) == ["registry.local:5000/shop/web:1 Medium"]
    listed = make.tags("registry.local:5000/shop/web", "1", "2")
    assert image(REPOSITORY, "registry.lokal:5000/shop/web:2", other, listed, **fault) == ["registry.local:5000/shop/web:2 Medium"]
    assert image(REPOSITORY, "ngnix:1.27", make.tags("nginx", "1.27"), fault="MissingRepository") == ["nginx:1.27 Medium"]
    full = image(REPOSITORY, "docker.io/library/ngnix:1.27", make.tags("nginx", "1.27"), fault="MissingRepository")
    assert full == ["docker.io/library/nginx:1.27 Medium"]
    team = image(REPOSITORY, "bitnami/ngnix:1.27", make.tags("bitnami/nginx", "1.27"), fault="MissingRepository")
    assert team == ["bitnami/nginx:1.27 Medium"]
    broken = make.sibling("api", "nginx:9.9")
    nearest = image(REPOSITORY, "ngnix:1.99", make.tags("nginx", "1.26", "1.27"), broken, fault="MissingRepository")
    assert nearest == ["nginx:1.27 High"]
    newest = image(REPOSITORY, "ngnix:stable", make.tags("nginx", "1.26", "1.27"), fault="MissingRepository")
    assert newest == ["nginx:1.27 High"]


def test_no_near_name_or_no_proven_tag_is_for_a_person() -> None:
    def of(*items: Any, wanted: str = "ngnix:1.27", fault: str = "MissingRepository") -> str:
        found = repo.finding(REPOSITORY, image=wanted, fault=fault, ran=[], tags=[], tags_known=False)
        return refusal(repo.fix, found, *items, text=repo.TEXT.replace("nginx:9.9", wanted))

    assert of() == "NoSafeFix"
    assert of(make.sibling("a", "redis:7")) == "NoSafeFix"
    assert of(make.tags("nginx", exists=False)) == "NoSafeFix"
    assert of(make.tags("nginx", "latest"), wanted="ngnix:latest") == "NoSafeFix"
    assert of(fault="Unknown") == "NoSafeImage"


def probe(**parameters: Any) -> dict[str, Any]:
    return {"fault": "Port", "probes": ["readinessProbe"], "handler": "httpGet", "field": "port", "old": 8081, "new": 8080} | parameters


def test_a_probe_is_corrected_in_one_line_and_stays() -> None:
    (found,) = repo.fix(repo.finding(IncidentClass.FAILED_HEALTH_CHECK, **probe()))
    accepted(found)
    assert repo.changed_lines(found.diff) == ["-            port: 8081", "+            port: 8080"]
    assert found.risk == "Low"
    (unsure,) = repo.fix(repo.finding(IncidentClass.FAILED_HEALTH_CHECK, confidence=0.8, **probe()))
    assert unsure.risk == "Medium"


def test_a_scheme_that_the_source_leaves_to_its_default_is_added() -> None:
    (found,) = repo.fix(repo.finding(IncidentClass.FAILED_HEALTH_CHECK, **probe(field="scheme", old="HTTP", new="HTTPS")))
    accepted(found)
    assert repo.changed_lines(found.diff) == ["+            scheme: HTTPS"]


def test_a_probe_that_is_not_wrong_in_itself_is_for_a_person() -> None:
    class_ = IncidentClass.FAILED_HEALTH_CHECK
    assert refusal(repo.fix, repo.finding(class_, fault="Timing", probe="readinessProbe", timeout=5.0)) == "NeedsPerson"
    assert refusal(repo.fix, repo.finding(class_, **probe(new=None))) == "NeedsPerson"
    assert refusal(repo.fix, repo.finding(class_, **probe(probes=["livenessProbe"]))) == "Drifted"


def test_the_image_that_ran_is_put_back_when_it_broke_the_probe() -> None:
    found = repo.fix(repo.finding(IncidentClass.FAILED_HEALTH_CHECK, fault="ImageChanged", image="nginx:9.9", ran=["nginx:latest", "nginx:1.27"]))
    assert [(entry.edits[0].new, entry.risk) for entry in found] == [("nginx:1.27", "Medium")]


def test_a_class_without_a_fix_says_so() -> None:
    assert refusal(repo.fix, repo.finding(IncidentClass.UNKNOWN)) == "NoFixForClass"


def test_a_diagnosis_without_the_parameters_of_its_class_is_refused() -> None:
    assert refusal(repo.fix, repo.finding(IncidentClass.OOM_KILLED)) == "NotEnoughKnown"
    assert refusal(repo.fix, repo.finding(TAG)) == "NotEnoughKnown"


def test_equal_proposals_are_given_once() -> None:
    once = image(REPOSITORY, "ngnix:1.27", make.tags("nginx", "1.27"), ran=["nginx:1.27"], fault="MissingRepository")
    assert once == ["nginx:1.27 Low"]
