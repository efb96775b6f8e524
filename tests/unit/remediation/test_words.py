"""Texts of a container that may be corrected."""

from __future__ import annotations

from typing import Any

from selfheal.remediation import words, workloads


class Source:
    """What ``words`` asks of a draft."""

    def __init__(self, manifest: dict[str, Any]) -> None:
        self.manifest = manifest

    def look(self, path: tuple[str | int, ...]) -> Any:
        return workloads.look(self.manifest, path)


def test_what_is_no_text_is_no_place_for_a_word() -> None:
    source = Source({"command": ["serve", 8080], "env": [{"name": "A", "value": "x"}, {"name": "B"}]})
    found = list(words.places(source, ()))  # type: ignore[arg-type]
    assert [(place.path, place.text) for place in found] == [
        (("command", 0), "serve"),
        (("env", 0, "value"), "x"),
    ]
