"""Shared bricks of every kind: the model base, durations, quantities, metadata and conditions."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Any, Self

import pydantic
from pydantic.alias_generators import to_camel

DURATION_PATTERN = r"^([0-9]+(ms|s|m|h|d))+$"
QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"

_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_QUANTITY_UNITS = {
    "": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50,
}  # fmt: skip


class Model(pydantic.BaseModel):
    """An immutable API object; camelCase on the wire, unknown fields are ignored on reading."""

    model_config = pydantic.ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True
    )

    def evolve(self, **changes: Any) -> Self:
        """Return a copy with the given fields replaced (not validated again; repeatable)."""
        return self.model_copy(update=changes)

    def to_wire(self) -> dict[str, Any]:
        """Render as the JSON object that the API server stores: aliases, no unset nulls."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def parse_duration(text: str) -> dt.timedelta:
    """Parse ``1h30m``, ``90s``, ``500ms`` or ``2d``; raise ValueError naming what is wrong."""
    if not re.match(DURATION_PATTERN, text):
        raise ValueError(f"{text!r} is not a duration; write for example 30s, 10m, 24h or 1h30m")
    parts = re.findall(r"([0-9]+)(ms|s|m|h|d)", text)
    return dt.timedelta(seconds=sum(int(count) * _DURATION_UNITS[unit] for count, unit in parts))


def render_duration(value: dt.timedelta) -> str:
    """Render a duration in the largest whole units, ``0s`` for none."""
    left = round(value.total_seconds() * 1000)
    text = ""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, left = divmod(left, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def _coerce_duration(value: Any) -> Any:
    return parse_duration(value) if isinstance(value, str) else value


Duration = Annotated[
    dt.timedelta,
    pydantic.BeforeValidator(_coerce_duration),
    pydantic.PlainSerializer(render_duration, return_type=str),
    pydantic.WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN}),
]


def parse_quantity(text: str) -> float:
    """Parse a Kubernetes quantity (``250m``, ``64Mi``) to bytes or cores; ValueError if not one."""
    found = re.match(r"^([0-9]+(?:\.[0-9]+)?)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$", text)
    if not found:
        raise ValueError(f"{text!r} is not a quantity; write for example 250m, 2, 512Mi or 1Gi")
    return float(found.group(1)) * _QUANTITY_UNITS[found.group(2) or ""]


def _check_quantity(value: Any) -> Any:
    text = str(value)
    parse_quantity(text)
    return text


Quantity = Annotated[
    str,
    pydantic.BeforeValidator(_check_quantity),
    pydantic.WithJsonSchema({"type": "string", "pattern": QUANTITY_PATTERN}),
]


def _as_utc(value: dt.datetime) -> dt.datetime:
    return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


def render_time(value: dt.datetime) -> str:
    """Render a time as RFC 3339 in UTC, with microseconds only where there are any."""
    return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


Time = Annotated[
    dt.datetime,
    pydantic.AfterValidator(_as_utc),
    pydantic.PlainSerializer(render_time, return_type=str),
    pydantic.WithJsonSchema({"type": "string", "format": "date-time"}),
]


class ObjectMeta(Model):
    """The part of Kubernetes object metadata that the operator reads."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    managed_fields: list[dict[str, Any]] = []


class Condition(Model):
    """One condition as Kubernetes defines it."""

    type: str = pydantic.Field(
        description="What the condition is about, an adjective or participle."
    )
    status: str = pydantic.Field(
        description="True, False or Unknown.", pattern="^(True|False|Unknown)$"
    )
    reason: str = pydantic.Field(description="Why, as one CamelCase word for machines.")
    message: str = pydantic.Field(
        default="", description="Why, as a sentence for people, with what mends it."
    )
    last_transition_time: Time = pydantic.Field(description="When the status last changed.")
    observed_generation: int = pydantic.Field(
        default=0, description="The generation of the spec that this condition speaks of."
    )
