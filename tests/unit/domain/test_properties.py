"""What holds for every consistent view."""

from __future__ import annotations

import datetime as dt

import hypothesis
from hypothesis import strategies as st
from tests.unit.domain import factories as f

from selfheal.api.incident import Attempts, Phase, PhaseClock
from selfheal.domain import clock, derive, phases
from selfheal.domain.decisions import Advance, Escalate, NeedFacts
from selfheal.domain.facts import ChecksState, DuplicateFacts, ReviewState, WorkloadFacts
from selfheal.domain.machine import decide

QUICK = hypothesis.settings(max_examples=250, deadline=None, derandomize=True, database=None)
names = st.sampled_from([*sorted(set(f.NAMES.values())), "Parked"])
moves = st.lists(st.tuples(names, st.sampled_from([f.ANNA, f.BEN, f.OPERATOR])), max_size=5)


@st.composite
def views(draw):
    phase = draw(st.sampled_from(Phase))
    known = f.status(
        phase,
        clock=PhaseClock(elapsed_seconds=draw(st.sampled_from([0, 1000, 10**6]))),
        attempts=Attempts(analysis=draw(st.integers(0, 3)), fix=draw(st.integers(0, 2))),
        verification=draw(st.sampled_from([None, f.held(1), f.held(11), f.held(None)])),
        run=draw(st.integers(1, 2)),
    )
    for field in ("target", "diagnosis", "fix", "pull_request", "ticket"):
        if draw(st.integers(0, 5)) == 0:
            known = known.evolve(**{field: None})
    reviews = tuple(f.review(s) for s in draw(st.lists(st.sampled_from(ReviewState), max_size=2)))
    checks = draw(st.sampled_from(ChecksState))
    pull = draw(st.sampled_from([
        None, f.merged(), f.pull(reviews=reviews, required_checks=checks, mergeable=draw(st.booleans())),
    ]))  # fmt: skip
    return f.view(
        known,
        rules=f.policy(tracker=draw(st.booleans()), mode=draw(st.sampled_from(["Observe", "Suggest", "PullRequest"]))),
        repo=f.repository(merge={"requireApproval": draw(st.booleans())}),
        spec={"suspend": draw(st.integers(0, 9)) == 0, "dry_run": draw(st.integers(0, 9)) == 0},
        ticket=draw(st.sampled_from([None, f.ticket(status=f.NAMES[phase])])),
        synced=draw(st.booleans()), pull_request=pull,
        diagnosis=draw(st.sampled_from([None, f.diagnosis(not_failing=True), f.diagnosis(confidence=0.1)])),
        proposal=draw(st.sampled_from([None, f.proposal(), f.proposal(refused="no")])),
        workload=draw(st.sampled_from([WorkloadFacts(exists=True), WorkloadFacts(exists=False)])),
        duplicate=draw(st.sampled_from([DuplicateFacts(), DuplicateFacts(primary="a/b", primary_phase=phase)])),
        carries_change=draw(st.booleans()), hide=tuple(draw(st.sets(st.sampled_from(f.ALL), max_size=2))),
        policy={"read_only": draw(st.integers(0, 9)) == 0, "has_model": draw(st.booleans())},
    )  # fmt: skip


@QUICK
@hypothesis.given(views())
def test_decide_only_ever_asks_or_makes_a_legal_decision(view) -> None:
    try:
        decision = decide(view)
    except NeedFacts as asked:
        missing = asked.names
    else:
        missing = frozenset()
    assert not missing & view.facts.observed
    if missing:
        return
    assert decide(view) == decision
    if isinstance(decision, Advance):
        assert phases.is_legal_for_operator(view.phase, decision.to)
        assert (decision.resolution is not None) is (decision.to is Phase.INCIDENT_RESOLVED)
    if isinstance(decision, Escalate):
        assert phases.is_legal_for_operator(view.phase, Phase.INCIDENT_REQUIRES_HUMAN)


@QUICK
@hypothesis.given(st.sampled_from(Phase), moves, st.none() | st.sampled_from(Phase))
def test_derive_is_idempotent_and_the_run_never_shrinks(phase, made, to) -> None:
    status = f.status(phase, intent=f.intent(to) if to else None, history=f.status().history * 50)
    ticket = f.ticket(*[f.move(11 + n, name, by=by) for n, (name, by) in enumerate(made)])
    once = derive.derive(status, ticket, f.NOW).status
    assert derive.derive(once, ticket, f.NOW).status == once
    assert once.run in (status.run, status.run + 1)
    assert len(once.history) <= 50
    people = [name for name, by in made if not by.is_operator]
    if people and people[-1] != "Parked" and made[-1][1] is not f.OPERATOR:
        assert f.NAMES[once.phase] == people[-1]


@QUICK
@hypothesis.given(st.lists(st.tuples(st.booleans(), st.integers(0, 10**5)), max_size=12))
def test_only_running_time_counts(spans) -> None:
    now, known, counted = f.NOW, clock.start(f.NOW), dt.timedelta(0)
    for running, seconds in spans:
        known = clock.run(known, now, running=running)
        now += dt.timedelta(seconds=seconds)
        counted += dt.timedelta(seconds=seconds if running else 0)
    assert clock.compute_elapsed(known, now) == counted
