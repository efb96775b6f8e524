"""From a stack trace to a line of the repository."""

from __future__ import annotations

import pytest
from tests.unit.remediation.test_propose import refusal

from selfheal.diagnosis.traces import Frame, Trace
from selfheal.remediation import code_place

TEXT = b"one\ntwo\nthree\n"
FILES = {"services/orders/app/main.py": TEXT, "services/orders/app/price.py": TEXT, "services/other/price.py": TEXT, "docs/main.py": TEXT}


def trace(*frames: tuple[str, int]) -> Trace:
    return Trace("Python", "ValueError: x", tuple(Frame(path, line, "f") for path, line in frames))


def places(*frames: tuple[str, int], path: str = "services") -> list[tuple[str, int]]:
    return [(one.file, one.line) for one in code_place.find_places(trace(*frames), FILES, path)]


def test_the_longest_end_of_the_path_decides() -> None:
    assert places(("/srv/app/price.py", 2), ("/srv/app/main.py", 3)) == [
        ("services/orders/app/price.py", 2), ("services/orders/app/main.py", 3),
    ]  # fmt: skip
    assert places(("C:\\srv\\other\\price.py", 1)) == [("services/other/price.py", 1)]
    assert places(("services/other/price.py", 1)) == [("services/other/price.py", 1)]


def test_libraries_and_files_of_elsewhere_are_passed_over() -> None:
    frames = (("/usr/lib/python3.12/json/decoder.py", 5), ("/srv/unknown.py", 1), ("/srv/app/main.py", 1))
    assert places(*frames) == [("services/orders/app/main.py", 1)]
    assert places(("/srv/app/price.py", 99), ("/srv/app/main.py", 1), ("/srv/app/main.py", 1)) == [("services/orders/app/main.py", 1)]


def test_what_is_not_found_or_not_clear_is_said() -> None:
    assert refusal(places, ("/srv/nowhere.py", 1)) == "CodeNotFound"
    assert refusal(places, ("/srv/price.py", 1)) == "CodeAmbiguous"
    assert places(("/srv/app/main.py", 1), ("/srv/price.py", 1)) == [("services/orders/app/main.py", 1)]
    assert refusal(places, ("/srv/main.py", 1), path="lib") == "CodeNotFound"


def test_an_excerpt_is_numbered_and_marks_the_line() -> None:
    text = "".join(f"line {number}\n" for number in range(1, 301)).encode()
    shown = code_place.render_excerpt(text, 150).splitlines()
    assert (shown[0], shown[60], shown[-1]) == ("   90  line 90", "  150> line 150", "  210  line 210")
    assert code_place.render_excerpt(b"a", 1) == "    1> a"


@pytest.mark.parametrize(("most", "names"), [(1, ["services/other/price.py"]), (3, ["services/other/price.py", "docs/main.py"])])
def test_only_files_of_the_trace_may_be_edited(most: int, names: list[str]) -> None:
    found = [code_place.Place("services/other/price.py", 1), code_place.Place("docs/main.py", 1), code_place.Place("services/other/price.py", 2)]
    assert list(code_place.choose_files(found, FILES, most=most)) == names
