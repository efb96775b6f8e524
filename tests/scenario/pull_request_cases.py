"""What can happen to a pull request, in one table: who does it, where the incident ends, what is made.

Each case is a whole life. It runs on the fakes (``tests/scenario/test_pull_request_faults.py``) and with the real
GitHub adapter against the sandbox GitHub (``tests/contract/test_pull_request_faults_on_the_wire.py``), where the proxy in
front of it breaks what emulate itself cannot.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from tests.scenario.world import FILE, SOURCE, World

from selfheal.api.incident import Phase
from selfheal.domain import errors

HUMAN, RESOLVED = Phase.INCIDENT_REQUIRES_HUMAN, Phase.INCIDENT_RESOLVED
REVISE = {"pullRequest": {"onChangesRequested": "Revise"}}
TEAM = SOURCE.replace("payments team", "billing team").encode()
"""The file as somebody else's fix of it leaves it: the line above the one that our fix keeps."""


@dataclasses.dataclass(frozen=True)
class Trouble:
    """What goes wrong with calls of the code host: as our error, and as HTTP behind the adapter."""

    error: Callable[[], errors.SelfHealError]
    status: int
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: str = ""
    writes_only: bool = False


class Life(Protocol):
    """One world in which the cases are tried."""

    world: World
    side: Any  # a tests.contract.code_host_worlds.World: what people and pipelines do
    number: int

    async def break_calls(self, trouble: Trouble, *, times: int, after: bool = False) -> None:
        """Let each kind of call fail so many times, before or after it took effect."""

    async def mend(self) -> None:
        """Let every call succeed again."""

    async def replay_writes(self) -> None:
        """Make every write twice, as somebody does who did not hear the first answer."""

    def rewrite_base(self, files: Mapping[str, bytes]) -> None: ...
    def delete_branch(self) -> None: ...
    def close(self) -> None: ...
    def set_queue(self) -> None: ...
    def land_queue(self) -> None: ...


Happening = Callable[[Life], Awaitable[None]]


async def nothing(life: Life) -> None:
    """Nothing out of the ordinary."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One row; ``begins`` runs before the incident is filed, ``happens`` once its pull request is there."""

    name: str
    end: Phase
    reason: str = ""  # of the hand-over
    happens: Happening = nothing
    begins: Happening = nothing
    mapping: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    revisions: int = 0
    approved: bool = True  # by alice, each commit of ours once
    merged_by_us: bool = True


SYSTEM = "GitHub"
UNAVAILABLE = Trouble(lambda: errors.Transient("not available", system=SYSTEM), 503)
CUT_OFF = Trouble(lambda: errors.UnknownOutcome("cut off", system=SYSTEM), 502, writes_only=True)
WAIT = dt.timedelta(seconds=90)
PRIMARY = Trouble(
    lambda: errors.RateLimited("slow down", system=SYSTEM, retry_after=WAIT), 429,
    {"x-ratelimit-remaining": "0", "retry-after": "90"},
    '{"message": "API rate limit exceeded for user ID 1."}',
)  # fmt: skip
SECONDARY = Trouble(
    lambda: errors.RateLimited("slow down", system=SYSTEM, retry_after=WAIT), 403, {"retry-after": "90"},
    '{"message": "You have exceeded a secondary rate limit."}',
)  # fmt: skip
FORBIDDEN = Trouble(
    lambda: errors.Forbidden("no right", system=SYSTEM), 403, {},
    '{"message": "Resource not accessible by personal access token"}', writes_only=True,
)  # fmt: skip
HIDDEN = Trouble(
    lambda: errors.Stalled("not visible", reason="RepositoryNotFound", system=SYSTEM), 404, {},
    '{"message": "Not Found"}',
)  # fmt: skip
ARCHIVED = Trouble(
    lambda: errors.Forbidden("read-only", system=SYSTEM), 403, {},
    '{"message": "Repository was archived so is read-only."}', writes_only=True,
)  # fmt: skip


async def ask_for_changes(life: Life) -> None:
    life.side.request_changes(life.number, "bob", "Please use 256Mi.")


async def ask_and_approve_later(life: Life) -> None:
    await ask_for_changes(life)
    await life.world.run_until(_pushed)
    life.side.approve(life.number, "bob")


def _pushed(world: World) -> bool:
    known = world.status.pull_request
    return known is not None and bool(known.answered)


async def fail_checks(life: Life) -> None:
    life.side.protect(checks=("ci/test",))
    life.side.comment(life.number, "bob", "I am looking.")
    life.side.set_checks(life.number, {"ci/test": "failure"})


async def conflict(life: Life) -> None:
    life.side.push("main", {FILE: TEAM}, "bob")


async def move_base(life: Life) -> None:
    life.side.push("main", {"README.md": b"# other\n"}, "bob")
    life.side.protect(checks=("ci/test",), strict=True)
    life.world.people.append(lambda world: _pass_checks(life))


def _pass_checks(life: Life) -> None:
    if life.world.phase in (Phase.PR_CREATED, Phase.PR_UNDER_REVIEW, Phase.PR_APPROVED):
        life.side.set_checks(life.number, {"ci/test": "success"})


async def rewrite_base(life: Life) -> None:
    life.rewrite_base({FILE: TEAM, "README.md": b"# rewritten\n"})


async def merge_by_hand(life: Life) -> None:
    life.side.merge_by_person(life.number, "bob")


async def close(life: Life) -> None:
    life.close()


async def delete_branch(life: Life) -> None:
    life.delete_branch()


async def want_two_approvals(life: Life) -> None:
    life.side.protect(reviews=2)
    life.world.people.append(lambda world: _approve_second(life))


