"""What only Jira has, against the sandbox: service desks, log-ins, faults of the wire, request counts."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from tests.contract import issue_tracker_worlds as worlds
from tests.contract.test_issue_tracker import make_draft, make_mirror

from selfheal.adapters import jira
from selfheal.api.incident import Phase, Priority
from selfheal.api.policy import TrackerSpec
from selfheal.domain import errors

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[worlds.Server]:
    started = worlds.start_sandbox(tmp_path_factory.mktemp("jira"))
    yield started
    started.close()


@pytest.fixture(params=["gateway", "data-center"])
def world(server: worlds.Server, request: pytest.FixtureRequest) -> Iterator[worlds.SandboxWorld]:
    yield from clean(server, request.param)


@pytest.fixture
def cloud(server: worlds.Server) -> Iterator[worlds.SandboxWorld]:
    yield from clean(server, "gateway")


def clean(server: worlds.Server, flavour: str) -> Iterator[worlds.SandboxWorld]:
    made = worlds.make_sandbox_world(server, flavour)
    yield made
    made.control("DELETE", "/faults")
    made.control("DELETE", "/requests")
    made.control("POST", "/config", {"rate_limit": 0})


def spoil(world: worlds.SandboxWorld, method: str, path: str, **fault: Any) -> None:
    world.control("POST", "/faults", {"match": {"method": method, "path": path}, **fault})


def count_requests(world: worlds.SandboxWorld) -> list[str]:
    journal = world.control("GET", "/requests")
    return [f"{e['method']} {e['path'].partition('/rest/')[2]}" for e in journal]


# Service desks.


async def test_comments_are_internal_unless_asked_to_be_public(cloud: worlds.SandboxWorld) -> None:
    made = await cloud.tracker.create_ticket(make_draft())
    await cloud.tracker.ensure_comment(made.key, marker="k/1", body="internal")
    await cloud.tracker.ensure_comment(made.key, marker="k/2", body="public", public=True)
    await cloud.tracker.ensure_comment(made.key, marker="k/1", body="internal, edited")
    assert [comment["jsdPublic"] for comment in cloud.get_comments(made.key)] == [False, True]
    open_tracker = cloud.connect(publicComments=True)
    await open_tracker.ensure_comment(made.key, marker="k/3", body="as the policy says")
    assert cloud.get_comments(made.key)[-1]["jsdPublic"] is True


async def test_comments_of_other_projects_have_no_visibility(cloud: worlds.SandboxWorld) -> None:
    tracker = cloud.connect(project="PLAIN", issueType="Task")
    made = await tracker.create_ticket(make_draft())
    await tracker.ensure_comment(made.key, marker="k/1", body="text")
    assert cloud.get_comments(made.key)[0]["properties"] == []


@pytest.mark.parametrize("kind", ["Report an incident", "1"])
async def test_request_is_opened_and_labelled(cloud: worlds.SandboxWorld, kind: str) -> None:
    tracker = cloud.connect(requestType=kind, serviceDesk="1")
    assert await tracker.check({"INCIDENT_DETECTED": ["To Do"]}) == []
    draft = make_draft()
    made = await tracker.create_ticket(draft)
    assert made.labels == frozenset(draft.labels)
    assert made.mirror == draft.mirror
    assert made.key.startswith("OPS-")
    assert [t.key for t in await tracker.find_tickets_by_label(draft.labels[0])] == [made.key]
    written = [r for r in count_requests(cloud) if r.startswith(("POST", "PUT"))]
    assert written == ["POST servicedeskapi/request", f"PUT api/3/issue/{made.key}"]


async def test_request_that_was_not_labelled_is_found_again(cloud: worlds.SandboxWorld) -> None:
    tracker = cloud.connect(requestType="1", serviceDesk="1")
    draft = make_draft()
    spoil(cloud, "PUT", "/issue/", status=503)
    with pytest.raises(errors.UnknownOutcome, match="could not be labelled"):
        await tracker.create_ticket(draft)
    found = await tracker.find_tickets_by_label(draft.labels[0])
    assert len(found) == 1
    assert found[0].labels == frozenset()
    await tracker.save_mirror(found[0], draft.mirror, frozenset(draft.labels))
    assert (await tracker.get_ticket(found[0].key)).labels == frozenset(draft.labels)


async def test_unknown_request_type_is_named(cloud: worlds.SandboxWorld) -> None:
    tracker = cloud.connect(requestType="Nonsense", serviceDesk="1")
    with pytest.raises(errors.PolicyInvalid, match=r"tracker.requestType: .*Report an incident"):
        await tracker.create_ticket(make_draft())
    gone = cloud.connect(requestType="1", serviceDesk="77")
    problems = await gone.check({})
    assert len(problems) == 1
    assert problems[0].startswith("tracker.serviceDesk: 77")


# What is sent.


async def test_property_and_labels_are_one_request(world: worlds.SandboxWorld) -> None:
    made = await world.tracker.create_ticket(make_draft())
    world.control("DELETE", "/requests")
    mirror = make_mirror("u", Phase.DEPLOYMENT_IN_PROGRESS)
    await world.tracker.save_mirror(made, mirror, frozenset({"selfheal-u"}))
    assert len(count_requests(world)) == 1


async def test_known_ticket_is_read_in_one_request(world: worlds.SandboxWorld) -> None:
    made = await world.tracker.create_ticket(make_draft())
    world.control("DELETE", "/requests")
    await world.tracker.get_ticket(made.key)
    assert len(count_requests(world)) == 1


async def test_many_tickets_on_cloud_are_one_request(cloud: worlds.SandboxWorld) -> None:
    made = [await cloud.tracker.create_ticket(make_draft()) for _ in range(5)]
    cloud.control("DELETE", "/requests")
    found = await cloud.tracker.get_tickets([ticket.id for ticket in made])
    assert set(found) == {ticket.id for ticket in made}
    assert count_requests(cloud) == ["POST api/3/issue/bulkfetch"]


async def test_search_reads_page_after_page(world: worlds.SandboxWorld) -> None:
    world.control("POST", "/config", {"page_size_max": 2})
    label = "selfheal-paged"
    made = [await world.tracker.create_ticket(make_draft(labels=(label,))) for _ in range(5)]
    found = await world.tracker.find_tickets_by_label(label)
    world.control("POST", "/config", {"page_size_max": 100})
    assert {ticket.key for ticket in made} <= {ticket.key for ticket in found}


@pytest.mark.parametrize("priority", list(Priority))
async def test_priority_is_mapped(cloud: worlds.SandboxWorld, priority: Priority) -> None:
    names = {"Critical": "Highest", "High": "High", "Medium": "Medium", "Low": "Low"}
    made = await cloud.tracker.create_ticket(make_draft(priority=priority))
    assert made.priority == names[priority]


async def test_equal_comment_costs_no_write(world: worlds.SandboxWorld) -> None:
    made = await world.tracker.create_ticket(make_draft())
    body = "# Cause\n\n- **bold** `code`\n\n```diff\n-a\n+b\n```\n\n[link](https://example.com) {x}"
    await world.tracker.ensure_comment(made.key, marker="k", body=body)
    world.control("DELETE", "/requests")
    await world.tracker.ensure_comment(made.key, marker="k", body=body)
    assert [r.split()[0] for r in count_requests(world)] == ["GET"]


async def test_nothing_is_retried(world: worlds.SandboxWorld) -> None:
    made = await world.tracker.create_ticket(make_draft())
    for status in (429, 500, 503):
        world.control("DELETE", "/requests")
        spoil(world, "PUT", "/issue/", status=status, headers={"Retry-After": "1"})
        with pytest.raises(errors.Transient):
            await world.tracker.save_mirror(made, make_mirror("u"), frozenset())
        assert len(count_requests(world)) == 1


# Faults of the wire.


async def test_write_that_took_effect_but_was_cut_off_is_unknown(
    world: worlds.SandboxWorld,
) -> None:
    await world.tracker.check({})
    draft = make_draft()
    spoil(world, "POST", "/issue$", kind="drop", when="after")
    with pytest.raises(errors.UnknownOutcome):
        await world.tracker.create_ticket(draft)
    assert len(await world.tracker.find_tickets_by_label(draft.labels[0])) == 1


@pytest.mark.parametrize("kind", ["drop", "truncate", "html"])
async def test_write_without_a_usable_answer_is_unknown(
    world: worlds.SandboxWorld, kind: str
) -> None:
    await world.tracker.check({})
    spoil(world, "POST", "/issue$", kind=kind, when="after", status=200)
    with pytest.raises(errors.UnknownOutcome):
        await world.tracker.create_ticket(make_draft())


@pytest.mark.parametrize("kind", ["drop", "truncate"])
async def test_read_without_a_usable_answer_passes(world: worlds.SandboxWorld, kind: str) -> None:
    made = await world.tracker.create_ticket(make_draft())
    spoil(world, "GET", f"/issue/{made.key}", kind=kind)
    with pytest.raises(errors.Transient) as caught:
        await world.tracker.get_ticket(made.key)
    assert not isinstance(caught.value, errors.UnknownOutcome)


async def test_created_but_unread_ticket_is_unknown(world: worlds.SandboxWorld) -> None:
    await world.tracker.check({})
    spoil(world, "GET", "/issue/[A-Z]+-", status=502)
    with pytest.raises(errors.UnknownOutcome, match="was created, but could not be read"):
        await world.tracker.create_ticket(make_draft())


async def test_web_page_is_not_jira(world: worlds.SandboxWorld) -> None:
    made = await world.tracker.create_ticket(make_draft())
    spoil(world, "GET", f"/issue/{made.key}", kind="html", status=200)
    with pytest.raises(errors.PolicyInvalid, match="log-in page") as caught:
        await world.tracker.get_ticket(made.key)
    assert caught.value.reason == "NotJira"


async def test_rate_limit_says_how_long(world: worlds.SandboxWorld) -> None:
    made = await world.tracker.create_ticket(make_draft())
    spoil(world, "GET", "/issue/", status=429, headers={"Retry-After": "17"})
    with pytest.raises(errors.RateLimited) as caught:
        await world.tracker.get_ticket(made.key)
    assert caught.value.retry_after == dt.timedelta(seconds=17)


async def test_own_rate_limit_of_the_site_is_understood(cloud: worlds.SandboxWorld) -> None:
    await cloud.tracker.check({})
    cloud.control("POST", "/config", {"rate_limit": 1})
    answers = [cloud.tracker.search_tickets('project = "OPS"') for _ in range(3)]
    with pytest.raises(errors.RateLimited) as caught:
        await asyncio.gather(*answers)
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > dt.timedelta(0)


async def test_conflict_is_a_conflict(world: worlds.SandboxWorld) -> None:
    made = await world.tracker.create_ticket(make_draft())
    spoil(world, "POST", "/transitions", status=409)
    with pytest.raises(errors.Conflict):
        await world.tracker.transition_ticket(made, ["In Progress"])


async def test_refused_transition_says_what_jira_says(world: worlds.SandboxWorld) -> None:
    made = await world.tracker.create_ticket(make_draft())
    words = {"errorMessages": ["You must attach a form."], "errors": {}}
    spoil(world, "POST", "/transitions", status=400, body=words)
    with pytest.raises(errors.TransitionNotOffered, match="attach a form"):
        await world.tracker.transition_ticket(made, ["In Progress"])


async def test_move_between_offer_and_transition_is_a_conflict(world: worlds.SandboxWorld) -> None:
    made = await world.tracker.create_ticket(make_draft())
    world.move(made.key, "Deployed", "alice")
    spoil(world, "POST", "/transitions", status=400)
    with pytest.raises(errors.Conflict, match="Deployed"):
        await world.tracker.transition_ticket(made, ["In Progress"])


async def test_connection_that_failed_is_made_again(cloud: worlds.SandboxWorld) -> None:
    tracker = cloud.connect()
    spoil(cloud, "GET", "/serverInfo", status=503, times=1)
    answers = await asyncio.gather(
        *(tracker.search_tickets('project = "OPS"') for _ in range(3)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [errors.Transient] * 3
    assert [r for r in count_requests(cloud) if "serverInfo" in r] == ["GET api/3/serverInfo"]
    assert isinstance(await tracker.search_tickets('project = "OPS"'), list)


# Log-in and policy.


def connect(server: worlds.Server, credential: dict[str, str], **spec: Any) -> jira.JiraTracker:
    values = {"type": "Jira", "project": "OPS", "baseURL": server.url, **spec}
    return jira.connect(TrackerSpec.model_validate(values), credential)


@pytest.mark.parametrize(
    ("spec", "credential", "words"),
    [
        ({"cloudId": worlds.CLOUD_ID}, {"token": "wrong"}, "Bearer token at the gateway"),
        ({}, {"token": "wrong"}, "Bearer token at the site; set tracker.cloudId"),
        ({}, {"token": "wrong", "email": worlds.EMAIL}, "e-mail and API token"),
        ({"deployment": "DataCenter"}, {"token": "wrong"}, "personal access token"),
        ({"cloudId": worlds.CLOUD_ID}, {}, "has no key token"),
    ],
)
async def test_refused_log_in_says_which_kind_it_was(
    server: worlds.Server, spec: dict[str, Any], credential: dict[str, str], words: str
) -> None:
    tracker = connect(server, credential, **spec)
    with pytest.raises(errors.Unauthorized) as caught:
        await tracker.get_ticket("OPS-1")
    assert words in caught.value.message
    problems = await tracker.check({})
    assert len(problems) == 1
    assert words in problems[0]
    assert "wrong" not in problems[0]


async def test_token_without_write_scope_is_told_which_it_lacks(
    server: worlds.Server, cloud: worlds.SandboxWorld
) -> None:
    made = await cloud.tracker.create_ticket(make_draft())
    token = {"token": "sandbox-jira-token-read-only"}
    tracker = connect(server, token, cloudId=worlds.CLOUD_ID)
    assert (await tracker.get_ticket(made.key)).key == made.key
    with pytest.raises(errors.Forbidden, match="write:jira-work"):
        await tracker.ensure_comment(made.key, marker="k", body="text")


async def test_wrong_cloud_id_is_not_a_missing_ticket(server: worlds.Server) -> None:
    tracker = connect(server, {"token": worlds.TOKEN}, cloudId="nonsense")
    with pytest.raises(errors.PolicyInvalid):
        await tracker.get_ticket("OPS-1")


async def test_log_in_that_is_lost_later_is_not_a_missing_ticket(
    cloud: worlds.SandboxWorld,
) -> None:
    made = await cloud.tracker.create_ticket(make_draft())
    words = {"errorMessages": ["Issue does not exist or you do not have permission to see it."]}
    spoil(cloud, "GET", f"/issue/{made.key}", status=404, body=words)
    spoil(cloud, "GET", "/myself", status=401)
    with pytest.raises(errors.Unauthorized):
        await cloud.tracker.get_ticket(made.key)


async def test_check_names_each_field(server: worlds.Server) -> None:
    token, pat = {"token": worlds.TOKEN}, {"token": worlds.PAT}
    cloud_id = worlds.CLOUD_ID
    statuses = {"INCIDENT_DETECTED": ["To Do"]}

    async def first(credential: dict[str, str], **spec: Any) -> str:
        problems = await connect(server, credential, **spec).check(statuses)
        assert len(problems) == 1, problems
        return problems[0].partition(":")[0]

    assert await first(token, cloudId=cloud_id, project="NONE") == "tracker.project"
    assert await first(token, cloudId=cloud_id, issueType="Story") == "tracker.issueType"
    assert await first(pat, deployment="DataCenter", project=None) == "tracker.project"
    viewer = {"token": "victor-token", "email": "victor@example.com"}
    assert "lacks" in await first(viewer)


async def test_creation_refused_by_the_project_names_what_to_correct(
    server: worlds.Server,
) -> None:
    tracker = connect(server, {"token": worlds.TOKEN}, cloudId=worlds.CLOUD_ID, issueType="Story")
    with pytest.raises(errors.PolicyInvalid, match="issue type"):
        await tracker.create_ticket(make_draft())
    viewer = {"token": "victor-token", "email": "victor@example.com"}
    with pytest.raises(errors.Forbidden):
        await connect(server, viewer).create_ticket(make_draft())


async def test_unknown_assignee_is_a_fault_of_the_policy(world: worlds.SandboxWorld) -> None:
    made = await world.tracker.create_ticket(make_draft())
    with pytest.raises(errors.PolicyInvalid, match=r"escalation.assignee: nobody"):
        await world.tracker.assign_ticket(made.key, "nobody")


async def test_ticket_written_by_cloud_reads_the_same_on_data_center(
    server: worlds.Server, cloud: worlds.SandboxWorld
) -> None:
    made = await cloud.tracker.create_ticket(make_draft())
    read = await connect(server, {"token": worlds.PAT}, deployment="DataCenter").get_ticket(
        made.key
    )
    assert (read.key, read.labels, read.mirror) == (made.key, made.labels, made.mirror)
