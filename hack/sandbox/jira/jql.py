"""A strict subset of JQL: parse, check and evaluate.

Sources: https://support.atlassian.com/jira-service-management-cloud/docs/jql-fields/ (fields and
their operators), .../jql-operators/ and .../jql-keywords/. What is not in the subset is refused with 400.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hack.sandbox.jira import adf, workflow
from hack.sandbox.jira.errors import JiraError
from hack.sandbox.jira.state import PRIORITIES, RESOLUTIONS, Account, Issue, Store

Predicate = Callable[[Issue], bool]
EQUALITY = {"=", "!=", "in", "not in", "is", "is not"}
ORDER = {"<", "<=", ">", ">="}
TEXT = {"~", "!~", "is", "is not"}
FIELDS: dict[str, set[str]] = {
    "project": EQUALITY, "status": EQUALITY, "statuscategory": EQUALITY, "labels": EQUALITY,
    "issuekey": EQUALITY | ORDER, "priority": EQUALITY | ORDER, "issuetype": EQUALITY,
    "created": EQUALITY | ORDER, "updated": EQUALITY | ORDER, "assignee": EQUALITY,
    "reporter": EQUALITY, "resolution": EQUALITY, "summary": TEXT, "description": TEXT,
    "comment": {"~", "!~"}, "text": {"~"},
}
ALIASES = {"key": "issuekey", "id": "issuekey", "issue": "issuekey", "type": "issuetype",
           "createddate": "created", "updateddate": "updated"}
NEGATED = {"=": "!=", "!=": "=", "in": "not in", "not in": "in", "is": "is not", "is not": "is",
           "~": "!~", "!~": "~", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
RESERVED = {"and", "or", "not", "in", "is", "order", "by", "asc", "desc", "was", "changed", "empty",
            "null", "select", "from", "where", "table", "insert", "update", "delete", "create",
            "group", "having", "like", "limit", "set", "union", "values", "date", "user", "any"}
TOKEN = re.compile(
    r"""\s*(?:(?P<str>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<op>!=|!~|<=|>=|=|~|<|>)"""
    r"""|(?P<punct>[(),])|(?P<word>[\w:\-]+))""")
PERIOD = re.compile(r"[+-]?(\d+[wdhm])(\s+\d+[wdhm])*")
UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes"}
DATE_FORMATS = ["%Y/%m/%d %H:%M", "%Y-%m-%d %H:%M", "%Y/%m/%d", "%Y-%m-%d"]


def _bad(message: str) -> JiraError:
    return JiraError(400, message)


def _syntax(got: str, at: int, wanted: str) -> JiraError:
    return _bad(f"Error in the JQL Query: Expecting {wanted} but got '{got or 'end of query'}'. "
                f"(line 1, character {at + 1})")


@dataclass
class Token:
    """A token; kind is str, op, punct, word or end."""

    kind: str
    text: str
    at: int


@dataclass
class Query:
    """A checked query."""

    match: Predicate
    restricted: bool
    order: list[tuple[str, bool]] = field(default_factory=list)  # field, descending

    def run(self, issues: list[Issue]) -> list[Issue]:
        """The matching issues in order; newest first when no order is asked for."""
        found = sorted((i for i in issues if self.match(i)), key=lambda i: -int(i.id))
        for name, descending in reversed(self.order):
            found.sort(key=lambda i, n=name: _sort_key(n, i), reverse=descending)
        return found


def _sort_key(name: str, issue: Issue) -> tuple[str, int] | tuple[int, str]:
    if name == "issuekey":
        prefix, number = issue.key.rsplit("-", 1)
        return (prefix, int(number))
    if name in ("created", "updated"):
        return (getattr(issue, name), "")
    if name == "priority":  # ascending: lowest first
        return (-PRIORITIES.index(issue.priority), "")
    value = {"issuetype": issue.type_id, "labels": " ".join(issue.labels)}.get(name)
    return (0, str(getattr(issue, name, "") if value is None else value).lower())


def tokens(jql: str) -> list[Token]:
    """Split; an unquoted reserved character is a 400."""
    found, at = [], 0
    while jql[at:].strip():
        match = TOKEN.match(jql, at)
        if match is None:
            at += len(jql[at:]) - len(jql[at:].lstrip())
            raise _bad(f"Error in the JQL Query: The character '{jql[at]}' is a reserved JQL character. "
                       f"You must enclose it in a string or use the escape '\\u{ord(jql[at]):04x}' "
                       f"instead. (line 1, character {at + 1})")
        kind = str(match.lastgroup)
        text = match.group(kind)
        if kind == "str":
            text = re.sub(r"\\(.)", r"\1", text[1:-1])
        found.append(Token(kind, text, match.start(kind)))
        at = match.end()
    found.append(Token("end", "", len(jql)))
    return found


class Parser:
    """Recursive descent over the tokens; NOT is pushed down to the operators as Jira does."""

    def __init__(self, jql: str, store: Store, who: Account) -> None:
        self.tokens, self.i = tokens(jql), 0
        self.clauses = Clauses(store, who)
        self.restricted = False

    def parse(self) -> Query:
        """The whole query or a JiraError."""
        match: Predicate = lambda issue: True  # noqa: E731
        if not self._is("order") and self._peek().kind != "end":
            match = self._or(False)
        order = self._order() if self._is("order") else []
        if self._peek().kind != "end":
            raise _syntax(self._peek().text, self._peek().at, "either 'OR' or 'AND'")
        who, may = self.clauses.who, match
        return Query(lambda i: who.may(i.project, "browse") and may(i), self.restricted, order)

    def _peek(self) -> Token:
        return self.tokens[self.i]

    def _next(self) -> Token:
        self.i += 1
        return self.tokens[self.i - 1]

    def _is(self, *words: str) -> bool:
        token = self._peek()
        return token.kind in ("word", "punct") and token.text.lower() in words

    def _take(self, word: str) -> None:
        if not self._is(word):
            raise _syntax(self._peek().text, self._peek().at, f"'{word.upper()}'")
        self.i += 1

    def _or(self, negate: bool) -> Predicate:
        parts = [self._and(negate)]
        while self._is("or"):
            self.i += 1
            parts.append(self._and(negate))
        join = all if negate else any
        return parts[0] if len(parts) == 1 else lambda i: join(p(i) for p in parts)

    def _and(self, negate: bool) -> Predicate:
        parts = [self._not(negate)]
        while self._is("and"):
            self.i += 1
            parts.append(self._not(negate))
        join = any if negate else all
        return parts[0] if len(parts) == 1 else lambda i: join(p(i) for p in parts)

    def _not(self, negate: bool) -> Predicate:
        if self._is("not"):
            self.i += 1
            return self._not(not negate)
        if self._is("("):
            self.i += 1
            inner = self._or(negate)
            self._take(")")
            return inner
        return self._clause(negate)

    def _field(self) -> str:
        token = self._next()
        if token.kind not in ("word", "str") or (
            token.kind == "word" and token.text.lower() in RESERVED
        ):
            raise _syntax(token.text, token.at, "a field name")
        name = ALIASES.get(token.text.lower(), token.text.lower())
        if name not in FIELDS:
            raise _bad(f"Field '{token.text}' does not exist or you do not have permission to view it.")
        return name

    def _operator(self) -> str:
        token = self._next()
        text = token.text.lower()
        if token.kind == "op":
            return text
        if token.kind == "word" and text == "in":
            return "in"
        if token.kind == "word" and text == "not" and self._is("in"):
            self.i += 1
            return "not in"
        if token.kind == "word" and text == "is":
            if self._is("not"):
                self.i += 1
                return "is not"
            return "is"
        raise _syntax(token.text, token.at,
                      "operator: one of '=', '!=', '<', '>', '<=', '>=', '~', '!~', 'IN', 'NOT IN', "
                      "'IS' and 'IS NOT'")

    def _clause(self, negate: bool) -> Predicate:
        name = self._field()
        operator = self._operator()
        if operator not in FIELDS[name]:
            raise _bad(f"The operator '{operator}' is not supported by the '{name}' field.")
        values = self._list() if operator in ("in", "not in") else [self._value()]
        if operator in ("is", "is not") and values != [None]:
            raise _bad(f"The operator '{operator}' only supports EMPTY and NULL.")
        self.restricted = True
        return self.clauses.build(name, NEGATED[operator] if negate else operator, values)

    def _list(self) -> list[str | None]:
        self._take("(")
        values = [self._value()]
        while self._is(","):
            self.i += 1
            values.append(self._value())
        self._take(")")
        return values

    def _value(self) -> str | None:
        token = self._next()
        if token.kind == "str":
            return token.text
        if token.kind != "word":
            raise _syntax(token.text, token.at, "either a value, list or function")
        if token.text.lower() in ("empty", "null"):
            return None
        if self._is("("):
            self.i += 1
            self._take(")")
            if token.text.lower() == "currentuser":
                return self.clauses.who.account_id
            if token.text.lower() == "now":
                return "0m"
            raise _bad(f"Unable to find JQL function '{token.text}()'.")
        if token.text.lower() in RESERVED:
            raise _bad(f"Error in the JQL Query: '{token.text}' is a reserved JQL word. You must "
                       f"surround it in quotation marks. (line 1, character {token.at + 1})")
        return token.text

    def _order(self) -> list[tuple[str, bool]]:
        self.i += 1
        self._take("by")
        order = []
        while True:
            name = self._field()
            if name in ("text", "comment"):
                raise _bad(f"Field '{name}' cannot be sorted on.")
            descending = self._is("desc")
            if self._is("asc", "desc"):
                self.i += 1
            order.append((name, descending))
            if not self._is(","):
                return order
            self.i += 1


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
                raise _bad(f"An issue with key '{value}' does not exist for field 'key'.")
            found = self.store.issues.get(value)
            return found.key if found else value.upper()
        for option, result in self._options(name).items():
            if option.lower() == value.lower():
                return result
        raise _bad(f"The value '{value}' does not exist for the field '{name}'.")

    def _person(self, name: str, value: str) -> str:
        for a in self.store.accounts.values():
            if value in (a.account_id, a.name):
                return a.account_id
        raise _bad(f"The value '{value}' does not exist for the field '{name}'.")

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
        raise _bad(f"Date value '{value}' for field '{name}' is invalid. Valid formats include: "
                   "'yyyy/MM/dd HH:mm', 'yyyy-MM-dd HH:mm', 'yyyy/MM/dd', 'yyyy-MM-dd', or a period "
                   "format e.g. '-5d', '4w 2d'.")


def _compare(operator: str, a: int, b: int) -> bool:
    return {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[operator]


def _ordered(name: str, operator: str, value: str | None) -> Predicate:
    if value is None:
        raise _bad(f"The operator '{operator}' does not support EMPTY.")
    if name == "priority":  # Highest is the greatest
        rank = {p: -n for n, p in enumerate(PRIORITIES)}
        return lambda i: _compare(operator, rank[i.priority], rank[value])
    prefix, number = value.rsplit("-", 1)
    return lambda i: i.key.rsplit("-", 1)[0] == prefix and _compare(
        operator, int(i.key.rsplit("-", 1)[1]), int(number))


def _text(name: str, operator: str, value: str | None) -> Predicate:
    if not value or not re.search(r"\w", value) or value[0] in "*?":
        raise _bad(f"The text query '{value or ''}' for field '{name}' is not allowed to start with "
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


def parse(jql: str, store: Store, who: Account) -> Query:
    """Parse and check a query for one account; a JiraError 400 names what is wrong."""
    return Parser(jql, store, who).parse()
