"""What is configured wrongly is said in a condition and an event, costs little, and mends by itself."""

from __future__ import annotations

import datetime as dt

import pytest
from tests.scenario.world import FILE, KEY, SOURCE, World, approve_when_asked, policy_spec

from selfheal.api.incident import Phase, Resolution
from selfheal.domain import errors, phases

TEN_MINUTES = 600
BOUND = 400
"""Port calls in ten minutes of standing still: a look every 30 s at the most, each of few calls."""


def fresh(**fields: object) -> World:
    world = World(**fields)  # type: ignore[arg-type]
    world.people.append(approve_when_asked)
    return world


async def assert_stalls(world: World, *, reason: str, says: str, at: Phase | None = None) -> None:
    """It says what is wrong and what mends it, once, and does not storm for ten minutes."""
    await world.run_until(lambda w: w.condition("Stalled") is not None)
    await world.run_for(TEN_MINUTES)
    before, events = len(world.calls), len(world.store.events)
    patches = world.store.status_patches[KEY]
    await world.run_for(TEN_MINUTES)
    stalled = world.condition("Stalled")
    assert stalled is not None, world.describe()
    assert stalled.reason == reason
    assert says in stalled.message
    assert world.status.message == stalled.message
    assert world.condition("Ready").status == "False"
    assert world.condition("Reconciling") is None
    told = [e for e in world.store.events if e.type == "Warning" and e.reason == reason]
    assert len(told) == 1, [e.message for e in told]
    assert says in told[0].message
    assert len(world.store.events) == events
    assert len(world.calls) - before <= BOUND
    assert world.store.status_patches[KEY] - patches <= 30, world.patches[-30:]
    if at is not None:
        assert world.phase is at


async def assert_goes_on(world: World) -> None:
    """Within a minute of having been mended it goes on, to the end."""
    before = world.clock.seconds
    await world.run_until(lambda w: w.condition("Stalled") is None)
    assert world.clock.seconds - before <= 61
    await world.run_to_end()
    assert world.status.resolution is Resolution.FIXED, world.describe()
    adopted = world.incident.spec.ticket_key is not None
    assert world.tracker.created["ticket"] == (0 if adopted else 1)


async def test_unknown_policy() -> None:
    world = fresh()
    world.file_incident(policyRef="strict")
    await assert_stalls(world, reason="PolicyInvalid", says="there is no SelfHealingPolicy strict")
    assert not world.tracker.tickets
    world.store.apply_policy("strict", policy_spec())
    await assert_goes_on(world)


async def test_policy_that_is_wrong() -> None:
    world = fresh()
    world.file_incident(policy_spec(tracker={"project": None}))
    await assert_stalls(world, reason="PolicyInvalid", says="tracker.project")
    world.store.apply_policy("default", policy_spec())
    await assert_goes_on(world)


@pytest.mark.parametrize(
    "error",
    [
        errors.Stalled(
            "Secret selfheal-system/jira does not exist; create it", reason="CredentialsMissing"
        ),
        errors.Unauthorized("Jira refuses the token; replace it in Secret jira", system="jira"),
        errors.Unreachable("Jira cannot be reached at https://jira.test", system="jira"),
    ],
    ids=["missing", "refused", "down"],
)
async def test_tracker_cannot_be_used(error: errors.Stalled) -> None:
    world = fresh()
    world.tracker_error = error
    world.file_incident()
    await assert_stalls(world, reason=error.reason, says=error.message)
    assert world.status.attempts.analysis == 0
    world.tracker_error = None
    await assert_goes_on(world)


async def test_tracker_goes_down_in_the_middle() -> None:
    world = fresh()
    world.file_incident()
    await world.run_until(Phase.FIX_GENERATION_IN_PROGRESS)
    world.tracker.outage = errors.Unreachable("Jira is down", system="jira")
    await assert_stalls(world, reason="Unreachable", says="Jira is down")
    assert world.code.created.total() == 0, "nothing is pushed while the ticket cannot be read"
    world.tracker.outage = None
    await assert_goes_on(world)


async def test_code_host_goes_down() -> None:
    world = fresh()
    world.code.outage = errors.Unauthorized("GitHub refuses the token", system="github")
    world.file_incident()
    await assert_stalls(
        world,
        reason="CredentialsRefused",
        says="GitHub refuses",
        at=Phase.FIX_GENERATION_IN_PROGRESS,
    )
    assert world.status.attempts.fix <= 1
    world.code.outage = None
    await assert_goes_on(world)
    assert world.status.attempts.fix == 1


