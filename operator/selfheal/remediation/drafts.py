"""From edits to a proposal: the new files, the diff, the rollback and the contract."""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Mapping
from typing import Any

from selfheal.diagnosis.evidence import Bundle, Finding
from selfheal.diagnosis.reading import Reading
from selfheal.remediation import diff, documents, editing, finding_source, workloads
from selfheal.remediation.edits import Edit, Operation, PathStep, Proposal, Refusal, Source
from selfheal.verification import contract


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draft:
    """What a fix starts from."""

    finding: Finding
    bundle: Bundle
    source: Source
    files: Mapping[str, bytes]

    @property
    def container(self) -> tuple[PathStep, ...]:
        """Return the path of the finding's container in the source."""
        return workloads.container_path(self.source.manifest, self.finding.container)

    def look(self, path: tuple[PathStep, ...]) -> Any:
        """Return what the source says at a path; None where it says nothing."""
        return workloads.look(self.source.manifest, path)

    def set(self, path: tuple[PathStep, ...], new: Any, reason: str) -> Edit:
        """Return the edit that brings a value to a path: SET where one stands, else ADD.

        An addition creates the missing mappings above it as one block.
        """
        if self.look(path) is not None:
            return self._edit(path, Operation.SET, self.look(path), new, reason)
        depth = len(path) - 1
        while depth > 0 and self.look(path[:depth]) is None:
            depth -= 1
        value = new
        for step in reversed(path[depth + 1 :]):
            value = {step: value}
        if path[depth] in (self.look(path[:depth]) or {}):  # there, but empty
            return self._edit(path[: depth + 1], Operation.SET, None, value, reason)
        return self._edit(path[: depth + 1], Operation.ADD, None, value, reason)

    def replace(self, path: tuple[PathStep, ...], old: Any, new: Any, reason: str) -> Edit:
        """Return the edit of a value that earlier edits of the same proposal have changed."""
        return self._edit(path, Operation.SET, old, new, reason)

    def add_document(self, manifest: Mapping[str, Any], reason: str) -> Edit:
        """Return the edit that adds a document at the end of the source's file."""
        number = len(documents.parse(self.files[self.source.file], self.source.file).values)
        return Edit(
            file=self.source.file, document=number, path=(), operation=Operation.ADD, old=None,
            new=manifest, reason=reason,
        )  # fmt: skip

    def after(self, edit: Edit) -> Draft:
        """Return the draft as an edit of its source leaves it."""
        value = editing.apply_to_value(documents.copy_plain(self.source.manifest), edit)
        return dataclasses.replace(self, source=dataclasses.replace(self.source, manifest=value))

    def other(self, api_version: str, kind: str, name: str) -> Draft:
        """Return the draft of another object, looked for beside the source first.

        Refusal ``OtherNotFound`` where no file declares it, or more than one does.
        """
        wanted = {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}}
        if workloads.describe(self.source.manifest) == workloads.describe(wanted):
            return self
        refusal = None
        for path in (self.source.file, posixpath.dirname(self.source.file), ""):
            try:
                source = finding_source.find_source(
                    self.files, path=path, manifest=wanted, namespace=self.bundle.namespace
                )
            except Refusal as refused:
                refusal = refused
                if refused.reason != "SourceNotFound":
                    break
            else:
                return dataclasses.replace(self, source=source)
        raise Refusal(
            "OtherNotFound",
            f"{self.finding.cause} {kind} {name} would have to be changed. {refusal}",
        )

    def _edit(
        self, path: tuple[PathStep, ...], operation: Operation, old: Any, new: Any, reason: str
    ) -> Edit:
        return Edit(
            file=self.source.file,
            document=self.source.document,
            path=path,
            operation=operation,
            old=old,
            new=new,
            reason=reason,
        )

    def _by_hand(self) -> str:
        """Return what the StatefulSet controller leaves to a person: kubernetes issue 67250."""
        spec = self.source.manifest.get("spec") or {}
        ordered = spec.get("podManagementPolicy", "OrderedReady") == "OrderedReady"
        if self.source.manifest.get("kind") != "StatefulSet" or not ordered:
            return ""
        reading = Reading(bundle=self.bundle)
        waiting = sorted({one.pod_name for one in reading.containers if not one.ready})
        if not waiting:
            return ""
        pods = " ".join(waiting)
        return (
            " A StatefulSet does not replace pods that are not ready: after the delivery, "
            f"kubectl -n {self.bundle.namespace} delete pod {pods}."
        )

    def propose(
        self, *edits: Edit, summary: str, risk: str, risk_reason: str, arithmetic: str = ""
    ) -> Proposal:
        """Apply the edits and return the whole proposal; Refusal when one cannot be made."""
        changed = editing.apply_edits(self.files, edits)
        before = "; ".join(f"{_name(edit)} back to {_value(edit.old)}" for edit in edits)
        return Proposal(
            summary=summary,
            edits=edits,
            files=changed,
            diff=diff.render_diff(self.files, changed),
            risk=risk,
            risk_reason=f"{risk_reason}{self._by_hand()}",
            rollback=f"Revert the merge commit (git revert) and let it be delivered: {before}.",
            arithmetic=arithmetic,
            checks=contract.checks_for(self.finding.class_),
            explanation=self.finding.cause,
        )


def _name(edit: Edit) -> str:
    return ".".join(str(step) for step in edit.path)


def _value(old: Any) -> str:
    return "nothing" if old is None else str(old)
