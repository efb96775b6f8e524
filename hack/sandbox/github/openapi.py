"""Requests checked against GitHub's published OpenAPI description (npm `@octokit/openapi`)."""

from __future__ import annotations

import functools
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from openapi_schema_validator import OAS30Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

_GREEDY = frozenset({"path", "ref", "branch", "basehead"})  # may hold slashes, as the prose of these operations says


class Checker:
    """Judges requests; loading the description takes about two seconds."""

    def __init__(self, description: pathlib.Path) -> None:
        text = description.read_text()
        self._spec = json.loads(text)
        resource = Resource.from_contents(self._spec, default_specification=DRAFT4)
        self._registry: Any = Registry().with_resource("urn:github", resource)
        self._paths = sorted(
            ((template, _pattern(template), item) for template, item in self._spec["paths"].items()),
            key=lambda entry: (entry[0].count("{"), -len(entry[0])),
        )

    def check(self, method: str, path: str, query: Mapping[str, str], body: Any) -> list[str]:
        """Return what the description does not allow, one sentence each; ``body`` None: there was none."""
        for template, pattern, item in self._paths:
            if pattern.fullmatch(path) and method.lower() in item:
                where = f"{method} {template}"
                return [f"{where}: {fault}" for fault in self._faults(item, item[method.lower()], query, body)]
        return [f"{method} {path}: no such operation"]

    def _faults(self, item: Any, operation: Any, query: Mapping[str, str], body: Any) -> list[str]:
        parameters = [self._resolve(entry) for entry in operation.get("parameters", []) + item.get("parameters", [])]
        known = {entry["name"]: entry for entry in parameters if entry["in"] == "query"}
        faults = [f"unknown query parameter {name}" for name in query if name not in known]
        faults += [f"query parameter {n} is missing" for n, e in known.items() if e.get("required") and n not in query]
        wanted = self._resolve(operation.get("requestBody") or {})
        if body is None:
            return [*faults, "a body is required"] if wanted.get("required") else faults
        if not wanted:
            return [*faults, "no body is expected"] if body else faults
        schema = self._schema(json.dumps(wanted["content"]["application/json"]["schema"], sort_keys=True))
        return faults + [f"{list(fault.path)}: {fault.message[:300]}" for fault in schema.iter_errors(body)]

    @functools.lru_cache(maxsize=256)  # noqa: B019 - one checker a process
    def _schema(self, text: str) -> OAS30Validator:
        return OAS30Validator(json.loads(text.replace('"#/', '"urn:github#/')), registry=self._registry)

    def _resolve(self, entry: Any) -> Any:
        while "$ref" in entry:
            found: Any = self._spec
            for part in entry["$ref"].removeprefix("#/").split("/"):
                found = found[part.replace("~1", "/").replace("~0", "~")]
            entry = found
        return entry


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{([^}]+)\}", template)
    return re.compile(
        "".join(
            re.escape(part) if index % 2 == 0 else (".+" if part in _GREEDY else "[^/]+")
            for index, part in enumerate(parts)
        )
    )
