"""What a fix may change of how a container runs and is probed; deny by default.

Commands, variables and references may be corrected, never emptied, never put to sleep; a credential
never goes to Git. Probes may be corrected and given patience, never removed or made to always pass.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from selfheal.remediation.changes import DocumentChange, Leaf
from selfheal.remediation.edits import Refusal

Rule = Callable[[Leaf], str | None]

LONGEST_WAIT = 30
"""Highest timeoutSeconds that a fix sets."""

MOST_TRIES = 300
"""Highest failureThreshold of a startup probe; with a period of 3 s a quarter of an hour."""

LONGEST_START = 960
"""Seconds that a startup probe may allow: what fixes give, and the round-up to whole periods."""

ALIKE = 0.75
"""Least difflib ratio of two spellings of the same word."""

# What makes everything green and does nothing: waiting for ever, or succeeding whatever happens.
_IDLE = re.compile(
    r"\bsleep\b|\btail -f|\btail\b.*?/dev/null|\bwhile (?:true|:|sleep)|\bpause\b|"
    r"\bhttp\.server\b|\b(?:nc|ncat|netcat) -\w*l|^(?:/bin/)?(?:echo|printf|date) |"
    r"\|\| *(?:true|:|exit 0)|; *(?:true|:|exit 0)|\bset \+e\b|\btrap\b|"
    r"^(?:/bin/|/usr/bin/)?(?:true|:|exit 0|yes|cat)$",
    re.MULTILINE,
)
_SECRET_NAME = re.compile(
    r"pass(?:word|wd|phrase)?|secret|token|api_?key|access_?key|private_?key|credential|_dsn|"
    r"connection_?string|auth_?key",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(
    r"://[^\s:/@]*:[^\s/@]+@|-----BEGIN|\bAKIA[0-9A-Z]{16}|\bgh[pousr]_\w{20}"
)
# A check that is switched off, or code put into the process, by a variable or an option.
_WEAKER = re.compile(
    r"(?:^|[\W_])(?:skip|disable|ignore|bypass)[_-]?\w|(?:^|[\W_])(?:insecure|no[_-]?verify)|"
    r"reject_unauthorized|verify[_=-]*(?:0|no|off|false|none)\b|sslmode=(?:disable|allow)|"
    r"^ld_(?:preload|library_path|audit)\b|^bash_env\b|-javaagent|-agent(?:path|lib)|--require\b",
    re.IGNORECASE | re.MULTILINE,
)
_HANDLERS = ("httpGet", "tcpSocket", "grpc", "exec")


def _gone(leaf: Leaf) -> bool:
    return leaf.after in (None, "", {}, [])


def _words(value: Any) -> str:
    """Return a command as lines, one a word, and as one line: both forms may be idle."""
    if not isinstance(value, list):
        return str(value or "")
    return "\n".join([*map(str, value), " ".join(map(str, value))])


def check_command(leaf: Leaf) -> str | None:
    """Refuse a command that is emptied, or that is made to do nothing or to succeed anyhow."""
    if _gone(leaf) or leaf.before is None or not isinstance(leaf.after, list):
        return "a command may be corrected, neither added nor removed"
    after, before = _words(leaf.after), _words(leaf.before)
    found = {match.group() for match in _IDLE.finditer(after)}
    if _is_slip(leaf.before, leaf.after):
        found = set()
    if found - {match.group() for match in _IDLE.finditer(before)}:
        return "a command is never replaced by one that only waits or always succeeds"
    if _WEAKER.search(after) and not _WEAKER.search(before):
        return "a check is never switched off to make something green"
    if _SECRET_VALUE.search(after) and not _SECRET_VALUE.search(before):
        return "a credential never goes to Git"
    return None


def _is_slip(before: Any, after: Any) -> bool:
    """Tell whether words are only spelt differently, so that the meaning stays what it was."""
    if not isinstance(before, list) or not isinstance(after, list) or len(before) != len(after):
        return False
    return all(
        difflib.SequenceMatcher(None, str(one), str(other)).ratio() >= ALIKE
        for one, other in zip(before, after, strict=True)
    )


def check_variable(leaf: Leaf) -> str | None:
    """Refuse literal credentials; whether a variable is lost is for the whole document to show."""
    if leaf.after is None:
        return None
    name, text = str(leaf.path[-2] if leaf.path[-1] == "value" else leaf.path[-1]), str(leaf.after)
    if leaf.path[-1] == "value" and (_SECRET_NAME.search(name) or _SECRET_VALUE.search(text)):
        return "a credential never goes to Git"
    return None


def check_reference(leaf: Leaf) -> str | None:
    """Refuse a reference that is removed or made optional."""
    if leaf.path[-1] == "optional":
        return "a reference is never made optional to make something green"
    return "a reference may be corrected, never removed" if _gone(leaf) else None


def check_reference_list(leaf: Leaf) -> str | None:
    """Refuse lists of references or keys that lose an entry or make one optional."""
    before, after = leaf.before, leaf.after
    if not isinstance(before, list) or not isinstance(after, list) or len(before) != len(after):
        return "references may be corrected, not added or removed"
    if str(after).count("'optional': True") > str(before).count("'optional': True"):
        return "a reference is never made optional to make something green"
    return None


def check_probe(leaf: Leaf) -> str | None:
    """Allow corrections of what is asked, longer waits, and a startup probe; nothing weaker."""
    if _gone(leaf):
        return "a probe is never removed or emptied"
    probe = next(str(step) for step in leaf.path if str(step).endswith("Probe"))
    field, value = leaf.path[-1], leaf.after
    if field in ("port", "path", "scheme", "service"):
        return None
    if field == "command" and "exec" in leaf.path:
        return _asks_the_same(leaf, probe)
    if probe == "startupProbe":
        return _startup(str(field), value)
    if field == "timeoutSeconds":
        return _waits(leaf)
    return "a probe may be corrected in what it asks and wait longer, never be weakened"


def _asks_the_same(leaf: Leaf, probe: str) -> str | None:
    """The program stays; a new startup probe is compared with the liveness probe."""
    if leaf.before is None and probe == "startupProbe":
        return None
    before, after = leaf.before, leaf.after
    lists = isinstance(before, list) and isinstance(after, list) and len(before) == len(after)
    if _is_slip(before, after) or (lists and before[:1] == after[:1]):
        return check_command(leaf)
    return "another question is no correction of a probe"


def _startup(field: str, value: Any) -> str | None:
    most = {"failureThreshold": MOST_TRIES, "periodSeconds": LONGEST_WAIT,
            "timeoutSeconds": LONGEST_WAIT, "initialDelaySeconds": LONGEST_WAIT}  # fmt: skip
    if field in most and isinstance(value, int) and 0 < value <= most[field]:
        return None
    return "a startup probe gives a start time, within bounds"


def _waits(leaf: Leaf) -> str | None:
    before = leaf.before if isinstance(leaf.before, int) else 1
    if isinstance(leaf.after, int) and before < leaf.after <= LONGEST_WAIT:
        return None
    return f"a probe may wait longer for an answer, up to {LONGEST_WAIT} s"


_CONTAINER = r"(?:.*/)?(?:containers|initContainers)/[^/]+"
_SOURCE = r"(?:configMapKeyRef|secretKeyRef|configMapRef|secretRef|configMap|secret)"
RULES: tuple[tuple[str, str, Rule], ...] = (
    (
        rf"{_CONTAINER}/(?:liveness|readiness|startup)Probe(?:/.*)?",
        "WeakensProbe",
        check_probe,
    ),
    (rf"{_CONTAINER}/(?:command|args)", "HidesFailure", check_command),
    (rf"{_CONTAINER}/env(?:/[^/]+)?/(?:name|value)", "TouchesSecret", check_variable),
    (
        rf"{_CONTAINER}/env/[^/]+/valueFrom/{_SOURCE}/(?:name|key|optional)",
        "HidesFailure",
        check_reference,
    ),
    (
        rf"{_CONTAINER}/envFrom/[^/]+/{_SOURCE}/(?:name|optional)",
        "HidesFailure",
        check_reference,
    ),
    (
        rf"(?:.*/)?volumes/[^/]+/(?:projected/sources/[^/]+/)?{_SOURCE}/"
        r"(?:name|secretName|optional|items/[^/]+/key)",
        "HidesFailure",
        check_reference,
    ),
    (
        rf"(?:{_CONTAINER}/envFrom|(?:.*/)?volumes/[^/]+/(?:.*/)?(?:items|sources))",
        "HidesFailure",
        check_reference_list,
    ),
)


def check_document(change: DocumentChange) -> None:
    """Raise Refusal where a container loses a variable, or a startup probe asks what none asked."""
    if change.before is None or change.after is None:
        return
    before, after = dict(_containers(change.before)), dict(_containers(change.after))
    for name, container in before.items():
        now = after.get(name, {})
        if len(now.get("env") or ()) < len(container.get("env") or ()):
            raise Refusal("ChangeNotAllowed", f"{change.name}: {name} would lose a variable.")
        added = now.get("startupProbe") if not container.get("startupProbe") else None
        if added is not None and _handler(added) != _handler(now.get("livenessProbe")):
            raise Refusal(
                "WeakensProbe",
                f"{change.name}: a new startup probe of {name} asks what its liveness probe asks.",
            )
        _check_variables(change.name, container, now)
        _check_probes(change.name, name, container, now, after)


def _check_variables(document: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise Refusal for a variable that switches a check off or puts code into the process."""
    old, new = _settings(before), _settings(now)
    for name, value in new.items():
        if old.get(name) != value and _WEAKER.search(f"{name}={value}\n{value}"):
            raise Refusal("HidesFailure", f"{document}: {name} would switch a check off.")


