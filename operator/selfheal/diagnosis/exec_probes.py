"""Probes that run a command: what in it is a slip of the pen."""

from __future__ import annotations

import re
from collections.abc import Iterator

from selfheal.api.classes import IncidentClass
from selfheal.diagnosis import names
from selfheal.diagnosis.evidence import Finding
from selfheal.diagnosis.failing_probes import Failure
from selfheal.diagnosis.reading import Container, dig, quote

RANK = 60
_WORD = re.compile(r"[\w.@/-]{3,}")


def finding(failure: Failure, evidence: tuple[str, ...]) -> Finding:
    """Return what is wrong about the command; ``new`` where a near word of the container fits."""
    container = failure.container
    command = [str(part) for part in dig(failure.spec, "exec").get("command") or ()]
    text = quote(failure.text.splitlines()[0], 160)
    slip = _slip(failure, command)
    hint = f"; {slip[1]} is what the container has" if slip else ""
    parameters = {"fault": "Command", "probe": failure.probe}
    if slip:
        old, new = slip
        parameters |= {"old": old, "new": new}
    return Finding(
        class_=IncidentClass.FAILED_HEALTH_CHECK,
        cause=f"The command of the {failure.probe} of container {container.name} fails"
        f" ({' '.join(command)[:120]}): {text}{hint}.",
        confidence=0.8 if slip else 0.6,
        evidence=evidence,
        container=container.name,
        rank=RANK,
        parameters=parameters,
    )


def _slip(failure: Failure, command: list[str]) -> tuple[str, str] | None:
    """Return the word of the probe that its error names, and the one near word it must mean."""
    known = set(_words(failure.container))
    for word in _WORD.findall(" ".join(command)):
        if word in failure.text and word not in known:
            near = names.only_near(word, known)
            if near is not None:
                return word, near
    return None


def _words(container: Container) -> Iterator[str]:
    spec = container.spec
    texts = [*(spec.get("command") or ()), *(spec.get("args") or ())]
    texts += [str(entry.get("value") or "") for entry in spec.get("env") or ()]
    texts += [str(entry.get("mountPath") or "") for entry in spec.get("volumeMounts") or ()]
    for text in texts:
        yield from _WORD.findall(str(text))
