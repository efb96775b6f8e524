"""Lifecycle, clock, windows, mapping and conditions."""

from __future__ import annotations

import datetime as dt

import pytest
from tests.unit.domain import factories as f

from selfheal.api.incident import Handover, Phase, Receipt
from selfheal.api.policy import PolicySpec, Window
from selfheal.domain import clock, conditions, lifecycle, mapping, windows
from selfheal.domain.conditions import Standing

P = Phase
MINUTE = dt.timedelta(minutes=1)


def test_the_history_keeps_the_newest_fifty() -> None:
    status = f.status()
    for n in range(60):
        status = lifecycle.enter(status, P.PR_CREATED, by="operator", at=f.NOW, why=str(n), now=f.NOW)
    assert [entry.why for entry in status.history] == [str(n) for n in range(10, 60)]


@pytest.mark.parametrize("phase", Phase)
def test_a_new_run_is_fresh_and_keeps_what_its_phase_implies(phase: Phase) -> None:
    full = f.status(P.VERIFICATION_COMPLETE, duplicate_of="a/b", receipts=[Receipt(key="k", kind="c", at=f.NOW)])
    begun = lifecycle.begin_run(full.evolve(phase=phase))
    at = list(Phase).index(phase)
    assert begun.run == 2
    assert (begun.attempts.analysis, begun.receipts, begun.duplicate_of) == (0, [], None)
    assert (begun.diagnosis is not None) is (at >= 2)
    assert (begun.fix is not None) is (at >= 4)
    assert (begun.pull_request is not None) is (at >= 6)
    assert begun.verification is None


def test_the_clock_never_runs_while_it_stands() -> None:
    running = clock.start(f.NOW)
    later = f.NOW + 5 * MINUTE
    assert clock.run(running, later, running=True) is running
    standing = clock.run(running, later, running=False)
    assert clock.run(standing, later, running=False) is standing
    assert clock.compute_elapsed(standing, later + 99 * MINUTE) == 5 * MINUTE
    again = clock.run(standing, later + 99 * MINUTE, running=True)
    assert clock.compute_elapsed(again, later + 100 * MINUTE) == 6 * MINUTE
    assert clock.compute_elapsed(running, f.NOW - MINUTE) == dt.timedelta(0)


def test_verification_may_take_its_window_and_thirty_minutes() -> None:
    found = clock.compute_timeout(P.VERIFICATION_IN_PROGRESS, f.policy(), None, f.status())
    assert found == 40 * MINUTE
    for phase in (P.INCIDENT_RESOLVED, P.INCIDENT_REQUIRES_HUMAN):
        assert clock.compute_timeout(phase, f.policy(), None, f.status()) is None
    repo = f.repository(pullRequest={"reviewTimeout": "2h"})
    assert clock.compute_timeout(P.PR_CREATED, f.policy(), repo, f.status()) == 120 * MINUTE


def window(cron: str, duration: str = "2h", zone: str = "UTC") -> Window:
    return Window.model_validate({"cron": cron, "duration": duration, "timeZone": zone})


@pytest.mark.parametrize(
    ("cron", "zone", "hours_left"),
    [
        ("0 11 * * *", "UTC", 1), ("0 12 * * 1", "UTC", 2), ("0 12 * * 0,7", "UTC", None),
        ("30 9 * * *", "UTC", None), ("0 12 5 1 *", "Europe/Berlin", 1), ("*/30 10-11 * * *", "UTC", 1.5),
        ("0 8/4 * * *", "UTC", 2), ("1 12 * * *", "UTC", None), ("0 10 * * *", "UTC", None),
    ],
)  # fmt: skip
def test_windows_cover_from_their_start(cron: str, zone: str, hours_left: float | None) -> None:
    until = windows.active_until([window(cron, zone=zone)], f.NOW)
    assert until == (None if hours_left is None else f.NOW + dt.timedelta(hours=hours_left))


def test_the_last_end_of_several_windows_counts() -> None:
    both = [window("0 11 * * *"), window("0 12 * * *"), window("0 3 * * *")]
    assert windows.active_until(both, f.NOW) == f.NOW + dt.timedelta(hours=2)
    assert windows.active_until([], f.NOW) is None


@pytest.mark.parametrize("cron", ["* * * *", "60 * * * *", "a * * * *", "*/0 * * * *", "5-1 * * * *"])
def test_a_cron_that_is_wrong_says_where(cron: str) -> None:
    with pytest.raises(ValueError, match="cron"):
        windows.parse_cron(cron)


def spec(*repositories: dict, **more) -> PolicySpec:
    return PolicySpec.model_validate({"code": {"repositories": list(repositories)}, **more})


def labelled(**labels: str) -> dict:
    match = {"namespaces": ["production"], "selector": {"matchLabels": labels}}
    return f.repository_wire(match=match)


