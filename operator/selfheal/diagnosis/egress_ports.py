"""Connections that get no answer to an address and port that the own egress policies leave out."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from selfheal.diagnosis.evidence import Item, ItemKind
from selfheal.diagnosis.reading import Reading, dig, quote

LINES_ABOVE = 3
"""Lines above a time-out that may name what it waited for."""

# A refusal is an answer: packets that a policy drops get none.
_NO_ANSWER = re.compile(
    r"timed? ?out|timeout|no route to host|unreachable|ETIMEDOUT|deadline exceeded|not responding",
    re.IGNORECASE,
)
_ADDRESS = re.compile(
    r"(?P<host>(?:\d{1,3}\.){3}\d{1,3}|[A-Za-z][\w-]*(?:\.[\w-]+)*)[\"')]?"
    r"(?::|,? (?:on |at )?port[ =:]+)(?P<port>\d{2,5})\b"
)
_TRIES = re.compile(r"connect|dial|reach|wait", re.IGNORECASE)
_ANSWERED = re.compile(r"refused|reset|connected|established", re.IGNORECASE)
_DNS = ("dns", "domain")


def find(
    reading: Reading, policies: Sequence[Item], *, by_name: bool
) -> tuple[Item, str, str, int] | None:
    """Return log, line, host and port of a connection that no rule of the policies allows.

    ``by_name``: False where names cannot be resolved anyway; then only addresses count. Peers that
    are chosen by labels may hold any address: they count as allowed.
    """
    rules = [rule for item in policies for rule in dig(item.value, "spec").get("egress") or ()]
    for log in reading.bundle.of(ItemKind.LOG):
        for line, host, port in _missed(str(log.value.get("text", ""))):
            counts = by_name or host[0].isdigit()
            allowed = any(_opens(rule, port) and _reaches(rule, host) for rule in rules)
            if counts and not allowed:
                return log, quote(line, 160), host, port
    return None


def _missed(text: str) -> Iterator[tuple[str, str, int]]:
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if not _NO_ANSWER.search(line):
            continue
        above = filter(_tries, lines[max(0, number - LINES_ABOVE) : number])
        for near in (line, *reversed(list(above))):
            found = _ADDRESS.search(near)
            if found:
                yield line, found["host"], int(found["port"])
                break


def _tries(line: str) -> bool:
    """Tell whether a line says that it is going to connect, not how that ended."""
    return bool(_TRIES.search(line)) and not _ANSWERED.search(line)


def _opens(rule: Mapping[str, Any], wanted: int) -> bool:
    """Tell whether a rule leaves a TCP port open; a name may be any port but that of names."""
    ports = rule.get("ports")
    if not ports:
        return True
    for one in ports:
        port = one.get("port")
        if one.get("protocol", "TCP") != "TCP":
            continue
        if port is None or (isinstance(port, str) and port not in _DNS):
            return True
        if isinstance(port, int) and port <= wanted <= int(one.get("endPort", port)):
            return True
    return False


def _reaches(rule: Mapping[str, Any], host: str) -> bool:
    peers = rule.get("to")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return True  # what a name resolves to is not known here
    return not peers or any(_holds(dig(peer, "ipBlock"), address) for peer in peers)


def _holds(
    block: Mapping[str, Any], address: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> bool:
    if not block:
        return True  # pods chosen by labels
    if address not in ipaddress.ip_network(str(block.get("cidr")), strict=False):
        return False
    return not any(
        address in ipaddress.ip_network(str(one), strict=False) for one in block.get("except") or ()
    )