def _settings(container: Mapping[str, Any]) -> dict[str, str]:
    listed = [one for one in container.get("env") or () if isinstance(one, Mapping)]
    return {str(one.get("name")): str(one.get("value")) for one in listed}


def _check_probes(
    document: str,
    name: str,
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    containers: Mapping[str, Mapping[str, Any]],
) -> None:
    """Raise Refusal for a start without end, and for a probe that asks another container."""
    startup = now.get("startupProbe")
    if startup != before.get("startupProbe") and _patience(startup) > LONGEST_START:
        raise Refusal(
            "WeakensProbe", f"{document}: a start of {name} takes {LONGEST_START} s at the most."
        )
    own = _ports(now)
    others = {port for one, other in containers.items() if one != name for port in _ports(other)}
    for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
        old, new = _port(before.get(kind)), _port(now.get(kind))
        if new != old and new in others - own:
            raise Refusal(
                "WeakensProbe", f"{document}: port {new} that {kind} would ask is not of {name}."
            )


def _patience(probe: Any) -> float:
    """Return the seconds that a probe allows, with the defaults of Kubernetes."""
    if not isinstance(probe, Mapping):
        return 0
    values = [probe.get("failureThreshold", 3), probe.get("periodSeconds", 10)]
    tries, period = (value if isinstance(value, int) else 0 for value in values)
    return tries * period


def _ports(container: Mapping[str, Any]) -> set[str]:
    ports = [one for one in container.get("ports") or () if isinstance(one, Mapping)]
    return {str(one[key]) for one in ports for key in ("name", "containerPort") if key in one}


def _port(probe: Any) -> str | None:
    asked = [one for one in _handler(probe).values() if isinstance(one, Mapping)]
    return next((str(one["port"]) for one in asked if "port" in one), None)


def _handler(probe: Any) -> Any:
    return {name: value for name, value in _items(probe) if name in _HANDLERS}


def _items(value: Any) -> Any:
    return value.items() if isinstance(value, Mapping) else ()


def _containers(value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(value, Mapping):
        for key, child in value.items():
            if key in ("containers", "initContainers") and isinstance(child, list):
                yield from (
                    (str(one.get("name")), one) for one in child if isinstance(one, Mapping)
                )
            else:
                yield from _containers(child)
