"""New tickets: as issues, or as requests of a service desk.

Create issue and its metadata: https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issues/;
requests: https://developer.atlassian.com/cloud/jira/service-desk/rest/api-group-request/.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from selfheal import ports
from selfheal.adapters.jira import comments, parse
from selfheal.adapters.jira.errors import SYSTEM, Refused
from selfheal.adapters.jira.session import Session, quote
from selfheal.api.incident import Priority
from selfheal.api.policy import TrackerSpec
from selfheal.domain import errors, facts
from selfheal.domain.signals import parse_priority

_SUMMARY = 255  # characters; the field's limit in Jira

_DEFAULT_NAMES = {Priority.CRITICAL: "Highest"}  # the others bear the same name in Jira


@dataclasses.dataclass(frozen=True, kw_only=True)
class CreateScreen:
    """The issue type of new tickets and the fields of its create screen; None: not told."""

    type_id: str | None
    type_names: tuple[str, ...]
    fields: Mapping[str, Mapping[str, Any]] | None


def choose_priority(
    wanted: Priority, allowed: Sequence[str] | None, configured: Mapping[str, Priority]
) -> str | None:
    """Return the ticket priority for an incident's; None where none of the allowed stands for it.

    ``configured`` maps ticket priorities to the incident's and goes before the names by default.
    """
    if allowed is None:
        named = next((name for name, priority in configured.items() if priority is wanted), None)
        return named or _DEFAULT_NAMES.get(wanted, wanted.value)
    meaning = {name: parse_priority(name, configured) for name in allowed}
    fitting = [name for name, priority in meaning.items() if priority is wanted]
    exact = [name for name in fitting if name.casefold() == wanted.value.casefold()]
    return next(iter([*exact, *fitting]), None)


def is_request(spec: TrackerSpec) -> bool:
    """Say whether new tickets are requests of a service desk."""
    return bool(spec.request_type and spec.service_desk)


class Creator:
    """Opens tickets; what it learnt of the create screen is kept until Jira refuses one."""

    def __init__(self, session: Session, spec: TrackerSpec) -> None:
        """Serve one tracker."""
        self._session, self._spec = session, spec
        self._screen: CreateScreen | None = None
        self._request: tuple[str, str, Sequence[str] | None] | None = None

    async def create(self, draft: ports.TicketDraft) -> str:
        """Return the key of a new ticket; never repeat without looking for its label."""
        try:
            if is_request(self._spec):
                return await self._create_request(draft)
            return await self._create_issue(draft)
        except Refused as exc:
            self._screen = self._request = None
            raise errors.PolicyInvalid(
                f"Jira refuses a new ticket in {self._spec.project}: {exc.text}; correct the "
                "tracker's fields in the policy, or the create screen of the issue type",
                system=SYSTEM,
            ) from exc
        except errors.NotFound as exc:
            self._screen = self._request = None
            raise errors.PolicyInvalid(
                f"there is no place for a new ticket ({exc}); check tracker.project, "
                "tracker.serviceDesk and tracker.requestType",
                system=SYSTEM,
            ) from exc

    async def screen(self, *, fresh: bool = False) -> CreateScreen:
        """Return the create screen of the policy's issue type."""
        if self._screen is None or fresh:
            self._screen = await self._read_screen()
        return self._screen

    async def _read_screen(self) -> CreateScreen:
        path = f"issue/createmeta/{quote(self._spec.project or '')}/issuetypes"
        try:
            # Cloud lists under issueTypes and fields, Data Center (from 8.4) under values.
            types = await self._session.read_pages(path, ("issueTypes", "values"))
        except (errors.NotFound, errors.PolicyInvalid):
            return CreateScreen(type_id=None, type_names=(), fields=None)
        wanted = self._spec.issue_type.casefold()
        names = tuple(str(kind["name"]) for kind in types)
        own = [kind for kind in types if wanted in (kind["name"].casefold(), str(kind["id"]))]
        if not own:
            return CreateScreen(type_id=None, type_names=names, fields=None)
        type_id = str(own[0]["id"])
        listed = await self._session.read_pages(f"{path}/{quote(type_id)}", ("fields", "values"))
        fields = {str(field.get("fieldId") or field.get("key")): field for field in listed}
        return CreateScreen(type_id=type_id, type_names=names, fields=fields)

    async def _create_issue(self, draft: ports.TicketDraft) -> str:
        screen = await self.screen()
        kind = {"id": screen.type_id} if screen.type_id else {"name": self._spec.issue_type}
        cloud = self._session.cloud
        fields: dict[str, Any] = {
            "project": {"key": self._spec.project},
            "issuetype": kind,
            "summary": _one_line(draft.summary),
            "description": comments.render(draft.description, cloud=cloud),
            "labels": sorted(draft.labels),
        }
        if screen.fields is None or "priority" in screen.fields:
            allowed = _allowed(screen.fields["priority"]) if screen.fields is not None else None
            name = choose_priority(draft.priority, allowed, self._spec.priorities)
            fields |= {"priority": {"name": name}} if name else {}
        body = {"fields": fields, "properties": _property(draft.mirror)}
        return str((await self._session.write("POST", "issue", body))["key"])

    async def _create_request(self, draft: ports.TicketDraft) -> str:
        """Create by the service desk, which knows no labels and no properties, then add them.

        Cut off between the two, the request has no label. Its description therefore ends with the
        owner label, by which ``find_tickets_by_label`` finds it too.
        """
        desk, kind, priorities = await self.request_type()
        owner = next((label for label in draft.labels if parse.is_owner_label(label)), "")
        line = comments.marker_line(owner) if owner else ""
        values: dict[str, Any] = {
            "summary": _one_line(draft.summary),
            "description": comments.render(draft.description, last_line=line, cloud=False),
        }
        if priorities is not None:
            name = choose_priority(draft.priority, priorities, self._spec.priorities)
            values |= {"priority": {"name": name}} if name else {}
        body = {"serviceDeskId": desk, "requestTypeId": kind, "requestFieldValues": values}
        made = await self._session.write("POST", "/rest/servicedeskapi/request", body)
        key = str(made["issueKey"])
        edit = {
            "update": {"labels": [{"add": label} for label in sorted(draft.labels)]},
            "properties": _property(draft.mirror),
        }
        try:
            await self._session.write("PUT", f"issue/{quote(key)}", edit)
        except (Refused, errors.SelfHealError) as exc:
            raise errors.UnknownOutcome(
                f"{key} was created, but could not be labelled: {exc}", system=SYSTEM
            ) from exc
        return key

    async def request_type(self, *, fresh: bool = False) -> tuple[str, str, Sequence[str] | None]:
        """Return ids of service desk and request type, and the priorities that a request may name.

        PolicyInvalid where the service desk or the request type does not exist.
        """
        if self._request is None or fresh:
            self._request = await self._read_request_type()
        return self._request

    async def _read_request_type(self) -> tuple[str, str, Sequence[str] | None]:
        desk = f"/rest/servicedeskapi/servicedesk/{quote(self._spec.service_desk or '')}"
        wanted = (self._spec.request_type or "").casefold()
        try:
            number = str((await self._session.read(desk))["id"])
            types = await self._read_desk_pages(f"{desk}/requesttype")
        except errors.NotFound as exc:
            raise errors.PolicyInvalid(
                f"tracker.serviceDesk: {self._spec.service_desk} does not exist, or the account is "
                "not one of its agents",
                system=SYSTEM,
            ) from exc
        own = [kind for kind in types if wanted in (kind["name"].casefold(), str(kind["id"]))]
        if not own:
            names = ", ".join(str(kind["name"]) for kind in types)
            raise errors.PolicyInvalid(
                f"tracker.requestType: the service desk has no {self._spec.request_type}, but "
                f"{names or 'none'}",
                system=SYSTEM,
            )
        kind = str(own[0]["id"])
        return number, kind, await self._read_priorities(f"{desk}/requesttype/{quote(kind)}/field")

    async def _read_priorities(self, path: str) -> Sequence[str] | None:
        try:
            answer = await self._session.read(path)
        except (errors.NotFound, errors.PolicyInvalid):
            return None  # not told: the request gets Jira's default priority
        for field in answer.get("requestTypeFields") or ():
            if field.get("fieldId") == "priority":
                return [str(value.get("label")) for value in field.get("validValues") or ()]
        return None

    async def _read_desk_pages(self, path: str) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        while True:
            page = await self._session.read(path, {"start": len(found), "limit": 50})
            values = page.get("values") or []
            found += values
            if not values or page.get("isLastPage", True):
                return found


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_SUMMARY]


def _allowed(field: Mapping[str, Any]) -> list[str] | None:
    values = field.get("allowedValues")
    return None if values is None else [str(value.get("name") or "") for value in values]


def _property(mirror: facts.TicketMirror) -> list[dict[str, Any]]:
    return [{"key": parse.PROPERTY, "value": parse.render_mirror(mirror)}]
