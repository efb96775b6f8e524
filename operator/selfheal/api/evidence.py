"""SelfHealingEvidence: one immutable document of a run."""

from __future__ import annotations

import enum

from pydantic import Field

from selfheal.api import meta

KIND = "SelfHealingEvidence"
PLURAL = "selfhealingevidences"
MAX_DOCUMENT_BYTES = 64 * 1024
MAX_INCIDENT_BYTES = 256 * 1024


class DocumentType(enum.StrEnum):
    """What a document holds."""

    EVIDENCE = "Evidence"
    TRANSCRIPT = "Transcript"
    PROPOSAL = "Proposal"


class EvidenceSpec(meta.Model):
    """The document itself."""

    type: DocumentType = Field(description="Evidence, Transcript or Proposal.")
    incident: str = Field(description="Name of the incident.")
    run: int = Field(description="Run it belongs to.")
    attempt: int = Field(description="Attempt it belongs to.")
    created: meta.Time = Field(description="When it was taken.")
    digest: str = Field(description="sha256 of the uncompressed document.")
    size: int = Field(description="Uncompressed size in bytes.")
    content: str = Field(
        description="The document: JSON, gzip-compressed, base64.", max_length=90_000
    )


class Evidence(meta.Model):
    """A SelfHealingEvidence as stored."""

    metadata: meta.ObjectMeta
    spec: EvidenceSpec
