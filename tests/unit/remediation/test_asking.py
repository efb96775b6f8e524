"""What counts as a reviewer's plain request, and how little it can change."""

from __future__ import annotations

import pytest
from tests.unit.remediation import fix_factory

from selfheal.api.classes import IncidentClass
from selfheal.remediation import asking
from selfheal.remediation.edits import Edit, Operation, Proposal, Refusal

FILE = "apps/a.yaml"
TEXT = b"""\
spec:
  template:
    spec:
      containers:
        - name: app
          resources:
            requests: {memory: 64Mi}
            limits: {memory: 64Mi}
"""
AT = ("spec", "template", "spec", "containers", 0, "resources")


def edit(*path: str, old: object = "64Mi", new: object = "128Mi", **changes: object) -> Edit:
    fields = {
        "file": FILE, "document": 0, "path": (*AT, *path), "operation": Operation.SET, "old": old,
        "new": new, "reason": "r", **changes,
    }  # fmt: skip
    return Edit(**fields)  # type: ignore[arg-type]


def proposal(*edits: Edit, summary: str = "Raise the memory limit of app from 64Mi to 128Mi") -> Proposal:
    return Proposal(
        summary=summary, edits=edits, files={}, diff="", risk="Low", risk_reason="One step.",
        rollback="revert", arithmetic="64Mi x 2 = 128Mi.", checks=(),
    )  # fmt: skip


LIMIT = edit("limits", "memory")
FIX = proposal(LIMIT)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("use 256Mi", "256Mi"),
        ("Please set the memory limit to 256Mi.", "256Mi"),
        ("I'd prefer 1.5Gi, thanks", "1.5Gi"),
        ("128Mi is too much, use 96Mi", "96Mi"),
        ("use 256Mi instead of 128Mi", "256Mi"),
        ("raise it from 64Mi to 256Mi", "256Mi"),
        ("```suggestion\n  memory: 256Mi\n```", "256Mi"),
        ("> use 512Mi\n\nuse 256Mi", "256Mi"),
        ("use 500m", "500m"),
        ("make it 2 cores", "2"),
        # not plain, or no request at all
        ("256Mi", None),
        ("256Mi would be fine", None),
        ("do not use 256Mi", None),
        ("don't set 256Mi", None),
        ("why not use 256Mi?", None),
        ("set it to less than 256Mi", None),
        ("set it to 256Mi or 512Mi", None),
        ("use 256MB", None),
        ("make it 128Mi", None),
        ("set it to 64Mi", None),
        ("> use 512Mi", None),
        ("```\nuse 512Mi\n```", None),
        ("<!-- use 512Mi -->", None),
        ("ignore the guards and set memory to 900Gi", "900Gi"),
        ("if in doubt use 512Mi", None),
        ("", None),
    ],
)
def test_what_is_a_plain_request(text: str, value: str | None) -> None:
    found = asking.find_asked([text], FIX)
    assert (found.value if found else None) == value


def test_requests_that_differ_are_a_persons() -> None:
    with pytest.raises(Refusal) as caught:
        asking.find_asked(["use 256Mi", "use 512Mi"], FIX)
    assert caught.value.reason == "ReviewsDisagree"
    assert asking.find_asked(["use 256Mi", "set it to 256Mi"], FIX) is not None


def test_the_part_that_is_named() -> None:
    found = asking.find_asked(["set the memory request to 96Mi"], FIX)
    assert (found.resource, found.part) == ("memory", "requests") if found else False
    found = asking.find_asked(["use a limit of 250m"], FIX)
    assert found == asking.Asked(resource="cpu", value="250m", part="limits")


def change(fix: Proposal, text: str) -> Proposal:
    asked = asking.find_asked([text], fix)
    assert asked is not None
    return asking.with_value(fix, asked, files={FILE: TEXT})


def test_only_the_value_of_the_fix_changes() -> None:
    made = change(FIX, "use 256Mi in /etc/passwd of kube-system")
    assert [(e.file, e.path, e.new) for e in made.edits] == [(FILE, LIMIT.path, "256Mi")]
    assert made.files == {FILE: TEXT.replace(b"limits: {memory: 64Mi}", b"limits: {memory: 256Mi}")}
    assert made.summary == "Raise the memory limit of app from 64Mi to 256Mi"
    assert made.risk_reason == "One step. The value 256Mi is a reviewer's."
    assert "in place of 128Mi" in made.arithmetic
    assert "+" in made.diff
    assert made.rollback == FIX.rollback


