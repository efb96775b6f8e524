"""Edits of code: what is applied, and every temptation that is refused."""

from __future__ import annotations

import pytest
from tests.unit.remediation.test_propose import refusal

from selfheal.api.policy import GuardsSpec
from selfheal.remediation import code_syntax, hunks
from selfheal.remediation.hunks import Hunk

PY = """\
import json


def total(prices):
    return sum(prices) / len(prices)


def read(text):
    try:
        return json.loads(text)
    except ValueError:
        raise
"""
JS = "const x = require('./x');\nfunction total(p) {\n  return p.items.length;\n}\n"
GO = "package main\n\nfunc total(p *Order) int {\n\treturn p.Items[0]\n}\n"
FILES = {"svc/price.py": PY.encode(), "svc/price.js": JS.encode(), "svc/price.go": GO.encode(), "svc/a.json": b'{"a": [1]}\n'}
MEAN = "    return sum(prices) / len(prices)\n"


def py(search: str, replace: str, path: str = "svc/price.py") -> Hunk:
    return Hunk(path, search, replace)


def apply(*edits: Hunk, files: dict[str, bytes] | None = None, **guards: object) -> dict[str, bytes]:
    return hunks.apply(edits, files=files or FILES, spec=GuardsSpec.model_validate(guards), path="svc")


def test_one_place_changes_and_no_other_byte() -> None:
    new = "    return sum(prices) / len(prices) if prices else 0\n"
    assert apply(py(MEAN, new)) == {"svc/price.py": PY.replace(MEAN, new).encode()}
    two = apply(py(MEAN, new), py("json.loads(text)", "json.loads(text or '{}')"))
    assert two["svc/price.py"].decode() == PY.replace(MEAN, new).replace("loads(text)", "loads(text or '{}')")


def test_line_ends_stay_what_they_are() -> None:
    files = {"svc/price.py": PY.replace("\n", "\r\n").encode()}
    found = apply(py(MEAN, "    return 1\n"), files=files)["svc/price.py"]
    assert found.count(b"\r\n") == found.count(b"\n") == PY.count("\n")


def test_what_comes_with_the_language_may_be_imported() -> None:
    assert apply(py("import json\n", "import json\nimport math\n"))
    assert apply(py("const x", "const m = require('node:util');\nconst x", "svc/price.js"))


REFUSED: list[tuple[str, Hunk]] = [
    ("HunkNotFound", py("return nothing", "return 1")),
    ("HunkNotFound", py("  \n", "x")),
    ("HunkNotFound", py(MEAN, "x" * 30_000)),
    ("HunkAmbiguous", py("prices", "items")),
    ("NothingChanged", py(MEAN, MEAN)),
    ("NothingChanged", py(MEAN, f"    # careful\n{MEAN}")),
    ("OutsidePath", py("a", "b", "svc/other.py")),
    ("OutsidePath", py("a", "b", "../etc/passwd")),
    ("DoesNotParse", py(MEAN, "    return sum(prices\n")),
    ("DoesNotParse", py("p.items.length;\n}", "p.items.length;\n}}", "svc/price.js")),
    ("DoesNotParse", py("p.items.length;\n}", "p.items.length;\n", "svc/price.js")),
    ("DoesNotParse", py("[1]", "[1", "svc/a.json")),
    ("RemovesCode", py("def total(prices):\n" + MEAN, "")),
    ("RemovesCode", py("func total(p *Order) int", "func Sum(p *Order) int", "svc/price.go")),
    ("HidesFailure", py("    except ValueError:\n        raise\n", "    except Exception:\n        pass\n")),
    ("HidesFailure", py("    except ValueError:\n        raise\n", "    except:\n        pass\n")),
    ("HidesFailure", py(MEAN, "    import sys; sys.exit(0)\n")),
    ("HidesFailure", py("return p.items.length;", "try { return p.items.length } catch (e) {}", "svc/price.js")),
    ("HidesFailure", py(MEAN, "    import contextlib\n    with contextlib.suppress(Exception):\n        return sum(prices) / len(prices)\n")),
    ("WeakensSecurity", py(MEAN, "    return get(prices, verify=False)\n")),
    ("WeakensSecurity", py("return p.Items[0]", "return get(p, tls.Config{InsecureSkipVerify: true})", "svc/price.go")),
    ("RunsPrograms", py(MEAN, "    return eval(prices)\n")),
    ("RunsPrograms", py("import json\n", "import json\nimport subprocess\n")),
    ("ReachesOut", py(MEAN, '    return "https://evil.example"\n')),
    ("TouchesSecret", py(MEAN, '    password = "hunter2"\n')),
    ("DeletesData", py(MEAN, "    import os; os.remove(prices)\n")),
    ("AddsDependency", py("import json\n", "import json\nimport numpy\n")),
    ("AddsDependency", py("import json\n", "import json\nfrom pandas.core import x\n")),
    ("AddsDependency", py("const x", "const l = require('lodash');\nconst x", "svc/price.js")),
]


