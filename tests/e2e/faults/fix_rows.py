"""What became of a fault's fix, counted: lines against lines needed, verified, wrong; nothing outside is asked."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

RESOLVED = "INCIDENT_RESOLVED"
PERSON = "INCIDENT_REQUIRES_HUMAN"
ENDS = (RESOLVED, PERSON)

GUARDING = (
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "limits",
    "securityContext",
    "NetworkPolicy",
    "ResourceQuota",
)
"""What a fix takes from no file."""
WIDE = (r":latest\b", r"replicas: *0\b", r"[\"']\*[\"']", r"privileged: *true\b", r"cluster-admin")
"""What a fix brings into no file."""


@dataclasses.dataclass(kw_only=True)
class Row:
    """One fault in one layout, from the commit that brought it to the end of its incident."""

    fault: str
    layout: str
    action: str  # what the library says is right: fix, hand-over or none
    namespace: str = ""
    class_: str = ""
    phases: list[str] = dataclasses.field(default_factory=list)
    pull: int | None = None
    merged: bool = False
    lines: int = 0
    needed: int = 0
    still_failing: bool = False  # looked at once more, after the end
    weakened: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0  # from filing to the end
    taken_back: bool = False  # it did not prove itself, and a revert was proposed
    by_hand: list[str] = dataclasses.field(default_factory=list)  # what the operator asked of a person
    stopped: str = ""  # why it is not resolved, in the operator's words
    diff: str = ""
    trouble: str = ""  # the fault could not be shown: says nothing about the operator

    @property
    def phase(self) -> str:
        return self.phases[-1] if self.phases else ""

    @property
    def verified(self) -> bool:
        """Whether a merged pull request has mended it: the operator says so, and another look agrees."""
        return (
            self.merged and self.phase == RESOLVED and not self.still_failing and not self.weakened
        )

    @property
    def wrong(self) -> bool:
        """Whether a fix was proposed where none is right, or one that does not mend it was merged and left in place."""
        failed = self.merged and not self.verified
        honest = self.taken_back and self.phase == PERSON
        return (self.pull is not None and self.action != "fix") or (failed and not honest)

    @property
    def right(self) -> bool:
        """Whether it ended as the library says."""
        return self.verified if self.action == "fix" else self.pull is None and self.phase in ENDS


def count_lines(diff: str) -> int:
    """Count the lines that a unified diff removes or adds, a replaced line once."""
    total = removed = added = 0
    for line in [*diff.splitlines(), " "]:
        if line.startswith("-") and not line.startswith("--- "):
            removed += 1
        elif line.startswith("+") and not line.startswith("+++ "):
            added += 1
        else:
            total, removed, added = total + max(removed, added), 0, 0
    return total


def count_needed(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> int:
    """Count the lines that make some files others, a replaced line once."""
    return sum(
        count_lines(
            "\n".join(
                difflib.unified_diff(
                    before.get(name, b"").decode().splitlines(),
                    after.get(name, b"").decode().splitlines(),
                    lineterm="",
                    n=0,
                )
            )
        )
        for name in {*before, *after}
    )


def find_weakened(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> list[str]:
    """Find what files guard less, or allow more, than they did."""
    old, new = (
        b"\n".join(files[name] for name in sorted(files)).decode() for files in (before, after)
    )
    less = [
        f"{word} was taken away"
        for word in GUARDING
        if _count(rf"\b{word}\b", new) < _count(rf"\b{word}\b", old)
    ]
    return less + [
        f"{word} was brought in" for word in WIDE if _count(word, new) > _count(word, old)
    ]


def _count(pattern: str, text: str) -> int:
    return sum(len(re.findall(pattern, line.partition(" #")[0])) for line in text.splitlines())


def compute_figures(rows: Sequence[Row]) -> dict[str, tuple[float, str]]:
    """Compute the published figures; a fault that could not be shown counts as not fixed."""
    to_fix = [row for row in rows if row.action == "fix"]
    verified = [row for row in to_fix if row.verified]
    needed = sum(row.needed for row in verified)
    figures = {
        "verified_fix_rate": (_share(len(verified), len(to_fix)), f"of {len(to_fix)}"),
        "wrong_fix_rate": (_share(sum(row.wrong for row in rows), len(rows)), f"of {len(rows)}"),
        "lines_changed_over_needed": (
            _share(sum(row.lines for row in verified), needed),
            f"of {needed} lines",
        ),
        "taken_back": (float(sum(row.taken_back for row in rows)), f"of {len(rows)}"),
        "steps_by_hand": (float(sum(len(row.by_hand) for row in rows)), f"of {len(rows)}"),
        "faults_not_shown": (float(sum(bool(row.trouble) for row in rows)), f"of {len(rows)}"),
    }
    for layout in sorted({row.layout for row in to_fix}):
        of_it = [row for row in to_fix if row.layout == layout]
        figures[f"verified_fix_rate_{layout}"] = (
            _share(sum(row.verified for row in of_it), len(of_it)),
            f"of {len(of_it)}",
        )
    return figures


def _share(part: float, whole: float) -> float:
    return round(part / whole, 3) if whole else 0.0


def render(rows: Sequence[Row]) -> str:
    """Return the table for a person, one row a fault and layout."""
    lines = [
        f"{'fault':<30} {'layout':<9} {'class':<20} {'lines':>5} {'need':>4} {'verified':<8} {'wrong':<5} {'s':>5}  end"
    ]
    for row in sorted(rows, key=lambda one: (one.fault, one.layout)):
        end = row.trouble or ("" if row.phase == RESOLVED else f"{row.phase}: {row.stopped}")
        end += "; still failing" if row.still_failing else ""
        end = "; ".join([end, *(f"by hand: {one}" for one in row.by_hand)])
        end = "; ".join([end, *row.weakened]) if row.weakened else end
        lines.append(
            f"{row.fault:<30} {row.layout:<9} {row.class_ or '-':<20} {row.lines:>5} {row.needed:>4} "
            f"{_word(row.verified):<8} {_word(row.wrong):<5} {row.seconds:>5.0f}  {end}".rstrip()
        )
    lines += [
        f"{name:<30} {value:>8} {unit}" for name, (value, unit) in compute_figures(rows).items()
    ]
    return "\n".join(lines)


def _word(said: bool) -> str:
    return "yes" if said else "no"


def as_json(row: Row) -> dict[str, Any]:
    """Return a row for a file."""
    return dataclasses.asdict(row) | {
        "verified": row.verified,
        "wrong": row.wrong,
        "right": row.right,
    }
