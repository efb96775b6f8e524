"""What an edit of Python may not bring in or take away, judged on its syntax tree. Pure.

Words alone are easily got round: another alias, another spelling, an equal number of matches. Here
what is new is compared with what stood there: modules, names that reach out, handlers that swallow,
literals that are addresses; and what is gone: calls, raises, conditions, decorators. Deny by
default.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator

SAFE_MODULES = frozenset(
    {"collections", "copy", "dataclasses", "datetime", "decimal", "enum", "fractions", "functools",
     "itertools", "json", "math", "numbers", "operator", "re", "statistics", "string", "textwrap",
     "typing", "zoneinfo", "__future__"}
)  # fmt: skip
"""Modules of the language that a fix may begin to use: they compute, and reach nothing."""

_NEVER = frozenset(
    {"eval", "exec", "compile", "__import__", "getattr", "setattr", "delattr", "globals", "locals",
     "vars", "exit", "quit", "open", "input", "breakpoint", "SystemExit", "KeyboardInterrupt",
     "__builtins__", "__class__", "__subclasses__", "__globals__"}
)  # fmt: skip
_COMPUTES = frozenset(
    {"abs", "bool", "dict", "enumerate", "float", "int", "len", "list", "max", "min", "range",
     "round", "set", "sorted", "str", "sum", "tuple", "zip"}
)  # fmt: skip
_ADDRESS = re.compile(
    r"://|^(?:\d{1,3}\.){3}\d{1,3}$|^[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}(?::\d+)?(?:/|$)"
)
_BROAD = frozenset({"Exception", "BaseException"})
_TRUSTS = frozenset({"verify", "check_hostname", "cert_reqs", "ssl", "secure", "auth", "headers"})


def find(before: str, after: str) -> tuple[str, str] | None:
    """Return reason and sentence of what an edit does that no fix may; None: nothing that is known.

    Both texts parse.
    """
    old, new = ast.parse(before), ast.parse(after)
    return _brought_in(old, new) or _taken_away(old, new)


def _brought_in(old: ast.Module, new: ast.Module) -> tuple[str, str] | None:
    bound = set(_aliases(new)) - set(_aliases(old))
    modules = {module for _, module in bound} - SAFE_MODULES
    if modules:
        return "RunsPrograms", f"it begins to use {', '.join(sorted(modules))}"
    known = {alias for alias, module in _aliases(old) if module not in SAFE_MODULES}
    names = _more(_names(old), _names(new))
    wild = sorted(name for name in names if name in _NEVER or name.partition(".")[0] in known)
    if wild:
        return "RunsPrograms", f"it begins to use {', '.join(wild)}"
    addresses = sorted(set(_addresses(new)) - set(_addresses(old)))
    if addresses:
        return "ReachesOut", f"it names the address {addresses[0]}"
    if _more(Counter(_swallowers(old)), Counter(_swallowers(new))):
        return "HidesFailure", "it swallows every error"
    if _more(Counter(_constants(old)), Counter(_constants(new))):
        return "HidesFailure", "a condition would always or never hold"
    return None


def _taken_away(old: ast.Module, new: ast.Module) -> tuple[str, str] | None:
    if Counter(_trusted(old)) != Counter(_trusted(new)):
        return "WeakensSecurity", "it changes how somebody is trusted"
    lost = _more(_calls(new), _calls(old))
    if lost:
        return "RemovesCode", f"a call of {sorted(lost)[0]} would be gone"
    for kind, what in (
        (ast.Raise, "a raise"),
        (ast.If, "a condition"),
        (ast.Assert, "an assertion"),
    ):
        if _count(new, kind) < _count(old, kind):
            return "RemovesCode", f"{what} would be gone"
    if _more(Counter(_decorators(new)), Counter(_decorators(old))):
        return "RemovesCode", "a decorator would be gone"
    return None


def _more(one: Counter[str], other: Counter[str]) -> set[str]:
    """Return what the other holds more often."""
    return set(other - one)


def _aliases(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Iterate over names that imports bind, with the first part of their module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                module = one.name.partition(".")[0]
                yield one.asname or module, module
        elif isinstance(node, ast.ImportFrom):
            module = "." if node.level else str(node.module).partition(".")[0]
            yield from ((one.asname or one.name, module) for one in node.names)


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _names(tree: ast.Module) -> Counter[str]:
    found = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute | ast.Name))
    return Counter(
        name
        for node in found
        for name in (_dotted(node), node.attr if isinstance(node, ast.Attribute) else "")
        if name
    )


def _calls(tree: ast.Module) -> Counter[str]:
    """Count calls by the last part of their name; those that only compute may go."""
    found = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    names = Counter(
        one.attr if isinstance(one, ast.Attribute) else _dotted(one) or "something" for one in found
    )
    return Counter({name: number for name, number in names.items() if name not in _COMPUTES})


def _addresses(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        value = node.value if isinstance(node, ast.Constant) else None
        if isinstance(value, str) and _ADDRESS.search(value):
            yield value


def _swallowers(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        types = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        broad = any(one is None or _dotted(one).rpartition(".")[2] in _BROAD for one in types)
        if broad and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node)):
            yield "handler"


def _constants(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If | ast.While | ast.IfExp) and isinstance(node.test, ast.Constant):
            yield "constant"


def _trusted(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in _TRUSTS:
            yield f"{node.arg}={ast.dump(node.value)}"


def _decorators(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        for one in getattr(node, "decorator_list", ()):
            yield ast.dump(one)


def _count(tree: ast.Module, kind: type[ast.AST]) -> int:
    return sum(isinstance(node, kind) for node in ast.walk(tree))
