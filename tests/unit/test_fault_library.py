"""The fault library itself: complete, sensible, and judged strictly; no cluster."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt

import pytest
from tests.e2e.faults import judging, library, running

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis.evidence import Bundle, Finding

FAULTS = {fault.name: fault for fault in library.load_all()}


def test_there_are_enough_of_every_kind() -> None:
    shown = {one for fault in FAULTS.values() for one in fault.accepted}
    assert {one.value for one in IncidentClass} - {"Unknown"} <= shown
    assert len(FAULTS) >= 45
    assert sum(name.startswith("blind-") for name in FAULTS) == 12
    assert sum(fault.action != "fix" for fault in FAULTS.values()) >= 8
    assert sum(fault.healthy for fault in FAULTS.values()) >= 8
    assert sum(fault.by_model for fault in FAULTS.values()) >= 5
    kinds = collections.Counter(fault.target.partition("/")[0] for fault in FAULTS.values())
    assert {"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod"} <= set(kinds)


def test_the_sample_has_at_least_twelve_classes() -> None:
    assert len({fault.class_ for fault in FAULTS.values() if fault.sample and not fault.healthy}) >= 12


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_fault_is_whole(name: str) -> None:
    fault = FAULTS[name]
    assert fault.why
    assert fault.symptom
    assert fault.decoys
    assert fault.healthy or fault.cause
    objects = library.parse(fault.manifests)
    assert fault.target in set(library.targets_of(objects))
    assert set(fault.quiet) <= set(library.targets_of(objects))
    assert all(library.parse(library.decoy_text(decoy)) for decoy in fault.decoys)
    assert fault.healthy or library.twin_text(fault) is not None
    assert fault.class_ == library.HEALTHY or fault.class_ in {one.value for one in IncidentClass}


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_no_name_of_a_manifest_is_left_after_drawing(name: str) -> None:
    fault = FAULTS[name]
    texts = (fault.shared, *fault.before, fault.manifests)
    names = library.Names.draw(*texts, namespace="team-x", placeholder=fault.namespace, keep=fault.keep)
    given = {one["metadata"]["name"] for text in texts for one in library.parse(text)} - fault.keep
    drawn = {one["metadata"]["name"] for text in texts for one in library.parse(names(text))} - fault.keep
    assert not given & drawn
    assert len(drawn) == len(given)


def test_names_are_replaced_as_whole_words_only() -> None:
    names = library.Names({"cart": "oak-1", "cart-db": "oak-2"})
    assert names("cart, cart-db, cart-db-0 and my-cart/cart") == "oak-1, oak-2, cart-db-0 and my-cart/oak-1"


def make_look(*findings: Finding, failing: bool = True, target: str = "Deployment/a") -> running.Look:
    bundle = Bundle(target=library.ref_of(target), namespace="x", now=dt.datetime(2026, 11, 23, tzinfo=dt.UTC))
    return running.Look(target, bundle, findings, failing, 0.1)


def make_finding(class_: str = "OOMKilled", cause: str = "OOM at its limit of 64Mi", **more: object) -> Finding:
    plain = Finding(
        class_=IncidentClass(class_), cause=cause, confidence=0.9, evidence=("pod/a",), container="indexer"
    )
    return dataclasses.replace(plain, **more)  # type: ignore[arg-type]


def make_result(*findings: Finding, name: str = "blind-sidecar-killed", failing: bool = True) -> running.Result:
    result = running.Result(FAULTS[name], library.Names({}))
    result.looks = [make_look(*findings, failing=failing)]
    return result


def test_the_right_finding_is_right() -> None:
    verdict = judging.judge(make_result(make_finding()))
    assert verdict.problems == ()
    assert (verdict.class_right, verdict.cause_right, verdict.target_right) == (True, True, True)


@pytest.mark.parametrize(
    ("findings", "problem"),
    [
        ((), "class: expected OOMKilled"),
        ((make_finding("CrashLoopBackOff"),), "class: expected OOMKilled"),
        ((make_finding(confidence=0.3),), "class: expected OOMKilled"),
        ((make_finding(cause="it is broken"),), "cause: says nothing of"),
        ((make_finding(container=None),), "container: expected indexer"),
        ((make_finding(), make_finding(cause="OOM again, 64Mi")), "more than one finding"),
        ((make_finding(evidence=()),), "quotes no evidence"),
    ],
)
def test_what_is_wrong_is_said(findings: tuple[Finding, ...], problem: str) -> None:
    assert problem in " ".join(judging.judge(make_result(*findings)).problems)


def test_the_healthy_must_stay_silent() -> None:
    result = make_result(make_finding())
    result.twins = [make_look(make_finding(), failing=False)]
    result.decoys = [make_look(failing=True)]
    verdict = judging.judge(result)
    assert not verdict.quiet
    assert len(verdict.problems) == 2


@pytest.mark.parametrize(("failing", "right"), [(False, True), (True, False)])
def test_nothing_to_find_is_right_only_if_nothing_is_said_to_be_wrong(failing: bool, right: bool) -> None:
    assert judging.judge(make_result(name="idle-healthy", failing=failing)).class_right is right


def test_a_cause_that_no_rule_knows_may_go_unnamed_but_not_unseen() -> None:
    assert judging.judge(make_result(name="meaning-licence")).class_right
    assert not judging.judge(make_result(name="meaning-licence", failing=False)).class_right
    assert not judging.judge(make_result(make_finding("Storage"), name="meaning-licence")).class_right


def test_a_finding_that_changes_is_not_repeatable() -> None:
    result = make_result(make_finding())
    result.looks.append(make_look(make_finding("CrashLoopBackOff")))
    assert not judging.judge(result).repeatable


def test_what_could_not_be_shown_is_not_right() -> None:
    result = make_result(make_finding())
    result.trouble = "the symptom did not show"
    verdict = judging.judge(result)
    assert not verdict.class_right
    assert verdict.problems == ("the symptom did not show",)
