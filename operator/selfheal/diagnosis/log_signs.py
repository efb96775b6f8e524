"""What the last lines of a dead container say: one table of patterns for all languages.

The sign nearest to the end of the log wins: what was logged earlier was survived. Lines of a stack
trace are passed over, since the message above or below them says more.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence

from selfheal.diagnosis.evidence import Item
from selfheal.diagnosis.reading import Container, Reading

LAST_LINES = 40
"""Lines without stack frames that are looked at: a program says why it ends when it ends."""

BLOCK_LINES = 3
"""Lines below a heading that are quoted with it."""

HALF_LINE = 250
"""Characters at the beginning and at the end of a longer line that are looked at."""

_PATH = r"(?P<what>(?:\.{0,2}/)?[\w.@+-][\w.@+/-]*|/[\w.@+/-]+)"
_QUOTED = r"['\"`\u2018\u201c]?"
_NAME = r"(?P<what>[A-Z][A-Z0-9_]{2,})"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sign:
    """One recognised line: ``what`` is the variable, file, port, host, flag or command meant."""

    fault: str
    line: str
    what: str | None
    log: Item


def _any(*patterns: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(pattern) for pattern in patterns)


# Faults in the order in which they are tried on one line; what a line says most precisely first.
_SIGNS: Sequence[tuple[str, Sequence[re.Pattern[str]]]] = (
    (
        "PortTaken",
        _any(
            r"(?i)EADDRINUSE[^\n]*?:(?P<what>\d{2,5})\b",
            r"(?i)(?:(?<!\d\d):|port[ =:]+)(?P<what>\d{2,5})\b(?!:\d)[^\n]*(?:already in use|"
            r"address in use|\(98:)",
            r"(?i)port (?P<what>\d{2,5}) (?:is|was) (?:already )?(?:in use|taken)",
            r"(?i)address (?:is )?already in use|EADDRINUSE|Address in use",
        ),
    ),
    (
        "MissingVariable",
        _any(
            rf"(?i:environment variable)s?:? {_QUOTED}{_NAME}{_QUOTED}",
            rf"{_QUOTED}{_NAME}{_QUOTED}(?:(?i: env(?:ironment)? ?var(?:iable)?))?:? "
            r"(?i:(?:is|was|are)? ?(?:required|not set|not defined|not provided|not found|missing|"
            r"undefined|unset|unbound variable|empty|parameter (?:null or )?not set|"
            r"must (?:be|not be|have|contain)|has to be set|needs to be set|cannot be empty|"
            r"parameter not set))",
            rf"(?i:(?:missing|required|undefined|unset|need|set|specify|provide|no)\b[^\n]{{0,40}}?"
            rf"(?:env\w*|variable|config\w*|setting|parameter|key)s?\b[^\n]{{0,12}}?)"
            rf"{_QUOTED}{_NAME}\b",
            rf"(?i:missing|required|undefined|you must (?:set|specify|provide)|please (?:set|"
            rf"provide)|must (?:set|provide|specify)|needs?|expected|no value for)[ :]+"
            rf"{_QUOTED}{_NAME}\b",
            rf"(?i:required key ){_NAME}(?i: missing value)",
            rf"(?i:key not found: ){_QUOTED}{_NAME}{_QUOTED}",
            r"(?i)could not resolve placeholder '(?P<what>[\w.-]+)'",
            r"(?i)environment variable not found|(?:missing|required) environment variable",
        ),
    ),
    (
        "MissingCommand",
        _any(
            r"exec: \"(?P<what>[^\"]+)\": (?:executable file not found|stat|no such file)",
            r"(?i)(?:^|[:\s])(?P<what>[\w./-]+): (?:command |inaccessible or )?not found$",
            r"(?i)No module named ['\"]?(?P<what>[\w.]+)",
            r"(?i)Cannot find module ['\"](?P<what>[^'\"]+)['\"]",
            r"(?i)Unable to access jarfile (?P<what>\S+)",
            r"(?i)Could not find or load main class (?P<what>[\w.$/-]+)",
            r"(?i)cannot load such file -- (?P<what>\S+)",
            r"(?i)Could not open input file: (?P<what>\S+)",
            r"(?i)can't open file ['\"](?P<what>[^'\"]+)['\"]",
            r"(?i)can't open perl script \"(?P<what>[^\"]+)\"",
        ),
    ),
    (
        "MissingFile",
        _any(
            rf"(?i)(?<!\w){_QUOTED}(?!ENOENT){_PATH}{_QUOTED}\)?[:,]? (?:failed )?\(?(?:2: )?"
            r"(?:no such file|file not found|not found|does not exist|doesn't exist)",
            rf"(?i)(?:can't open|could not open|unable to (?:open|read|load|find)|"
            rf"failed to (?:open|read|load)|cannot (?:open|load|read|find|access|stat)|"
            rf"missing file|file not found:?|does not exist:?) (?:\w+ ){{0,2}}"
            rf"{_QUOTED}(?P<what>(?:/|\./)[\w.@+/-]+)",
            rf"(?i)(?:no such file or directory|cannot find the file)[^\n]*?"
            rf"(?:: |, \w+ |@ \w+ - ){_QUOTED}{_PATH}",
            r"NoSuchFileException: (?P<what>\S+)",
            r"(?i)no such file or directory|FileNotFound|NoSuchFile|\bENOENT\b",
        ),
    ),
    (
        "BadArgument",
        _any(
            r"(?i)(?:unknown|unrecognized|unrecognised|invalid|illegal|undefined|unsupported)"
            r" (?:command[- ]line )?(?:flag|option|argument|switch|subcommand|command)s?\b"
            r"[^\n]{0,6}?[:=]? ?(?:-- )?['\"`]?(?P<what>[\w./=:-]+)",
            r"flag provided but not defined: (?P<what>\S+)",
            r"(?i)invalid (?:number|integer|value|literal|date|interval|duration|port|log level)"
            r"[^\n'\"`\u2018]*['\"`\u2018](?P<what>[^'\"`\u2019]+)",
            r"(?i)Unrecognized VM option '(?P<what>[^']+)'",
            r"(?i)Invalid (?:maximum|initial) heap size: (?P<what>\S+)",
            r"(?i)(?P<what>initial heap size) set to a larger value than the maximum",
            r"(?i)too small (?P<what>(?:initial|maximum) heap)",
            r"(?i)unexpected argument ['\"](?P<what>[^'\"]+)",
        ),
    ),
    (
        "UnknownHost",
        _any(
            r"(?i)bad address ['\"](?P<what>[\w.-]+)['\"]",
            r"(?i)(?:ENOTFOUND|EAI_AGAIN) (?P<what>[\w.-]+)",
            r"(?i)could not resolve host(?:name)?:? ['\"]?(?P<what>[\w.-]+)",
            r"(?i)UnknownHostException: (?P<what>[\w.-]+)",
            r"(?i)lookup (?P<what>[\w.-]+)(?: on \S+)?: (?:no such host|server misbehaving)",
            r"(?i)host not found in upstream \"(?P<what>[\w.-]+)",
            r"(?i)could not translate host name \"(?P<what>[\w.-]+)\"",
            r"(?i)can't resolve ['\"](?P<what>[\w.-]+)['\"]",
            r"(?i)(?:getaddrinfo|resolve|lookup|host)[^\n]{0,30}['\"](?P<what>[\w.-]+)['\"]"
            r"[^\n]{0,30}(?:name or service not known|not found|no such host|unknown)",
            r"(?i)name or service not known|temporary failure in name resolution|no such host|"
            r"name does not resolve|unknown host",
        ),
    ),
    (
        "Unreachable",
        _any(
            r"(?i)(?:ECONNREFUSED|connection refused|could not connect|failed to connect|"
            r"can't connect)[^\n]*?(?P<what>[\w.-]+:\d{2,5})\b",
            r"(?i)(?P<what>[\w.-]+:\d{1,5})\b[^\n]*(?:connection refused|ECONNREFUSED)",
            r"(?i)connection refused|ECONNREFUSED",
        ),
    ),
    (
        "FilePermission",
        _any(
            rf"(?i)(?:permission denied|EACCES|operation not permitted|read-only file system)"
            rf"[^\n]*?(?:: |, \w+ ){_QUOTED}(?P<what>/[\w.@+/-]+)",
            r"(?i)(?P<what>/[\w.@+/-]+)[^\n]{0,12}: (?:permission denied|operation not permitted|"
            r"read-only file system)",
            r"(?i)permission denied|\bEACCES\b|read-only file system",
        ),
    ),
    (
        "BadConfiguration",
        _any(
            r"(?i)(?:failed|unable|cannot|could not|error|errors) (?:to )?(?:pars|load|read|decod|"
            r"unmarshal|process|in)\w*[^\n]{0,40}\b(?:config\w*|yaml|json|toml|settings)",
            r"(?i)(?:invalid|malformed|bad|broken) (?:config\w*|yaml|json|toml|settings)",
            r"(?i)\[emerg\]|unknown directive|yaml: (?:line \d+|unmarshal errors)|"
            r"unexpected token .{0,20}json|JSONDecodeError|ScannerError|ParserError|"
            r"configuration (?:file )?(?:is )?(?:invalid|error)|config(?:uration)?(?: file)? error",
            r"(?i)(?:unknown|unrecogni[sz]ed) (?:configuration |config )?(?:keyword|variable|"
            r"parameter|setting)s?\b ?['\"`\u2018]",
        ),
    ),
)  # fmt: skip
_DETAILED = re.compile(r"[:=] ?\S|['\"`]|\bline \d")
_ENVIRON_KEY = re.compile(rf"KeyError: '{_NAME}'")
_ENVIRON = re.compile(r"<frozen os>|/os\.py|environ")
_FIELD_REQUIRED = re.compile(r"Field required|field required|value_error\.missing")
_SETTING = re.compile(r"^(?P<what>[A-Za-z_][A-Za-z0-9_]{2,})$")
_FRAME = re.compile(
    r"^\s+at |^\s*File \"|^\s+\.\.\. \d+ more|^goroutine \d+|^\s+\S+\.go:\d+|^\s+from \S+:\d+|"
    r"^\s+[~^]+\s*$|^\s*$|^\s+\S+\(.*\)$|^#\d+ |^\tfrom |^stack backtrace|^\s+\d+: "
)
# One exception that another one followed is the nearer cause; else the last one ends the search.
_CHAINED = re.compile(r"^(?:The above exception|During handling of the above)", re.MULTILINE)
_ENDS = re.compile(r"^(?:[\w.]+\.)?[A-Z]\w+(?:Error|Exception)\b[: ]|^panic: ")
_TRACE = re.compile(
    r"Traceback \(most recent call last\)|^\s+at [\w.$<>/]+[ (]|\bpanic: |[Uu]nhandled (?:promise |"
    r"exception|error)|Uncaught (?:\w*Error|exception)|^Exception in thread|^(?:[\w.]+\.)?\w*"
    r"(?:Error|Exception)\b[: (]|\((?:\w+::)*\w*(?:Error|Exception)\)|thread '[^']*' panicked|"
    r"segmentation fault|core dumped|PHP Fatal error|^fatal error: ",
    re.MULTILINE,
)


def find(reading: Reading, container: Container) -> Sign | None:
    """Return what the newest log of a dead container says of its end; None: nothing known."""
    for log in dead_logs(reading, container):
        sign = read(log)
        if sign is not None:
            return sign
    return None


def dead_logs(reading: Reading, container: Container) -> Iterator[Item]:
    """Iterate over the logs of runs that ended, newest first; of the living run when none is."""
    found = list(reading.logs(container))
    ended = "terminated" in container.status.get("state", {})
    current = [log for log in found if not log.value.get("previous")]
    previous = [log for log in found if log.value.get("previous")]
    yield from (*current, *previous) if ended or not previous else previous


def read(log: Item) -> Sign | None:
    """Return the sign nearest to the end of one log."""
    text = str(log.value.get("text", ""))
    shown = [_shorten(line) for line in text.splitlines()]
    lines = [line for line in shown if not _FRAME.match(line)][-LAST_LINES:]
    text = "\n".join(shown)
    chained = bool(_CHAINED.search(text))
    found: Sign | None = None
    for number in range(len(lines) - 1, -1, -1):
        line = lines[number].strip()
        sign = _read_line(line, lines[max(0, number - 1)].strip(), text, log)
        if sign is not None and (found is None or (sign.fault == found.fault and sign.what)):
            found = sign
        if (found is not None and found.what) or (not chained and _ENDS.search(line)):
            break
    if found is not None and found.fault == "BadConfiguration" and not _DETAILED.search(found.line):
        found = dataclasses.replace(found, line=_with_block(found.line, lines))
    return found or _read_trace(text, lines, log)


def _with_block(header: str, lines: Sequence[str]) -> str:
    """Return a line that only says that something is wrong, with those below it that say what."""
    number = next(index for index, line in enumerate(lines) if line.strip() == header)
    return " ".join(line.strip() for line in lines[number : number + 1 + BLOCK_LINES])


def _shorten(line: str) -> str:
    """Return beginning and end of a line: anybody may log lines that patterns take long for."""
    return line if len(line) <= 2 * HALF_LINE else f"{line[:HALF_LINE]} {line[-HALF_LINE:]}"


def _read_trace(text: str, lines: Sequence[str], log: Item) -> Sign | None:
    if not _TRACE.search(text):
        return None
    said = next((line.strip() for line in reversed(lines) if _TRACE.search(line)), "a stack trace")
    last = lines[-1].strip() if lines else said
    said = said if last == said else f"{said} ... {last}"
    return Sign(fault="Application", line=said, what=None, log=log)


def _read_line(line: str, above: str, text: str, log: Item) -> Sign | None:
    key = _ENVIRON_KEY.search(line)
    if key and ("_" in key["what"] or _ENVIRON.search(text)):
        return Sign(fault="MissingVariable", line=line, what=key["what"], log=log)
    setting = _SETTING.match(above)
    if setting and _FIELD_REQUIRED.search(line):
        return Sign(fault="MissingVariable", line=f"{above}: {line}", what=above.upper(), log=log)
    for fault, patterns in _SIGNS:
        for pattern in patterns:
            found = pattern.search(line)
            if found:
                what = next((text for text in found.groupdict().values() if text), None)
                return Sign(fault=fault, line=line, what=what, log=log)
    return None
