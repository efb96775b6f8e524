"""YAML files as documents: loaded as Kubernetes reads them, composed where positions matter."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from selfheal.remediation.edits import PathStep, Refusal

SUFFIXES = (".yaml", ".yml", ".json")
MAX_BYTES = 1_000_000
"""Larger files are not edited; Kubernetes itself refuses objects above 1.5 MiB."""

MAX_NODES = 100_000
"""Nodes of a file with its aliases expanded; stops alias bombs before they are compared."""

_BOM = "\ufeff"
_INTEGER = re.compile(
    r"^(?:[-+]?0b[01_]+|[-+]?0o?[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+)$"
)
_FLOAT = re.compile(
    r"^(?:[-+]?(?:[0-9][0-9_]*)?\.[0-9_]+(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?"
    r"(?:[eE][-+]?[0-9]+)|[-+]?[0-9][0-9_]*\.|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)


class _Loader(yaml.SafeLoader):
    """SafeLoader without dates and base-60 numbers, which Kubernetes reads as strings."""


_REPLACED = frozenset({f"tag:yaml.org,2002:{name}" for name in ("timestamp", "int", "float")})
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INTEGER, list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


@dataclasses.dataclass(frozen=True, kw_only=True)
class File:
    """A parsed file: its text as it is, and nodes and data of each document.

    What a document of kind List holds counts as so many documents of their own; ``places`` says
    where each one stands: number of the written document, and path within it.
    """

    text: str
    nodes: tuple[yaml.Node, ...]
    values: tuple[Any, ...]
    places: tuple[tuple[int, tuple[PathStep, ...]], ...]

    @property
    def shift(self) -> int:
        """Return how far PyYAML's positions lie behind the text's."""
        return 1 if self.text.startswith(_BOM) else 0


def parse(content: bytes, name: str) -> File:
    """Parse a file; Refusal ``SourceUnreadable`` says where and why not."""
    if len(content) > MAX_BYTES:
        raise Refusal("SourceUnreadable", f"{name} is larger than {MAX_BYTES} bytes.")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refusal("SourceUnreadable", f"{name} is not UTF-8: {error.reason}.") from error
    loader = _Loader(text.removeprefix(_BOM))
    try:
        nodes: list[Any] = []
        while loader.check_node():
            nodes.append(loader.get_node())
        _check_nodes(nodes, name)
        values = tuple(loader.construct_document(node) for node in nodes)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        detail = " ".join(str(error).split())
        raise Refusal("SourceUnreadable", f"{name} is not valid YAML: {detail}") from error
    flat = [
        (node, value, (number, path))
        for number, (written, loaded) in enumerate(zip(nodes, values, strict=True))
        for node, value, path in _flatten(written, loaded)
    ]
    return File(
        text=text,
        nodes=tuple(node for node, _, _ in flat),
        values=tuple(value for _, value, _ in flat),
        places=tuple(place for _, _, place in flat),
    )


def _flatten(node: yaml.Node, value: Any) -> Iterator[tuple[Any, Any, tuple[PathStep, ...]]]:
    """Yield a document, or the items of a List: https://kubernetes.io/docs/reference/using-api/."""
    is_list = isinstance(value, Mapping) and str(value.get("kind", "")).endswith("List")
    listed = find_node(node, ("items",)) if is_list else None
    if not isinstance(listed, yaml.SequenceNode):  # no List, or written elsewhere (by ``<<``)
        yield node, value, ()
        return
    for number, (written, loaded) in enumerate(zip(listed.value, value["items"], strict=True)):
        for inner, one, path in _flatten(written, loaded):
            yield inner, one, ("items", number, *path)


def _check_nodes(nodes: list[yaml.Node], name: str) -> None:
    """Refuse duplicate keys, alias loops and alias bombs."""
    sizes: dict[int, int] = {}

    def measure(node: yaml.Node, above: frozenset[int]) -> int:
        if id(node) in above:
            raise Refusal("SourceUnreadable", f"{name} has an alias that contains itself.")
        if id(node) not in sizes:
            _check_keys(node, name)
            inside = above | {id(node)}
            sizes[id(node)] = 1 + sum(measure(child, inside) for child in _children(node))
        return sizes[id(node)]

    if sum(measure(node, frozenset()) for node in nodes) > MAX_NODES:
        raise Refusal("SourceUnreadable", f"{name} has more than {MAX_NODES} nodes.")


def _check_keys(node: yaml.Node, name: str) -> None:
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        if key.value in seen and key.value != "<<":
            line = key.start_mark.line + 1
            raise Refusal("SourceUnreadable", f"{name} line {line}: duplicate key {key.value!r}.")
        seen.add(key.value)


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def find_node(root: yaml.Node, path: tuple[PathStep, ...]) -> yaml.Node | None:
    """Return the node at a path; None where it is not written there (for example by ``<<``)."""
    node = root
    for step in path:
        if isinstance(node, yaml.MappingNode):
            found = [value for key, value in node.value if key.value == step]
            if not found:
                return None
            node = found[0]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
        else:
            return None
    return node


def same(one: Any, other: Any) -> bool:
    """Tell whether two loaded values are equal in value and type (1, 1.0 and true differ)."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and (one == other or (one != one and other != other))


def copy_plain(value: Any) -> Any:
    """Copy a loaded value without sharing, so that a change at one place stays there."""
    if isinstance(value, Mapping):
        return {key: copy_plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [copy_plain(entry) for entry in value]
    return value