async def test_cluster_goes_down() -> None:
    world = fresh()
    world.cluster.outage = errors.Forbidden(
        "pods are forbidden: bind the ClusterRole", system="k8s"
    )
    world.file_incident()
    await assert_stalls(world, reason="PermissionDenied", says="bind the ClusterRole")
    world.cluster.outage = None
    await assert_goes_on(world)


async def test_workflow_lacks_a_status() -> None:
    world = fresh()
    lacking = [name for name in world.tracker.statuses if name != "Generating Fix"]
    whole, world.tracker.statuses = world.tracker.statuses, lacking
    world.file_incident()
    await assert_stalls(
        world, reason="TransitionNotOffered", says="Generating Fix", at=Phase.ANALYSIS_COMPLETE
    )
    world.tracker.statuses = whole
    await assert_goes_on(world)


async def test_target_does_not_exist() -> None:
    world = fresh()
    world.cluster.remove("production", "Deployment", "checkout")
    world.file_incident()
    await assert_stalls(
        world, reason="TargetNotFound", says="Deployment checkout does not exist",
        at=Phase.INCIDENT_DETECTED,
    )  # fmt: skip
    world.apply_source(SOURCE.encode())
    await assert_goes_on(world)


async def test_target_that_never_comes_is_handed_over() -> None:
    world = fresh()
    world.cluster.remove("production", "Deployment", "checkout")
    world.file_incident()
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    assert world.clock.seconds < 3700
    assert world.status.handover is not None
    assert "does not exist" in world.status.handover.message


async def test_ticket_of_another_incident() -> None:
    world = fresh()
    world.tracker.add_ticket("checkout is down", labels=["selfheal-another"])
    world.file_incident(ticketKey="OPS-1")
    await assert_stalls(world, reason="TicketNotAdopted", says="belongs to another incident")
    assert world.tracker.writes.total() == 0
    world.tracker.label_by_person("OPS-1", remove=["selfheal-another"])
    await assert_goes_on(world)
    assert world.tracker.created["ticket"] == 0


async def test_ticket_that_the_policy_excludes() -> None:
    world = fresh()
    world.tracker.add_ticket("checkout is down")
    world.file_incident(
        policy_spec(tracker={"adoption": {"jql": "labels = may-heal"}}), ticketKey="OPS-1"
    )
    await assert_stalls(world, reason="TicketNotAdopted", says="tracker.adoption.jql")
    world.tracker.label_by_person("OPS-1", add=["may-heal"])
    await assert_goes_on(world)


async def test_ticket_that_does_not_exist() -> None:
    world = fresh()
    world.file_incident(ticketKey="OPS-1")
    await assert_stalls(world, reason="TicketMissing", says="OPS-1")
    world.tracker.add_ticket("checkout is down")
    await assert_goes_on(world)


async def test_repository_without_the_manifest() -> None:
    world = fresh()
    world.code.push("main", {FILE: None})
    world.file_incident()
    await assert_stalls(
        world, reason="SourceNotFound", says="checkout", at=Phase.FIX_GENERATION_IN_PROGRESS
    )
    assert world.status.attempts.fix == 0
    world.code.push("main", {FILE: SOURCE.encode()})
    await assert_goes_on(world)


async def test_manifest_that_never_comes_is_handed_over() -> None:
    world = fresh()
    world.code.push("main", {FILE: None})
    world.file_incident()
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    assert 1800 <= world.clock.seconds < 1900, "its time-out runs although it is stalled"
    assert world.status.handover is not None
    assert "declares Deployment checkout" in world.status.handover.message


async def test_no_repository_is_mapped() -> None:
    world = fresh()
    world.file_incident(policy_spec(code={"repositories": []}))
    await assert_stalls(world, reason="NoRepository", says="code.repositories")
    world.store.apply_policy("default", policy_spec())
    await assert_goes_on(world)


async def test_repository_cannot_be_seen() -> None:
    world = fresh()
    repositories = world.code.repositories
    world.code.repositories = {}
    world.file_incident()
    await assert_stalls(world, reason="RepositoryNotFound", says="acme/gitops")
    world.code.repositories = repositories
    await assert_goes_on(world)


async def test_ticket_is_deleted() -> None:
    world = fresh()
    world.file_incident()
    await world.run_until(Phase.ANALYSIS_COMPLETE)
    tickets = dict(world.tracker.tickets)
    world.tracker.delete_ticket(world.ticket.key)
    await assert_stalls(world, reason="TicketMissing", says="was deleted")
    assert world.tracker.created["ticket"] == 1, "a ticket that is gone is said, not replaced"
    world.tracker.tickets.update(tickets)
    await assert_goes_on(world)