def test_the_mapping_that_serves_a_target() -> None:
    rules = spec(labelled(team="a"), labelled(team="b"))
    assert mapping.check_policy(rules) == []
    found = mapping.find_repository(rules, "production", {"team": "b", "x": "y"})
    assert found is rules.code.repositories[1]
    assert mapping.find_repository(rules, "production", {}) is None
    assert mapping.find_repository(rules, "staging", {"team": "a"}) is None


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        (spec(labelled(team="a"), labelled(tier="b")), "code.repositories[1].match"),
        (spec(tracker={"type": "Jira"}), "tracker.project"),
        (spec(freeze=[{"cron": "x", "duration": "1h"}]), "freeze[0]"),
        (spec(maintenance=[{"cron": "0 0 * * *", "duration": "1h", "timeZone": "Mars/X"}]), "maintenance[0]"),
        (spec(f.repository_wire(merge={"by": "Person", "requireApproval": False})),
         "code.repositories[0].merge.requireApproval"),
        (spec(tracker={"statuses": {"INCIDENT_DETECTED": ["A"]}}), "tracker.statuses.INCIDENT_RESOLVED"),
    ],
)  # fmt: skip
def test_a_wrong_policy_names_the_exact_field(rules: PolicySpec, field: str) -> None:
    assert any(line.startswith(f"{field}:") for line in mapping.check_policy(rules))


def test_a_right_policy_has_no_problems() -> None:
    window_ = [{"cron": "0 0 * * *", "duration": "1h"}]
    assert mapping.check_policy(f.policy(freeze=window_, maintenance=window_)) == []
    assert mapping.check_policy(mapping.built_in_policy("default").spec) == []


def test_namespaces_identity_and_names() -> None:
    rules = f.policy(namespaceSelector={"matchLabels": {"heal": "yes"}})
    assert mapping.serves_namespace(rules, {"heal": "yes", "a": "b"})
    assert not mapping.serves_namespace(rules, {})
    bare = mapping.compute_identity("u", rules.tracker, None)
    assert (bare.repository, bare.branch, bare.path) == (None, None, None)
    assert f.identity().repository == "acme/gitops"
    assert mapping.slug("Checkout: OOM!") == "checkout-oom"
    assert mapping.slug("???") == "incident"
    assert mapping.slug("a" * 39 + "-b") == "a" * 39


LIVE = Standing(tracked=True, dry=False)


def shown(status, standing=LIVE, before=(), now=f.NOW) -> dict:
    found = conditions.compute(before, status, standing, generation=3, now=now)
    return {c.type: c for c in found}


@pytest.mark.parametrize(
    ("status", "standing", "ready", "reason", "extra"),
    [
        (f.status(), LIVE, "False", "InProgress", "Reconciling"),
        (f.status(P.INCIDENT_RESOLVED), LIVE, "True", "Resolved", None),
        (f.status(P.INCIDENT_REQUIRES_HUMAN), LIVE, "False", "NeedsPerson", None),
        (f.status(P.ANALYSIS_COMPLETE), Standing(tracked=False, dry=True), "False", "DryRun", None),
        (f.status(), Standing(tracked=True, dry=False, asleep=True), "False", "InProgress", None),
        (f.status(), Standing(tracked=True, dry=False, stalled=("R", "m")), "False", "InProgress", "Stalled"),
    ],
)
def test_ready_and_what_is_present_only_when_true(status, standing, ready, reason, extra) -> None:
    found = shown(status, standing)
    assert (found["Ready"].status, found["Ready"].reason) == (ready, reason)
    assert {"Stalled", "Reconciling"} & set(found) == ({extra} if extra else set())
    assert all(c.observed_generation == 3 for c in found.values())


@pytest.mark.parametrize(
    ("status", "standing", "reason"),
    [
        (f.status(), LIVE, "Synced"),
        (f.status(ticket=None), LIVE, "NotCreated"),
        (f.status(), Standing(tracked=True, dry=False, unknown_status="Parked"), "UnknownStatus"),
        (f.status(), Standing(tracked=False, dry=False), "NoTracker"),
        (f.status(), Standing(tracked=False, dry=True), "DryRun"),
    ],
)
def test_whether_the_ticket_agrees(status, standing, reason) -> None:
    found = shown(status, standing)["TicketSynced"]
    assert (found.reason, found.status) == (reason, "True" if reason == "Synced" else "False")


@pytest.mark.parametrize("phase", list(Phase)[:14])
def test_milestones_follow_the_phases(phase: Phase) -> None:
    found = shown(f.status(phase))
    at = list(Phase).index(phase)
    for name, from_ in {"Diagnosed": 2, "FixProposed": 4, "PullRequestMerged": 9, "Deployed": 11, "Verified": 13}.items():
        assert (found[name].status == "True") is (at >= from_), name


def test_a_failed_proof_and_a_degraded_model_are_said() -> None:
    over = Handover(phase=P.VERIFICATION_IN_PROGRESS, reason="VerificationFailed", message="m", at=f.NOW, run=1)
    assert shown(f.status(P.INCIDENT_REQUIRES_HUMAN, handover=over))["Verified"].reason == "Failed"
    found = shown(f.status(), Standing(tracked=True, dry=False, degraded="no key"))
    assert found["ModelDegraded"].message == "no key"


def test_the_time_of_a_condition_changes_only_with_its_status() -> None:
    first = shown(f.status(message="a"))
    later = f.NOW + MINUTE
    second = shown(f.status(P.ANALYSIS_COMPLETE, message="b"), before=first.values(), now=later)
    assert second["Ready"].last_transition_time == f.NOW
    assert second["Ready"].message == "b"
    assert second["Diagnosed"].last_transition_time == later