def _approve_second(life: Life) -> None:
    late = life.world.phase is Phase.PR_UNDER_REVIEW and life.world.clock.seconds > 120
    if late and not any(review == "bob" for review in life.approved_by):  # type: ignore[attr-defined]
        life.approved_by.append("bob")  # type: ignore[attr-defined]
        life.side.approve(life.number, "bob")


async def merge_by_queue(life: Life) -> None:
    life.set_queue()

    def land(world: World) -> None:
        if "merge queue" in world.status.message and world.phase is Phase.PR_APPROVED:
            life.land_queue()

    life.world.people.append(land)


def broken(trouble: Trouble, *, times: int, after: bool = False) -> Happening:
    """Return the beginning of a life in which each kind of call fails so many times."""

    async def begin(life: Life) -> None:
        await life.break_calls(trouble, times=times, after=after)

    return begin


def stalls(trouble: Trouble, reason: str) -> Happening:
    """Return what takes a right away until the incident says so, and gives it back after a while."""

    async def happen(life: Life) -> None:
        await life.break_calls(trouble, times=10_000)
        life.side.comment(life.number, "bob", "I am looking.")
        await life.world.run_until(lambda world: _is_stalled(world, reason))
        phase = life.world.phase
        await life.world.run_for(900)
        assert (life.world.phase, _is_stalled(life.world, reason)) == (phase, True)
        await life.mend()

    return happen


def _is_stalled(world: World, reason: str) -> bool:
    condition = world.condition("Stalled")
    return condition is not None and condition.reason == reason


async def replay(life: Life) -> None:
    await life.replay_writes()


CASES = (
    Case("nothing happens", RESOLVED),
    Case("changes requested, Escalate", HUMAN, "ChangesRequested", ask_for_changes, approved=False),
    Case("changes requested, Revise", RESOLVED, happens=ask_and_approve_later, mapping=REVISE, revisions=1, approved=False),
    Case("required checks fail, Revise", HUMAN, "ChecksFailed", fail_checks, mapping=REVISE, approved=False),
    Case("two fixes of one file conflict", RESOLVED, happens=conflict, revisions=1),
    Case("base moved on, and must be up to date", RESOLVED, happens=move_base, revisions=1),
    Case("base force-pushed", RESOLVED, happens=rewrite_base, revisions=1),
    Case("closed unmerged", HUMAN, "ClosedUnmerged", close, approved=False),
    Case("branch deleted by a person", HUMAN, "ClosedUnmerged", delete_branch, approved=False),
    Case("merged by hand early", RESOLVED, happens=merge_by_hand, approved=False, merged_by_us=False),
    Case("branch protection wants two approvals", RESOLVED, happens=want_two_approvals),
    Case("merge queue", RESOLVED, happens=merge_by_queue, merged_by_us=False),
    Case("repository archived for a while", RESOLVED, happens=stalls(ARCHIVED, "PermissionDenied")),
    Case("permission lost, 403", RESOLVED, happens=stalls(FORBIDDEN, "PermissionDenied")),
    Case("permission lost, 404", RESOLVED, happens=stalls(HIDDEN, "RepositoryNotFound")),
    Case("primary rate limit", RESOLVED, begins=broken(PRIMARY, times=1)),
    Case("secondary rate limit with Retry-After", RESOLVED, begins=broken(SECONDARY, times=1)),
    Case("5xx burst: each kind of call fails 4 times", RESOLVED, begins=broken(UNAVAILABLE, times=4)),
    Case("each write is done and its answer lost", RESOLVED, begins=broken(CUT_OFF, times=1, after=True)),
    Case("a revision, and each write's answer lost", RESOLVED, happens=ask_and_approve_later, mapping=REVISE, revisions=1,
         begins=broken(CUT_OFF, times=1, after=True), approved=False),
    Case("a conflict, and each write's answer lost", RESOLVED, happens=conflict, revisions=1,
         begins=broken(CUT_OFF, times=1, after=True)),
    Case("a revision in a 5xx burst", RESOLVED, happens=ask_and_approve_later, mapping=REVISE, revisions=1,
         begins=broken(UNAVAILABLE, times=3), approved=False),
    Case("a conflict in a 5xx burst", RESOLVED, happens=conflict, revisions=1, begins=broken(UNAVAILABLE, times=3)),
    Case("a revision, and each write is made twice", RESOLVED, happens=ask_and_approve_later, mapping=REVISE, revisions=1,
         begins=replay, approved=False),
    Case("a base force-pushed, and each write is made twice", RESOLVED, happens=rewrite_base, revisions=1, begins=replay),
    Case("each write is made twice", RESOLVED, begins=replay),
)  # fmt: skip


async def live(life: Life, case: Case, policy: Any) -> None:
    """Live one case to its end."""
    await case.begins(life)
    life.world.file_incident(policy)
    await life.world.run_until(Phase.PR_CREATED, steps=2000)
    await case.happens(life)
    if case.approved:
        life.world.people.append(lambda world: _approve(life))
    if case.end is HUMAN:
        await life.world.run_until(HUMAN, steps=2000)
    else:
        await life.world.run_until(lambda world: world.status.message.startswith("Resolved"), steps=2000)


def _approve(life: Life) -> None:
    known, phase = life.world.status.pull_request, life.world.phase
    open_ = phase in (Phase.PR_CREATED, Phase.PR_UNDER_REVIEW, Phase.PR_APPROVED)
    if known is None or not open_ or known.head_sha in life.approved_by:  # type: ignore[attr-defined]
        return
    life.approved_by.append(known.head_sha)  # type: ignore[attr-defined]
    life.side.approve(life.number, "alice")