async def test_policy_is_deleted_and_comes_back() -> None:
    world = fresh()
    world.file_incident(policyRef="shop")
    world.store.apply_policy("shop", policy_spec())
    await world.run_until(Phase.FIX_GENERATED)
    world.store.remove_policy("shop")
    await assert_stalls(world, reason="PolicyInvalid", says="there is no SelfHealingPolicy shop")
    assert world.phase is Phase.FIX_GENERATED
    world.store.apply_policy("shop", policy_spec())
    await assert_goes_on(world)
    assert world.status.run == 1


async def test_rate_limit_is_waited_out() -> None:
    world = fresh()
    world.file_incident()
    await world.run_until(Phase.ANALYSIS_COMPLETE)
    world.tracker.outage = errors.RateLimited("slow down", retry_after=dt.timedelta(minutes=7))
    before = world.clock.seconds
    await world.run_until(lambda w: w.status.backoff.until is not None)
    calls = len(world.calls)
    await world.run_for(6 * 60)
    assert len(world.calls) == calls, "nothing is asked before the server wants to be asked"
    world.tracker.outage = None
    await world.run_to_end()
    assert world.clock.seconds - before > 7 * 60


async def test_branch_that_does_not_exist() -> None:
    world = fresh()
    repo = world.code.repo()
    sha = repo.branches.pop("main")
    world.file_incident()
    await assert_stalls(world, reason="NotFound", says="no branch main")
    repo.branches["main"] = sha
    await assert_goes_on(world)


async def test_pull_request_that_disappears() -> None:
    world = World()
    world.file_incident()
    await world.run_until(Phase.PR_CREATED)
    pulls = dict(world.code.repo().pulls)
    world.code.repo().pulls.clear()
    await assert_stalls(world, reason="PullRequestMissing", says="cannot be read")
    world.code.repo().pulls.update(pulls)
    world.people.append(approve_when_asked)
    await assert_goes_on(world)


async def test_connection_that_is_configured_wrongly() -> None:
    world = fresh()
    world.connect_error = errors.Stalled("Secret mcp does not exist; create it", reason="x")
    world.file_incident()
    await assert_stalls(world, reason="PolicyInvalid", says="create it")
    world.connect_error = None
    await assert_goes_on(world)


async def test_hand_over_while_the_tracker_is_down() -> None:
    world = fresh()
    world.file_incident(policy_spec(guards={"maxMemory": "64Mi"}))
    await world.run_until(Phase.FIX_GENERATION_IN_PROGRESS)
    world.tracker.outage = errors.Unreachable("Jira is down", system="jira")
    await assert_stalls(world, reason="Unreachable", says="Jira is down")
    world.tracker.outage = None
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    assert world.ticket.status == "Needs Human Intervention"


@pytest.mark.parametrize("phase", list(phases.CHAIN[1:-1]), ids=str)
@pytest.mark.parametrize("system", ["tracker", "code", "cluster"])
async def test_outage_in_every_phase_costs_nothing_but_time(system: str, phase: Phase) -> None:
    world = fresh()
    world.file_incident()
    await world.run_until(phase)
    before = len(world.calls)
    getattr(world, system).outage = errors.Unreachable(f"{system} is down", system=system)
    await world.run_for(1200)
    assert len(world.calls) - before <= BOUND * 2
    getattr(world, system).outage = None
    await world.run_to_end()
    assert world.status.resolution is Resolution.FIXED, world.describe()
    assert world.phases() == list(phases.CHAIN)
    assert world.tracker.created == {"ticket": 1, "comment": 6, "remote_link": 1}
    assert world.code.created["pull_request"] == 1


async def test_conflict_that_stays_is_asked_ever_less_often() -> None:
    world = fresh()
    world.file_incident()
    await world.run_until(Phase.ANALYSIS_COMPLETE)
    transition = world.tracker.transition_ticket

    async def refuse(*_: object) -> None:
        raise errors.Conflict("409 from the workflow")

    world.tracker.transition_ticket = refuse  # type: ignore[method-assign]
    before = len(world.calls)
    await world.run_for(TEN_MINUTES)
    assert len(world.calls) - before <= BOUND
    assert "409 from the workflow" in world.status.message
    world.tracker.transition_ticket = transition  # type: ignore[method-assign]
    await world.run_to_end()
    assert world.status.resolution is Resolution.FIXED