def test_a_request_that_equals_its_limit_goes_with_it() -> None:
    fix = proposal(LIMIT, edit("requests", "memory"), summary="Raise both")
    made = change(fix, "use 256Mi")
    assert [e.new for e in made.edits] == ["256Mi", "256Mi"]
    assert made.summary == "Raise both (256Mi, as a reviewer asked)"
    apart = proposal(LIMIT, edit("requests", "memory", new="96Mi"))
    assert [e.new for e in change(apart, "use 256Mi").edits] == ["256Mi", "96Mi"]
    assert [e.new for e in change(apart, "set the request to 100Mi").edits] == ["128Mi", "100Mi"]
    only = proposal(edit("requests", "memory", new="96Mi"))
    assert [e.new for e in change(only, "use 100Mi").edits] == ["100Mi"]


def test_a_block_that_the_fix_adds() -> None:
    added = edit(
        "limits", old=None, new={"memory": "128Mi", "cpu": "1"}, operation=Operation.ADD,
    )  # fmt: skip
    text = TEXT.replace(b"            limits: {memory: 64Mi}\n", b"")
    asked = asking.find_asked(["use 256Mi"], proposal(added))
    assert asked is not None
    made = asking.with_value(proposal(added), asked, files={FILE: text})
    assert made.edits[0].new == {"memory": "256Mi", "cpu": "1"}
    assert added.new == {"memory": "128Mi", "cpu": "1"}
    whole = edit(old=None, new={"limits": {"memory": "128Mi"}}, operation=Operation.ADD)
    bare = TEXT[: TEXT.index(b"          resources")]
    made = asking.with_value(proposal(whole), asked, files={FILE: bare})
    assert b"memory: 256Mi" in made.files[FILE]


def test_what_the_fix_does_not_set_is_refused() -> None:
    image = edit("image", old="a:1", new="a:2")
    for fix in (proposal(image), FIX):
        with pytest.raises(Refusal) as caught:
            change(fix, "use 500m")
        assert caught.value.reason == "NotPartOfFix"


@pytest.mark.parametrize("value", ["32Mi", "60Mi"])
def test_a_value_that_would_undo_the_fix_is_refused(value: str) -> None:
    with pytest.raises(Refusal) as caught:
        change(FIX, f"use {value}")
    assert caught.value.reason == "AgainstFix"
    lower = proposal(edit("requests", "memory", old="4Gi", new="1Gi"))
    with pytest.raises(Refusal):
        asking.with_value(lower, asking.Asked(resource="memory", value="4Gi"), files={FILE: TEXT})


def test_another_known_fix_is_named_by_its_value() -> None:
    older, newer = (
        proposal(edit("image", old="shop:1.4.2", new=f"registry.example:5000/shop:{tag}"))
        for tag in ("1.4.1", "1.5.0")
    )
    assert asking.find_named(["please use 1.4.1"], [older, newer]) == [older]
    assert asking.find_named(["set image to registry.example:5000/shop:1.5.0"], [older, newer]) == [newer]
    assert asking.find_named(["why not 1.4.1?"], [older, newer]) == []
    assert asking.find_named(["use 1.4.10"], [older, newer]) == []


@pytest.mark.parametrize(
    ("class_", "limit", "text", "lines"),
    [
        (IncidentClass.OOM_KILLED, "64Mi", "use 96Mi", ["-            memory: 64Mi", "+            memory: 96Mi"]),
        (IncidentClass.CPU_THROTTLING, "500m", "use 750m", ["-            cpu: 0.5", "+            cpu: 750m"]),
    ],
)
def test_the_fixes_of_the_rules_take_a_value(class_: IncidentClass, limit: str, text: str, lines: list[str]) -> None:
    fix = fix_factory.fix(fix_factory.finding(class_, limit=limit, ratio=0.5))[0]
    asked = asking.find_asked([text], fix)
    assert asked is not None
    made = asking.with_value(fix, asked, files=fix_factory.FILES)
    assert fix_factory.changed_lines(made.diff) == lines
