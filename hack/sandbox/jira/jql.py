"""A strict subset of JQL: parse, check and evaluate.

Sources: https://support.atlassian.com/jira-service-management-cloud/docs/jql-fields/ (fields and
their operators), .../jql-operators/ and .../jql-keywords/. What is not in the subset is refused with 400.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field

from hack.sandbox.jira.errors import JiraError
from hack.sandbox.jira.jql_clauses import ORDER, Clauses, Predicate, bad
from hack.sandbox.jira.state import PRIORITIES, Account, Issue, Store

EQUALITY = {"=", "!=", "in", "not in", "is", "is not"}
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


def _syntax(got: str, at: int, wanted: str) -> JiraError:
    return bad(f"Error in the JQL Query: Expecting {wanted} but got '{got or 'end of query'}'. "
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
            found.sort(key=functools.partial(_sort_key, name), reverse=descending)
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
            raise bad(f"Error in the JQL Query: The character '{jql[at]}' is a reserved JQL character. "
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


def _everything(issue: Issue) -> bool:
    return True


class Parser:
    """Recursive descent over the tokens; NOT is pushed down to the operators as Jira does."""

    def __init__(self, jql: str, store: Store, who: Account) -> None:
        self.tokens, self.i = tokens(jql), 0
        self.clauses = Clauses(store, who)
        self.restricted = False

    def parse(self) -> Query:
        """The whole query or a JiraError."""
        empty = self._is("order") or self._peek().kind == "end"
        match = _everything if empty else self._or(False)
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
            raise bad(f"Field '{token.text}' does not exist or you do not have permission to view it.")
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
            raise bad(f"The operator '{operator}' is not supported by the '{name}' field.")
        values = self._list() if operator in ("in", "not in") else [self._value()]
        if operator in ("is", "is not") and values != [None]:
            raise bad(f"The operator '{operator}' only supports EMPTY and NULL.")
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
            raise bad(f"Unable to find JQL function '{token.text}()'.")
        if token.text.lower() in RESERVED:
            raise bad(f"Error in the JQL Query: '{token.text}' is a reserved JQL word. You must "
                       f"surround it in quotation marks. (line 1, character {token.at + 1})")
        return token.text

    def _order(self) -> list[tuple[str, bool]]:
        self.i += 1
        self._take("by")
        order = []
        while True:
            name = self._field()
            if name in ("text", "comment"):
                raise bad(f"Field '{name}' cannot be sorted on.")
            descending = self._is("desc")
            if self._is("asc", "desc"):
                self.i += 1
            order.append((name, descending))
            if not self._is(","):
                return order
            self.i += 1


def parse(jql: str, store: Store, who: Account) -> Query:
    """Parse and check a query for one account; a JiraError 400 names what is wrong."""
    return Parser(jql, store, who).parse()
