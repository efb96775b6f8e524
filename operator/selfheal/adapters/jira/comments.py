"""Comments that are ours, known by their marker line, and the markup of longer texts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from selfheal.adapters.jira import adf, markdown, parse, wiki
from selfheal.adapters.jira.errors import SYSTEM, Refused
from selfheal.adapters.jira.session import Session, actor_ids, quote
from selfheal.api.policy import TrackerSpec
from selfheal.domain import errors

_PAGE = 100
_LIMIT = 30_000
"""Characters of a text as sent. Jira refuses more than 32,767, on Cloud of the stored document:
https://jira.atlassian.com/browse/JRACLOUD-68949."""

_SHORTENED = "… (shortened)"


def render(text: str, *, last_line: str = "", cloud: bool) -> Any:
    """Return Markdown as ADF or wiki markup, shortened at a line's end to what Jira takes."""
    while True:
        blocks = markdown.parse(text)
        rendered: Any = (
            adf.render(blocks, last_line=last_line)
            if cloud
            else wiki.render(blocks, last_line=last_line)
        )
        size = len(json.dumps(rendered, ensure_ascii=False))
        if size <= _LIMIT:
            return rendered
        # An open fence is closed by the parser at the end of the text, so close it before.
        kept = text.removesuffix(f"\n\n{_SHORTENED}")[: int(len(text) * min(0.9, _LIMIT / size))]
        kept = kept.rpartition("\n")[0] or kept
        fence = "\n```" if kept.count("```") % 2 else ""
        text = f"{kept}{fence}\n\n{_SHORTENED}"


def marker_line(marker: str) -> str:
    """Return the last line of our comments; ``marker`` is the effect key."""
    return f"selfheal: {marker}"


def last_line(text: str) -> str:
    """Return the last line of a plain text, in which wiki colour tags may have been left."""
    return wiki.to_plain(text).rstrip().rpartition("\n")[2].strip()


class Commenter:
    """Posts and edits our comments."""

    def __init__(self, session: Session, spec: TrackerSpec) -> None:
        """Serve one tracker."""
        self._session, self._spec = session, spec
        self._is_desk: dict[str, bool] = {}

    async def ensure(self, key: str, *, marker: str, body: str, public: bool) -> str:
        """Return the id of our comment with the marker and this text. May be repeated."""
        line = marker_line(marker)
        rendered = render(body, last_line=line, cloud=self._session.cloud)
        path = f"issue/{quote(key)}/comment"
        try:
            found = await self._find(path, line)
            if found is None:
                comment = {"body": rendered, **await self._visibility(key, public=public)}
                return str((await self._session.write("POST", path, comment))["id"])
            if _plain(found.get("body")) != _plain(rendered):
                # Properties that are not sent stay: an edit never makes an internal comment public.
                own = f"{path}/{quote(str(found['id']))}"
                await self._session.write("PUT", own, {"body": rendered})
            return str(found["id"])
        except Refused as exc:
            raise errors.Stalled(
                f"Jira refuses the comment: {exc.text}", reason="RequestRefused", system=SYSTEM
            ) from exc

    async def _find(self, path: str, line: str) -> Mapping[str, Any] | None:
        me = await self._session.me()
        seen = 0
        while True:
            params = {"orderBy": "-created", "maxResults": _PAGE, "startAt": seen}
            page = await self._session.read(path, params)
            comments: list[Mapping[str, Any]] = page.get("comments") or []
            for comment in comments:
                ours = bool(actor_ids(comment.get("author")) & me)
                if ours and last_line(_plain(comment.get("body"))) == line:
                    return comment
            seen += len(comments)
            if not comments or seen >= page.get("total", 0):
                return None

    async def _visibility(self, key: str, *, public: bool) -> dict[str, Any]:
        """Return what hides a comment from customers; service desk projects only have any."""
        if not await self._is_service_desk(key):
            return {}
        internal = not (public or self._spec.public_comments)
        # https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-comments/
        return {"properties": [{"key": "sd.public.comment", "value": {"internal": internal}}]}

    async def _is_service_desk(self, key: str) -> bool:
        project = key.rpartition("-")[0]
        if project == self._spec.project and self._spec.service_desk:
            return True
        if project not in self._is_desk:
            answer = await self._session.read(f"project/{quote(project)}")
            self._is_desk[project] = answer.get("projectTypeKey") == "service_desk"
        return self._is_desk[project]


def _plain(body: Any) -> str:
    lines = parse.parse_text(body).strip().split("\n")
    return "\n".join(line.rstrip() for line in lines)
