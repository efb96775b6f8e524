"""Documents of evidence as SelfHealingEvidence objects: packing, bounds, reading; pure."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import gzip
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pydantic

from selfheal import ports
from selfheal.api import API_VERSION, evidence, incident, meta
from selfheal.domain import errors

INCIDENT_LABEL = "selfheal.dev/incident"
# Texts longer than these are shortened in the middle, step by step, until the document fits.
_TEXT_LIMITS = (8192, 4096, 2048, 1024, 512, 256, 128)
_MAX_UNPACKED = 16 * 1024 * 1024  # bytes a stored document may expand to


def build(document: ports.Document, now: dt.datetime) -> dict[str, Any]:
    """Return the object to be created; HandOver where a proposal is too large to be kept whole."""
    raw, packed = _fit(document)
    spec = evidence.EvidenceSpec(
        type=document.type,
        incident=document.incident,
        run=document.run,
        attempt=document.attempt,
        created=now,
        digest=hashlib.sha256(raw).hexdigest(),
        size=len(raw),
        content=base64.b64encode(packed).decode("ascii"),
    )
    owner = {
        "apiVersion": API_VERSION,
        "kind": incident.KIND,
        "name": document.incident,
        "uid": document.incident_uid,
    }
    return {
        "apiVersion": API_VERSION,
        "kind": evidence.KIND,
        "metadata": {
            "name": document.name,
            "namespace": document.namespace,
            "labels": {INCIDENT_LABEL: label_of(document.incident)},
            "ownerReferences": [owner],
        },
        "spec": spec.to_wire(),
    }


def label_of(name: str) -> str:
    """Return the label value of an incident's name; values end at 63 characters, names at 253."""
    if len(name) <= 63:
        return name
    return f"{name[:40].rstrip('-.')}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def parse(stored: Mapping[str, Any]) -> ports.Document:
    """Return the document of a stored object; Stalled where it is not what was stored."""
    try:
        parsed = evidence.Evidence.model_validate(stored)
        packed = base64.b64decode(parsed.spec.content, validate=True)
        raw = _unpack(packed)
        content = json.loads(raw)
    except (pydantic.ValidationError, binascii.Error, OSError, EOFError, ValueError) as error:
        raise _corrupt(stored, "it cannot be read") from error
    if hashlib.sha256(raw).hexdigest() != parsed.spec.digest:
        raise _corrupt(stored, "its digest does not match")
    return ports.Document(
        namespace=parsed.metadata.namespace,
        name=parsed.metadata.name,
        incident=parsed.spec.incident,
        incident_uid=owner_uid_of(stored),
        type=parsed.spec.type,
        run=parsed.spec.run,
        attempt=parsed.spec.attempt,
        content=content,
    )


def choose_excess(stored: Sequence[Mapping[str, Any]], uid: str, run: int) -> list[str]:
    """Return what of an incident's documents has to go for the rest to fit into 256 KiB; pure.

    Transcripts first, then the oldest run; never anything of the present run.
    """
    own = [one for one in stored if owner_uid_of(one) == uid]
    total = sum(map(_size, own))
    excess = []
    for one in sorted((one for one in own if _run(one) < run), key=_age):
        if total <= evidence.MAX_INCIDENT_BYTES:
            break
        excess.append(str(one["metadata"]["name"]))
        total -= _size(one)
    return excess


def _size(stored: Mapping[str, Any]) -> int:
    return len(str(stored["spec"].get("content", ""))) * 3 // 4  # base64


def _run(stored: Mapping[str, Any]) -> int:
    return int(stored["spec"].get("run") or 0)


def _age(stored: Mapping[str, Any]) -> tuple[bool, int, str]:
    said = stored["spec"].get("type") == evidence.DocumentType.TRANSCRIPT.value
    return not said, _run(stored), str(stored["spec"].get("created"))


def measure(stored: Mapping[str, Any]) -> ports.StoredSize:
    """Return what is known of a stored document without unpacking it; pure."""
    spec = stored["spec"]
    return ports.StoredSize(
        namespace=str(stored["metadata"]["namespace"]),
        name=str(stored["metadata"]["name"]),
        incident_uid=owner_uid_of(stored),
        type=evidence.DocumentType(spec["type"]),
        run=_run(stored),
        created=str(spec.get("created")),
        size=_size(stored),
    )


def owner_uid_of(stored: Mapping[str, Any]) -> str:
    """Return the uid of the incident that owns a stored document; empty: none does."""
    for owner in stored.get("metadata", {}).get("ownerReferences") or ():
        if owner.get("kind") == incident.KIND:
            return str(owner.get("uid", ""))
    return ""


def _fit(document: ports.Document) -> tuple[bytes, bytes]:
    content: Any = document.content
    for limit in (None, *_TEXT_LIMITS):
        if limit is not None:
            content = _shorten(document.content, limit)
        raw = json.dumps(content, ensure_ascii=False, sort_keys=True, default=_jsonable).encode()
        packed = gzip.compress(raw, mtime=0)
        if len(packed) <= evidence.MAX_DOCUMENT_BYTES:
            return raw, packed
        if document.type is evidence.DocumentType.PROPOSAL:
            break
    raise errors.HandOver(
        "DocumentTooLarge",
        f"{document.type} {document.name} is larger than {evidence.MAX_DOCUMENT_BYTES} bytes",
    )


def _jsonable(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return meta.render_time(value)
    raise TypeError(f"a document holds JSON only, not {type(value).__name__}")


def _shorten(value: Any, limit: int) -> Any:
    if isinstance(value, str) and len(value) > limit:
        half = limit // 2
        left_out = f"\n[... {len(value) - limit} characters left out ...]\n"
        return value[:half] + left_out + value[-half:]
    if isinstance(value, Mapping):
        return {name: _shorten(child, limit) for name, child in value.items()}
    if isinstance(value, list | tuple):
        return [_shorten(child, limit) for child in value]
    return value


def _unpack(packed: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
        raw = stream.read(_MAX_UNPACKED + 1)
    if len(raw) > _MAX_UNPACKED:
        raise ValueError("too large")
    return raw


def _corrupt(stored: Mapping[str, Any], why: str) -> errors.Stalled:
    name = stored.get("metadata", {}).get("name", "?")
    return errors.Stalled(
        f"SelfHealingEvidence {name} is damaged: {why}; delete it and hand the incident back",
        reason="EvidenceDamaged",
        system="kubernetes",
    )
