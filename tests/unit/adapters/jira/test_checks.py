"""Sites that are set up in ways the sandbox is not: screens, rights, link types, request types."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.adapters.jira.scripted import API, INFO, JSON, ME, connect, serve

from selfheal import ports
from selfheal.api.incident import Phase, Priority
from selfheal.domain import errors, facts

META = f"{API}/issue/createmeta/OPS/issuetypes"
DESK = "/rest/servicedeskapi/servicedesk/1"


def ok(body: Any) -> tuple[int, dict[str, str], str]:
    return 200, JSON, json.dumps(body)


def make_site(*fields: dict[str, Any], **more: Any) -> dict[str, tuple[int, dict[str, str], str]]:
    """Return a site with the issue type Task, whose create screen has these fields."""
    known = [{"fieldId": name} for name in ("summary", "description", "project", "issuetype")]
    answers = {
        f"{API}/project/OPS": {"key": "OPS", "projectTypeKey": "software"},
        f"{API}/project/OPS/statuses": [
            {"id": "3", "name": "Task", "statuses": [{"name": "To Do"}, {"name": "Done"}]}
        ],
        f"{API}/mypermissions": {"permissions": {}},
        META: {"issueTypes": [{"id": "3", "name": "Task"}], "total": 1},
        f"{META}/3": {"fields": [*known, *fields], "total": len(known) + len(fields)},
        **{f"{API}/{path}": body for path, body in more.items()},
    }
    return {
        f"{API}/serverInfo": INFO,
        f"{API}/myself": ME,
        **{path: ok(body) for path, body in answers.items()},
    }


LABELS = {"fieldId": "labels"}


async def find_problems(site: dict[str, Any], **spec: Any) -> list[str]:
    with serve(site) as handler:
        return list(await connect(handler, issueType="Task", **spec).check({"A": ["to do"]}))


async def test_site_that_fits_has_no_problem() -> None:
    assert await find_problems(make_site(LABELS)) == []


async def test_create_screen_without_labels_is_named() -> None:
    [problem] = await find_problems(make_site())
    assert problem.startswith("tracker.issueType: the create screen of Task lacks Labels")


async def test_field_that_we_do_not_fill_is_named() -> None:
    demanded = {"fieldId": "customfield_1", "name": "Team", "required": True}
    [problem] = await find_problems(make_site(LABELS, demanded))
    assert problem.startswith("tracker.issueType: Task demands Team")
    with_default = {**demanded, "hasDefaultValue": True}
    reporter = {"fieldId": "reporter", "name": "Reporter", "required": True}
    assert await find_problems(make_site(LABELS, with_default, reporter)) == []


async def test_rights_that_are_lacking_are_named() -> None:
    def right(name: str, have: bool) -> dict[str, Any]:
        return {"name": name, "havePermission": have}

    rights = {
        "BROWSE_PROJECTS": right("Browse Projects", True),
        "ADD_COMMENTS": right("Add Comments", False),
        "TRANSITION_ISSUES": right("Transition Issues", False),
    }
    [problem] = await find_problems(make_site(LABELS, mypermissions={"permissions": rights}))
    assert "lacks Transition Issues, Add Comments in project OPS" in problem


async def test_site_that_does_not_tell_rights_or_screens_is_believed() -> None:
    site = make_site()
    missing: tuple[int, dict[str, str], str] = (404, {}, "null for uri")
    site |= {f"{API}/mypermissions": missing, META: missing}
    assert await find_problems(site) == []


async def test_site_without_link_types_is_told_what_to_add() -> None:
    types = {"issueLinkTypes": [{"name": "Blocks"}]}
    with (
        serve(make_site(issueLinkType=types)) as handler,
        pytest.raises(errors.PolicyInvalid, match="link type Duplicate"),
    ):
        await connect(handler).ensure_ticket_link("OPS-1", "OPS-2")


async def test_comment_that_jira_refuses_stalls_with_its_words() -> None:
    site = make_site(**{"issue/OPS-1/comment": {"comments": [], "total": 0}})
    with serve(site) as handler:
        tracker = connect(handler)
        await tracker.check({})
        handler.answers = {
            **handler.answers,
            f"POST {API}/issue/OPS-1/comment": (400, JSON, '{"errors": {"comment": "locked"}}'),
        }
        with pytest.raises(errors.Stalled, match="comment: locked") as caught:
            await tracker.ensure_comment("OPS-1", marker="k", body="text")
        assert caught.value.reason == "RequestRefused"


async def test_request_takes_a_priority_that_its_form_offers() -> None:
    site = make_site(**{"issue/OPS-7": {}})
    site |= {
        DESK: ok({"id": "1"}),
        f"{DESK}/requesttype": ok(
            {"values": [{"id": "9", "name": "Incident"}], "isLastPage": True}
        ),
        f"{DESK}/requesttype/9/field": ok(
            {
                "requestTypeFields": [
                    {"fieldId": "summary"},
                    {"fieldId": "priority", "validValues": [{"label": "P1"}, {"label": "P2"}]},
                ]
            }
        ),
        "/rest/servicedeskapi/request": ok({"issueKey": "OPS-7", "issueId": "7"}),
    }
    mirror = facts.TicketMirror(uid="u", phase=Phase.INCIDENT_DETECTED, run=1, cluster="")
    draft = ports.TicketDraft(
        summary="s", description="d", priority=Priority.HIGH, labels=("selfheal-u",), mirror=mirror
    )
    with serve(site) as handler:
        tracker = connect(
            handler, requestType="incident", serviceDesk="1", priorities={"P2": "High"}
        )
        with pytest.raises(errors.UnknownOutcome):  # the script has no ticket to read
            await tracker.create_ticket(draft)
        [sent] = [json.loads(body) for entry, body in handler.bodies if entry.endswith("/request")]
    assert sent["serviceDeskId"] == "1"
    assert sent["requestTypeId"] == "9"
    assert sent["requestFieldValues"]["priority"] == {"name": "P2"}
    assert sent["requestFieldValues"]["description"].endswith("selfheal: selfheal-u{color}")
