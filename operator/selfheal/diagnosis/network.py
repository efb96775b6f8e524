"""Network policies that cut a workload off; decided from objects and from what its log says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import applications, egress_ports, reference
from selfheal.diagnosis.applications import Application
from selfheal.diagnosis.evidence import Finding, Item, ItemKind
from selfheal.diagnosis.reading import Reading, dig, quote

RANK = 19
DNS_PORT = 53
_NO_NAMES = re.compile(
    r"[^\n]*(?:could not resolve|couldn't resolve|no such host|temporary failure in name resol|"
    r"name or service not known|EAI_AGAIN|ENOTFOUND|bad address|name resolution|"
    r"server misbehaving|UnknownHostException|lookup \S+ on \S+: (?:read|i/o|dial))[^\n]*",
    re.IGNORECASE,
)
_NO_ANSWER = re.compile(
    r"[^\n]*(?:timed? ?out|timeout|no route to host|unreachable|ETIMEDOUT|deadline exceeded|"
    r"cannot (?:reach|connect)|can't connect|failed to connect|could not connect)[^\n]*",
    re.IGNORECASE,
)


def find(reading: Reading) -> Iterator[Finding]:
    """Yield what network policies keep the target from: names, other workloads, its clients."""
    target = next((one for one in applications.known(reading) if one.own), None)
    if target is None:
        return
    policies = list(reading.bundle.of(ItemKind.NETWORK_POLICY))
    yield from _egress(reading, target, policies)
    yield from _refused_by_others(reading, target, policies)
    yield from _ingress(reading, target, policies)


def _finding(cause: str, fault: str, confidence: float, *items: Item, **parameters: Any) -> Finding:
    return Finding(
        class_=IncidentClass.NETWORK_BLOCKED, cause=cause, confidence=confidence,
        evidence=tuple(dict.fromkeys(item.id for item in items)), rank=RANK,
        parameters={"fault": fault, **parameters},
    )  # fmt: skip


def _name(item: Item) -> str:
    return str(dig(item.value, "metadata").get("name"))


def _selecting(policies: list[Item], labels: Mapping[str, str], type_: str) -> list[Item]:
    """Return the policies that isolate pods of these labels in one direction."""
    return [
        item
        for item in policies
        if type_ in _types(item)
        and applications.matches(dig(item.value, "spec", "podSelector"), labels)
    ]


def _types(item: Item) -> Sequence[str]:
    spec = dig(item.value, "spec")
    given = spec.get("policyTypes")
    return given or (("Ingress", "Egress") if spec.get("egress") else ("Ingress",))


def _said(reading: Reading, pattern: re.Pattern[str]) -> tuple[Item, str] | None:
    for log in reading.bundle.of(ItemKind.LOG):
        found = pattern.search(str(log.value.get("text", "")))
        if found:
            return log, quote(found[0], 160)
    return None


def _egress(reading: Reading, target: Application, policies: list[Item]) -> Iterator[Finding]:
    own = _selecting(policies, target.labels, "Egress")
    named = any(_allows_names(item) for item in own)
    if own and _said(reading, _NO_NAMES) is None:
        missed = egress_ports.find(reading, own, by_name=named)
        if missed is not None:
            log, line, host, port = missed
            names = ", ".join(map(_name, own))
            yield _finding(
                f"Network policy {names} does not let {target.name} send to port {port} of {host} "
                f"(egress; {line}).", "Port", 0.8, *own, log, policies=[_name(one) for one in own],
                host=host, port=port,
            )  # fmt: skip
            return
    if not own or named:
        return
    said = _said(reading, _NO_NAMES) or _said(reading, _NO_ANSWER)
    if said is None:
        return
    log, line = said
    names = ", ".join(map(_name, own))
    yield _finding(
        f"Network policy {names} lets {target.name} send to nobody's port 53: names cannot be "
        f"resolved ({line}).", "DNS", 0.8, *own, log, policies=[_name(one) for one in own],
    )  # fmt: skip


def _allows_names(item: Item) -> bool:
    return any(_has_port(rule, DNS_PORT) for rule in dig(item.value, "spec").get("egress") or ())


def _has_port(rule: Mapping[str, Any], wanted: int) -> bool:
    ports = rule.get("ports")
    if not ports:
        return True
    return any(
        one.get("port") in (None, "dns", "domain")
        or (isinstance(one.get("port"), int)
            and one["port"] <= wanted <= int(one.get("endPort", one["port"])))
        for one in ports
    )  # fmt: skip


def _refused_by_others(
    reading: Reading, target: Application, policies: list[Item]
) -> Iterator[Finding]:
    """Yield policies of workloads that the target's log cannot reach and that do not let it in."""
    said = _said(reading, _NO_ANSWER)
    if said is None:
        return
    log, line = said
    text = str(log.value.get("text", ""))
    for other in applications.known(reading):
        named = re.search(rf"(?<![\w.-]){re.escape(other.name)}(?![\w-])", text)
        own = _selecting(policies, other.labels, "Ingress")
        if other.own or named is None or not own:
            continue
        if not any(_admits(item, target.labels) for item in own):
            names = ", ".join(map(_name, own))
            yield _finding(
                f"Network policy {names} does not let {target.name} reach {other.name} ({line}).",
                "Peer", 0.8, *own, log, policies=[_name(one) for one in own], peer=other.name,
            )  # fmt: skip


def _admits(item: Item, labels: Mapping[str, str]) -> bool:
    for rule in dig(item.value, "spec").get("ingress") or ():
        peers = rule.get("from")
        if not peers:
            return True
        for peer in peers:
            if "ipBlock" in peer or "namespaceSelector" in peer:
                return True  # what they hold is not known here
            if applications.matches(dig(peer, "podSelector"), labels):
                return True
    return False


def _ingress(reading: Reading, target: Application, policies: list[Item]) -> Iterator[Finding]:
    """Yield policies of the target that let in only workloads which do not exist."""
    known = applications.known(reading)
    for item in _selecting(policies, target.labels, "Ingress"):
        for rule in dig(item.value, "spec").get("ingress") or ():
            for peer in rule.get("from") or ():
                wanted = dig(peer, "podSelector", "matchLabels")
                if not wanted or "namespaceSelector" in peer:
                    continue
                if any(applications.selects(wanted, one.labels) for one in known):
                    continue
                near = _near(wanted, known)
                if near is not None:
                    labels = ", ".join(f"{key}={value}" for key, value in wanted.items())
                    yield _finding(
                        f"Network policy {_name(item)} lets only {labels} reach {target.name}, "
                        f"and no workload has that; {near.name} is shut out.", "PeerSelector",
                        0.7, item, near.item, policies=[_name(item)], peer=near.name,
                    )  # fmt: skip


def _near(wanted: Mapping[str, Any], known: list[Application]) -> Application | None:
    found = [
        one
        for one in known
        if not one.own
        and all(
            key in one.labels
            and (one.labels[key] == value or reference.only_similar(str(value), [one.labels[key]]))
            for key, value in wanted.items()
        )
    ]
    return found[0] if len(found) == 1 else None
