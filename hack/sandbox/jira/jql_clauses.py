"""The clauses of JQL: which values a field takes and which issues a clause finds.

Sources: as in jql.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hack.sandbox.jira import adf, workflow
from hack.sandbox.jira.errors import JiraError
from hack.sandbox.jira.state import PRIORITIES, RESOLUTIONS, Account, Issue, Store

Predicate = Callable[[Issue], bool]
ORDER = {"<", "<=", ">", ">="}
PERIOD = re.compile(r"[+-]?(\d+[wdhm])(\s+\d+[wdhm])*")
UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes"}
DATE_FORMATS = ["%Y/%m/%d %H:%M", "%Y-%m-%d %H:%M", "%Y/%m/%d", "%Y-%m-%d"]


def bad(message: str) -> JiraError:
    """A 400 with one message."""
    return JiraError(400, message)


class Clauses:
    """Builds the predicate of one clause; checks its values as Jira validates them."""

    def __init__(self, store: Store, who: Account) -> None:
        self.store, self.who = store, who

    def build(self, name: str, operator: str, values: list[str | None]) -> Predicate:
        """The predicate of a clause."""
        if operator in ("is", "is not"):
            values = [None]
        if name in ("created", "updated"):
            return self._dates(name, operator, values)
        if operator in ("~", "!~"):
            return _text(name, operator, values[0])
        known = [v if v is None else self._known(name, v) for v in values]
        if operator in ORDER:
            return _ordered(name, operator, known[0])
        positive = operator in ("=", "in", "is")
        wanted = set(known)

        def test(issue: Issue) -> bool:
            have = self._have(name, issue) or {None}
            if positive:
                return bool(have & wanted)
            # "!=" and NOT IN do not find EMPTY fields (jql-operators, NOT EQUALS)
            return not have & wanted and (have != {None} or None in wanted)

        return test

    def _known(self, name: str, value: str) -> str:
        if name == "labels":
            return value.lower()
        if name in ("assignee", "reporter"):
            return self._person(name, value)
        if name == "issuekey":
            if all(value.upper() != i.key and value != i.id for i in self.store.issues.values()):
                raise bad(f"An issue with key '{value}' does not exist for field 'key'.")
            found = self.store.issues.get(value)
            return found.key if found else value.upper()
        for option, result in self._options(name).items():
            if option.lower() == value.lower():
                return result
        raise bad(f"The value '{value}' does not exist for the field '{name}'.")

    def _person(self, name: str, value: str) -> str:
        for a in self.store.accounts.values():
            if value in (a.account_id, a.name):
                return a.account_id
        raise bad(f"The value '{value}' does not exist for the field '{name}'.")

    def _options(self, name: str) -> dict[str, str]:
        visible = [p for p in self.store.projects.values() if self.who.may(p.key, "browse")]
        if name == "project":
            return {n: p.key for p in visible for n in (p.key, p.name, p.id)}
        if name == "status":
            ids = self.store.status_ids
            names = [s for p in visible for s in p.workflow.statuses]
            names += [i.status for i in self.store.issues.values()]
            return {n: s for s in names for n in (s, ids.get(s, s))}
        if name == "statuscategory":
            return {"To Do": "new", "new": "new", "In Progress": "indeterminate",
                    "indeterminate": "indeterminate", "Done": "done"}
        if name == "issuetype":
            return {n: t["id"] for p in visible for t in p.issue_types for n in (t["name"], t["id"])}
        if name == "priority":
            return {n: p for k, p in enumerate(PRIORITIES, 1) for n in (p, str(k))}
        return {"Unresolved": "", **{r: r for r in RESOLUTIONS}}

    @staticmethod
    def _have(name: str, issue: Issue) -> set[str | None]:
        if name == "labels":
            return {x.lower() for x in issue.labels}
        if name == "resolution":
            return {issue.resolution} if issue.resolution else {"", None}
        if name == "statuscategory":
            return {str(workflow.category(issue.status)["key"])}
        attribute = {"issuekey": "key", "issuetype": "type_id"}.get(name, name)
        value = getattr(issue, attribute)
        return {value} if value else set()

    def _dates(self, name: str, operator: str, values: list[str | None]) -> Predicate:
        if operator in ("is", "is not"):
            return lambda i: operator == "is not"
        points = [self._moment(name, v or "") for v in values]
        if operator in ORDER:
            return lambda i: _compare(operator, getattr(i, name), points[0])
        return lambda i: (getattr(i, name) in points) == (operator in ("=", "in"))

    def _moment(self, name: str, value: str) -> int:
        if value == "0m" or PERIOD.fullmatch(value):
            parts = {UNITS[u]: int(n) for n, u in re.findall(r"(\d+)([wdhm])", value)}
            sign = -1 if value.startswith("-") else 1
            return self.store.now() + sign * int(timedelta(**parts).total_seconds() * 1000)
        for form in DATE_FORMATS:
            try:
                local = datetime.strptime(value, form).replace(tzinfo=ZoneInfo(self.who.time_zone))
            except ValueError:
                continue
            return int(local.astimezone(UTC).timestamp() * 1000)
        raise bad(f"Date value '{value}' for field '{name}' is invalid. Valid formats include: "
                   "'yyyy/MM/dd HH:mm', 'yyyy-MM-dd HH:mm', 'yyyy/MM/dd', 'yyyy-MM-dd', or a period "
                   "format e.g. '-5d', '4w 2d'.")


def _compare(operator: str, a: int, b: int) -> bool:
    return {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[operator]


def _ordered(name: str, operator: str, value: str | None) -> Predicate:
    if value is None:
        raise bad(f"The operator '{operator}' does not support EMPTY.")
    if name == "priority":  # Highest is the greatest
        rank = {p: -n for n, p in enumerate(PRIORITIES)}
        return lambda i: _compare(operator, rank[i.priority], rank[value])
    prefix, number = value.rsplit("-", 1)
    return lambda i: i.key.rsplit("-", 1)[0] == prefix and _compare(
        operator, int(i.key.rsplit("-", 1)[1]), int(number))


def _text(name: str, operator: str, value: str | None) -> Predicate:
    if not value or not re.search(r"\w", value) or value[0] in "*?":
        raise bad(f"The text query '{value or ''}' for field '{name}' is not allowed to start with "
                   "'*' or '?' or to be empty.")
    phrase = len(value) > 2 and value[0] == value[-1] == '"'
    words = re.findall(r"[\w]+\*?", value.lower())

    def test(issue: Issue) -> bool:
        have = re.findall(r"\w+", _searched(name, issue).lower())
        if phrase:
            size = len(words)
            hit = any(have[k:k + size] == words for k in range(len(have) - size + 1))
        else:
            hit = all(_word(w, have) for w in words)
        return hit == (operator == "~")

    return test


def _word(word: str, have: list[str]) -> bool:
    if word.endswith("*"):
        return any(h.startswith(word[:-1]) for h in have)
    return word in have


def _searched(name: str, issue: Issue) -> str:
    comments = " ".join(adf.to_text(c["body"]) for c in issue.comments)
    texts = {"summary": issue.summary, "description": adf.to_text(issue.description),
             "comment": comments}
    return " ".join(texts.values()) if name == "text" else texts[name]
