"""Credentials in JSON-able values and in the API's objects."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from selfheal.redaction.names import looks_secret
from selfheal.redaction.text import MASK, redact_text

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
NOT_SHARED = "[not shared with the model: policy]"
_NOISE = frozenset({"managedFields", LAST_APPLIED})


def redact(value: Any, *, share_logs: bool = True) -> Any:
    """Return a copy of JSON-able data without credentials, managed fields and last-applied copies.

    With ``share_logs`` False the termination messages of containers go too: the kubelet may fill
    them with the end of the log (terminationMessagePolicy FallbackToLogsOnError).
    """
    if isinstance(value, Mapping):
        return {
            str(key): _redact_entry(str(key), item, value, share_logs)
            for key, item in value.items()
            if key not in _NOISE
        }
    if isinstance(value, list | tuple):
        return [redact(item, share_logs=share_logs) for item in value]
    return redact_text(value) if isinstance(value, str) else value


def _redact_entry(key: str, item: Any, parent: Mapping[Any, Any], share_logs: bool) -> Any:
    if isinstance(item, str | int | float) and not isinstance(item, bool):
        named = parent.get("name") if key == "value" else key
        if isinstance(named, str) and looks_secret(named):
            return MASK
    if key == "terminated" and isinstance(item, Mapping) and "message" in item and not share_logs:
        item = {**item, "message": NOT_SHARED}
    return redact(item, share_logs=share_logs)


def clean_object(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of an API object fit for evidence.

    ``managedFields`` and the last-applied annotation are dropped, values of variables that look
    secret are masked, commands, arguments, annotations and messages are redacted, data of
    ConfigMaps and Secrets is dropped.
    """
    clean = copy.deepcopy(dict(stored))
    metadata = clean.get("metadata")
    if isinstance(metadata, dict):
        metadata.pop("managedFields", None)
        annotations = metadata.get("annotations")
        if isinstance(annotations, dict):
            annotations.pop(LAST_APPLIED, None)
            metadata["annotations"] = {
                key: redact_text(str(text)) for key, text in annotations.items()
            }
    if clean.get("kind") in ("ConfigMap", "Secret"):
        clean.pop("data", None)
        clean.pop("stringData", None)
        clean.pop("binaryData", None)
    _clean_below(clean)
    return clean


def _clean_below(value: Any) -> None:
    if isinstance(value, list):
        for child in value:
            _clean_below(child)
    if not isinstance(value, dict):
        return
    if isinstance(value.get("env"), list):
        value["env"] = [_clean_variable(one) for one in value["env"]]
    for field in ("command", "args"):
        if isinstance(value.get(field), list):
            value[field] = _clean_arguments(value[field])
    for field in ("message", "log"):
        if isinstance(value.get(field), str):
            value[field] = redact_text(value[field])
    for child in value.values():
        _clean_below(child)


def _clean_variable(variable: Any) -> Any:
    if not isinstance(variable, dict) or not isinstance(variable.get("value"), str):
        return variable
    name, text = str(variable.get("name", "")), variable["value"]
    return variable | {"value": MASK if text and looks_secret(name) else redact_text(text)}


def _clean_arguments(arguments: Sequence[Any]) -> list[Any]:
    clean: list[Any] = []
    hide_next = False
    for argument in arguments:
        text = redact_text(str(argument))
        clean.append(MASK if hide_next and not text.startswith("-") else text)
        name = text.lstrip("-")
        hide_next = text.startswith("-") and "=" not in text and looks_secret(name)
    return clean
