"""What can be told of code without running it: whether it parses, what it defines and needs. Pure.

Python is really parsed, JSON and YAML too; of other languages only brackets are counted, which a
proposal says as a risk (``is_checked``).
"""

from __future__ import annotations

import ast
import json
import re
import sys
import warnings

import yaml

_PARSED = (".py", ".json", ".yaml", ".yml")
_PAIRS = {")": "(", "]": "[", "}": "{"}
# what brackets do not count in: strings and comments of C-like languages
_QUIET = re.compile(
    r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`", re.S
)
_DEFINES = re.compile(
    r"^\s*(?:export\s+)?(?:public\s+|private\s+|protected\s+|static\s+|final\s+|async\s+)*"
    r"(?:func|function|class|interface|struct|type|def)\s+(?:\([^)]*\)\s*)?(\w+)", re.M
)  # fmt: skip
_IMPORTS = re.compile(
    r"""^\s*import\s+(?:static\s+)?([\w.]+)\s*;|require\(\s*["']([^"']+)["']\s*\)"""
    r"""|\bfrom\s+["']([^"']+)["']|^\s*import\s+["']([^"']+)["']""", re.M
)  # fmt: skip


def is_checked(name: str) -> bool:
    """Tell whether files of this name are really parsed."""
    return name.endswith(_PARSED)


def find_problem(name: str, text: str) -> str | None:
    """Return why a file does not parse; None: it does, as far as can be told."""
    try:
        if name.endswith(".py"):
            _parse(text)
        elif name.endswith(".json"):
            json.loads(text)
        elif name.endswith((".yaml", ".yml")):
            list(yaml.safe_load_all(text))
        else:
            return _brackets(text)
    except (SyntaxError, ValueError, RecursionError, yaml.YAMLError) as error:
        return f"it does not parse: {str(error).splitlines()[0]}"
    return None


def _parse(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd escapes in code that is not ours
        return ast.parse(text)


def _brackets(text: str) -> str | None:
    open_ones: list[str] = []
    for letter in _QUIET.sub("", text):
        if letter in "([{":
            open_ones.append(letter)
        elif letter in _PAIRS and (not open_ones or open_ones.pop() != _PAIRS[letter]):
            return f"a {letter} closes nothing"
    return f"a {open_ones[-1]} is not closed" if open_ones else None


def list_definitions(name: str, text: str) -> frozenset[str]:
    """Return names of functions and classes; none where it does not parse."""
    if not name.endswith(".py"):
        return frozenset(_DEFINES.findall(text))
    if find_problem(name, text):
        return frozenset()
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return frozenset(node.name for node in ast.walk(_parse(text)) if isinstance(node, kinds))


def list_imports(name: str, text: str) -> frozenset[str]:
    """Return what a file imports, of Python by its first part; relative ones are left out."""
    if not name.endswith(".py"):
        found = {"".join(match) for match in _IMPORTS.findall(text)}
        return frozenset(one for one in found if not one.startswith("."))
    if find_problem(name, text):
        return frozenset()
    names: set[str] = set()
    for node in ast.walk(_parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(str(node.module).partition(".")[0])
    return frozenset(names)


def is_standard(name: str, module: str) -> bool:
    """Tell whether a module comes with the language itself."""
    if name.endswith(".py"):
        return module in sys.stdlib_module_names
    if name.endswith((".js", ".mjs", ".cjs", ".ts")):
        return module.startswith("node:")
    return module.startswith(("java.", "javax."))
