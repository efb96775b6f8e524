"""The gate: refuses by default, whoever proposes; it looks at the files, not at the stated edits.

Rules: incidents.md, "Rules of fixing", 1, 2, 4 and 5.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence

from selfheal.api.meta import parse_quantity
from selfheal.api.policy import GuardsSpec
from selfheal.remediation import (
    changes,
    diff,
    field_rules,
    object_rules,
    owners,
    rendering,
    run_rules,
)
from selfheal.remediation.changes import DocumentChange
from selfheal.remediation.edits import Proposal, Refusal

PROTECTED = (
    ".github/*", ".gitlab-ci.yml", "*/.git/*", ".git/*", "*/.sops.yaml", ".sops.yaml",
    ".gitmodules", ".circleci/*", ".tekton/*", "Jenkinsfile", "CODEOWNERS", "*/CODEOWNERS",
)  # fmt: skip
"""Paths that no fix ever changes: pipelines, who reviews, and the keys of secrets."""

KIND_RULES: Mapping[str, tuple[str, str]] = {
    "ResourceQuota": ("WeakensQuota", "a quota"),
    "LimitRange": ("WeakensQuota", "a limit range"),
    "NetworkPolicy": ("WeakensNetworkPolicy", "a network policy"),
    "ClusterRole": ("WidensRBAC", "permissions"),
    "ClusterRoleBinding": ("WidensRBAC", "permissions"),
    "Secret": ("TouchesSecret", "a Secret"),
    **{
        kind: ("WeakensAdmission", "what the cluster admits")
        for kind in (
            "CustomResourceDefinition",
            "MutatingWebhookConfiguration",
            "Namespace",
            "ValidatingWebhookConfiguration",
            "MutatingAdmissionPolicy",
            "MutatingAdmissionPolicyBinding",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
        )
    },
}
"""Kinds that no fix ever changes, whatever guards.kinds lists: reason and words."""

_IMAGE_AUTOMATION = "$imagepolicy"  # Flux marks the fields that its image automation writes


def check_proposal(
    proposal: Proposal,
    *,
    guards: GuardsSpec,
    namespace: str,
    mapped_path: str,
    files: Mapping[str, bytes],
) -> None:
    """Raise Refusal with the rule that a proposal breaks; pure, may be repeated.

    ``files`` are the present files, ``mapped_path`` the folder of the policy's mapping.
    """
    if guards.namespaces and namespace not in guards.namespaces:
        raise Refusal("NamespaceNotAllowed", f"guards.namespaces does not list {namespace}.")
    check_files(proposal, guards=guards, mapped_path=mapped_path, files=files)
    found = list(changes.compare_documents(files, proposal.files))
    if not found:
        raise Refusal("NothingChanged", "The proposal changes no document, only its form.")
    known = [manifest for _, _, manifest in rendering.iterate_manifests(files, mapped_path)]
    for change in found:
        _check_document(change, guards, namespace)
        for leaf in change.leaves() if change.before is not None else ():
            owners.check_leaf(leaf, change.manifest, known)
            field_rules.check_leaf(leaf, change.name, str(change.manifest.get("kind")))
            _check_cap(leaf, change.name, guards)
    _check_one_application(found)
    _check_declared(found, proposal)


def check_files(
    proposal: Proposal, *, guards: GuardsSpec, mapped_path: str, files: Mapping[str, bytes]
) -> None:
    """Raise Refusal for a file that no fix may change, or for too much; pure, may be repeated.

    For a source that is rendered these are the real files, and ``check_proposal`` has looked at
    what they render to.
    """
    changed = {path for path, text in proposal.files.items() if files.get(path) != text}
    if not changed:
        raise Refusal("NothingChanged", "The proposal changes no file.")
    for path in sorted(changed):
        check_path(path, guards, mapped_path)
    _check_size(proposal, guards, files)


def check_path(path: str, guards: GuardsSpec, mapped_path: str) -> None:
    """Raise Refusal ``OutsidePath`` or ``ProtectedPath``; pure, may be repeated."""
    if not rendering.is_below(path, mapped_path):
        raise Refusal("OutsidePath", f"{path} is not below the mapped path {mapped_path or '/'}.")
    for pattern in (*PROTECTED, *guards.protected_paths):
        if _matches(path, pattern):
            raise Refusal("ProtectedPath", f"{path} matches the protected path {pattern}.")


def _matches(path: str, pattern: str) -> bool:
    """Match a glob; a folder protects all below it, and ``**/`` matches the root too."""
    roots = {pattern, pattern.removeprefix("**/")}
    variants = {form for root in roots for form in (root, f"{root.rstrip('/')}/*")}
    return any(fnmatch.fnmatchcase(path, form) for form in variants)


def _check_size(proposal: Proposal, guards: GuardsSpec, files: Mapping[str, bytes]) -> None:
    counts = diff.count_changes(files, proposal.files)
    if len(counts) > guards.max_files:
        raise Refusal(
            "TooManyFiles", f"{len(counts)} files change; guards.maxFiles is {guards.max_files}."
        )
    lines = sum(entry.added + entry.removed for entry in counts)
    if lines > guards.max_lines:
        raise Refusal(
            "TooManyLines", f"{lines} lines change; guards.maxLines is {guards.max_lines}."
        )
    for line in diff.render_diff(files, proposal.files).splitlines():
        if line.startswith("-") and _IMAGE_AUTOMATION in line:
            raise Refusal("FieldOwned", f"Flux image automation owns this line: {line[1:].strip()}")


def _check_document(change: DocumentChange, guards: GuardsSpec, namespace: str) -> None:
    kind = str(change.manifest.get("kind"))
    if change.after is None and change.before is None:
        raise Refusal("KindNotAllowed", f"{change.file} gets a document that is no object.")
    if change.after is None:
        raise Refusal("DeletesData", f"{change.name} would be removed.")
    if kind in KIND_RULES:
        reason, what = KIND_RULES[kind]
        raise Refusal(reason, f"{change.name}: {what} is never changed to make something green.")
    if kind not in guards.kinds:
        raise Refusal("KindNotAllowed", f"{change.name}: guards.kinds does not list {kind}.")
    own = (change.after.get("metadata") or {}).get("namespace", namespace)
    if own != namespace:
        raise Refusal("AnotherNamespace", f"{change.name} is in {own}, not in {namespace}.")
    object_rules.check_document(change, namespace)
    run_rules.check_document(change)


def _check_cap(leaf: changes.Leaf, name: str, guards: GuardsSpec) -> None:
    resource = leaf.path[-1]
    if "resources" not in leaf.path or resource not in ("memory", "cpu") or leaf.after is None:
        return
    cap = guards.max_memory if resource == "memory" else guards.max_cpu
    try:
        above = parse_quantity(str(leaf.after)) > parse_quantity(cap)
    except ValueError as error:
        raise Refusal("UnreadableQuantity", f"{name}: {error}") from error
    if above:
        raise Refusal("CapExceeded", f"{name}: {resource} {leaf.after} is above the cap {cap}.")


def _check_one_application(found: Sequence[DocumentChange]) -> None:
    names = {_application(change) for change in found}
    if len(names) > 1:
        raise Refusal("AnotherApplication", f"More than one application: {', '.join(names)}.")


def _application(change: DocumentChange) -> str:
    metadata = change.manifest.get("metadata") or {}
    labels = metadata.get("labels") or {}
    for label in ("app.kubernetes.io/instance", "app.kubernetes.io/name", "app"):
        if label in labels:
            return str(labels[label])
    return str(metadata.get("name"))


def _check_declared(found: Sequence[DocumentChange], proposal: Proposal) -> None:
    declared = {(edit.file, edit.document) for edit in proposal.edits}
    for change in found:
        if (change.file, change.number) not in declared:
            raise Refusal("UndeclaredChange", f"{change.name} changes, but no edit names it.")