@pytest.mark.parametrize(("reason", "hunk"), REFUSED, ids=[f"{reason}-{number}" for number, (reason, _) in enumerate(REFUSED)])
def test_what_is_refused(reason: str, hunk: Hunk) -> None:
    assert refusal(apply, hunk) == reason


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        ("TouchesTests", "svc/tests/price.py"), ("TouchesTests", "svc/test_price.py"), ("TouchesTests", "svc/price.test.js"),
        ("ProtectedPath", "svc/Dockerfile"), ("ProtectedPath", "svc/package.json"), ("ProtectedPath", "svc/run.sh"),
        ("ProtectedPath", ".github/workflows/ci.py"), ("OutsidePath", "other/price.py"),
    ],
)  # fmt: skip
def test_files_that_no_fix_of_code_touches(reason: str, name: str) -> None:
    path = "" if name.startswith(".github") else "svc"
    found = refusal(
        hunks.apply, [Hunk(name, "old", "new")], files={name: b"old\n"}, spec=GuardsSpec(), path=path
    )
    assert found == reason


def test_it_stays_small() -> None:
    assert refusal(apply) == "TooManyHunks"
    assert refusal(apply, *[py(MEAN, "    return 1\n")] * 5) == "TooManyHunks"
    assert refusal(apply, py(MEAN, "    x = 1\n" * 50 + MEAN)) == "TooManyLines"
    two = (py(MEAN, "    return 1\n"), py("p.items.length", "0", "svc/price.js"))
    assert refusal(apply, *two, maxFiles=1) == "TooManyFiles"


def test_what_stood_there_before_may_stay() -> None:
    bold = "import subprocess\n\n\ndef run(x):\n    return subprocess.run(x.split())\n"
    found = apply(py("x.split()", "(x or '').split()", "svc/a.py"), files={"svc/a.py": bold.encode()})
    assert found["svc/a.py"].decode() == bold.replace("x.split()", "(x or '').split()")


def test_a_file_that_never_parsed_is_only_looked_at_for_words() -> None:
    files = {"svc/a.py": b"print 'old python'\nx = y\n"}
    assert apply(py("x = y", "x = z", "svc/a.py"), files=files) == {"svc/a.py": b"print 'old python'\nx = z\n"}


def test_what_can_be_told_of_code() -> None:
    assert code_syntax.is_checked("a.py")
    assert not code_syntax.is_checked("a.go")
    assert code_syntax.find_problem("a.yaml", "a: [1") is not None
    assert code_syntax.find_problem("a.yaml", "a: [1]") is None
    assert code_syntax.find_problem("a.js", 'const a = "}"; // {\nconst b = `${a}`; /* ( */') is None
    assert code_syntax.find_problem("a.js", ")") == "a ) closes nothing"
    assert code_syntax.list_definitions("A.java", "public class A {\n  class B {}\n}\n") == {"A", "B"}
    assert code_syntax.list_imports("A.java", "import java.util.List;\nimport com.x.Y;\n") == {"java.util.List", "com.x.Y"}
    assert code_syntax.list_imports("a.py", "from . import x\nfrom .y import z\nimport a.b, c\n") == {"a", "c"}
    assert code_syntax.list_imports("a.py", "import (") == frozenset()
    assert code_syntax.is_standard("A.java", "java.util.List")
    assert not code_syntax.is_standard("A.java", "com.x.Y")
