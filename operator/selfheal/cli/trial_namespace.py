"""A trial's namespace in the files that people bring: set in place, no other byte moves."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

CLUSTER_SCOPED = frozenset(
    {
        "APIService", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition",
        "IngressClass", "MutatingWebhookConfiguration", "Namespace", "Node", "PersistentVolume",
        "PriorityClass",
        "RuntimeClass", "StorageClass", "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding", "ValidatingWebhookConfiguration",
    }
)  # fmt: skip
"""Kinds that belong to no namespace; the API server refuses one on them."""

Edit = tuple[int, int, str]
"""Begin and end of what is replaced, and the text that stands there afterwards."""


def set_namespace(text: str, namespace: str) -> str:
    """Set ``metadata.namespace`` of every object of a file, those of Lists too.

    Raises yaml.YAMLError where the file is no YAML.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    edits: set[Edit] = set()  # a set: what an alias repeats is written once
    for root in yaml.compose_all(text, Loader=yaml.SafeLoader):
        for entry in _objects(root):
            edits.update(_edits(entry, namespace, newline))
    for begin, end, put in sorted(edits, reverse=True):
        text = text[:begin] + put + text[end:]
    return text


def _objects(node: yaml.Node | None) -> Iterator[yaml.MappingNode]:
    if not isinstance(node, yaml.MappingNode):
        return
    items = _value(node, "items")
    if _scalar(node, "kind").endswith("List") and isinstance(items, yaml.SequenceNode):
        for item in items.value:
            yield from _objects(item)
    else:
        yield node


def _edits(entry: yaml.MappingNode, namespace: str, newline: str) -> Iterator[Edit]:
    metadata = _value(entry, "metadata")
    kind = _scalar(entry, "kind")
    if isinstance(metadata, yaml.MappingNode) and kind not in CLUSTER_SCOPED:
        yield _in_metadata(metadata, namespace, newline)
    subjects = _value(entry, "subjects")
    if kind in ("RoleBinding", "ClusterRoleBinding") and isinstance(subjects, yaml.SequenceNode):
        for subject in subjects.value:  # the ServiceAccounts that move along
            named = _value(subject, "namespace")
            if named is not None:
                yield named.start_mark.index, named.end_mark.index, namespace


def _in_metadata(metadata: yaml.MappingNode, namespace: str, newline: str) -> Edit:
    named = _value(metadata, "namespace")
    if named is not None:
        return named.start_mark.index, named.end_mark.index, namespace
    if metadata.flow_style:
        begin = metadata.start_mark.index + 1
        return begin, begin, f"namespace: {namespace}{', ' if metadata.value else ''}"
    first = metadata.value[0][0].start_mark
    return first.index, first.index, f"namespace: {namespace}{newline}{' ' * first.column}"


def _value(node: yaml.Node, key: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _scalar(node: yaml.MappingNode, key: str) -> str:
    found = _value(node, key)
    return str(found.value) if isinstance(found, yaml.ScalarNode) else ""
