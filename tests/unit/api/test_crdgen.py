"""The CRDs: structural, described, bounded, and the same as the files."""

from __future__ import annotations

import pathlib
import runpy
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from selfheal.api import crdgen, crdrules, incident, meta, policy

ROOT = pathlib.Path(__file__).resolve().parents[3]
CRDS = crdgen.build_crds()
TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}
STRUCTURAL = {
    "type", "format", "pattern", "enum", "minimum", "maximum", "exclusiveMinimum", "minLength",
    "maxLength", "minItems", "maxItems", "maxProperties", "description", "default", "items",
    "properties", "additionalProperties", "required", "x-kubernetes-validations",
}  # fmt: skip


def schema_of(name: str) -> dict[str, Any]:
    (version,) = CRDS[name]["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


def walk(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}")
    for word in ("items", "additionalProperties"):
        if word in schema:
            yield from walk(schema[word], f"{path}[]")


@pytest.mark.parametrize("name", CRDS)
def test_every_field_is_structural_and_described(name: str) -> None:
    for path, node in walk(schema_of(name)):
        assert node["type"] in TYPES, path
        assert set(node) <= STRUCTURAL, path
        assert not {"properties", "additionalProperties"} <= set(node), path
        assert node["type"] != "array" or "items" in node, path
        if path != ".metadata":  # the API server's own
            assert node["description"].strip(), path
            assert "``" not in node["description"], path


@pytest.mark.parametrize("name", CRDS)
def test_defaults_are_scalars_of_their_own_type_and_not_in_status(name: str) -> None:
    defaults = [(path, node) for path, node in walk(schema_of(name)) if "default" in node]
    assert bool(defaults) is (name != "selfhealingevidences.yaml")
    for path, node in defaults:
        assert not path.startswith(".status"), path
        assert isinstance(node["default"], TYPES[node["type"]]), path
        assert node["default"] in node.get("enum", [node["default"]]), path


def find(schema: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        schema = schema["properties"][name]
    return schema


def test_names_scopes_and_subresources() -> None:
    table = {
        name: (
            crd["spec"]["scope"],
            crd["spec"]["names"]["shortNames"],
            "status" in crd["spec"]["versions"][0].get("subresources", {}),
        )
        for name, crd in CRDS.items()
    }
    assert table == {
        "selfhealingincidents.yaml": ("Namespaced", ["shi"], True),
        "selfhealingpolicies.yaml": ("Cluster", ["shp"], True),
        "selfhealingevidences.yaml": ("Namespaced", ["shev"], False),
    }
    spec = CRDS["selfhealingincidents.yaml"]["spec"]
    assert "all" in spec["names"]["categories"]
    assert spec["versions"][0]["selectableFields"] == [{"jsonPath": ".status.phase"}]


def test_columns_are_those_of_the_design() -> None:
    (version,) = CRDS["selfhealingincidents.yaml"]["spec"]["versions"]
    columns = version["additionalPrinterColumns"]
    narrow = [one["name"] for one in columns if "priority" not in one]
    wide = [one["name"] for one in columns if one.get("priority") == 1]
    assert narrow == ["Phase", "Priority", "Target", "Class", "Ticket", "PR", "Age"]
    assert wide == ["Since", "Confidence", "Cost", "Message"]


@pytest.mark.parametrize("name", CRDS)
def test_columns_point_at_fields_of_the_schema(name: str) -> None:
    (version,) = CRDS[name]["spec"]["versions"]
    for column in version["additionalPrinterColumns"]:
        path = column["jsonPath"].partition("[")[0].strip(".").split(".")
        if path[0] != "metadata":
            find(schema_of(name), *path)


def test_each_phase_is_described_by_the_original_design() -> None:
    phase = find(schema_of("selfhealingincidents.yaml"), "status", "phase")
    assert phase["enum"] == [str(one) for one in incident.Phase]
    for one, text in incident.PHASE_DESCRIPTIONS.items():
        assert f"{one}: {text}." in phase["description"]


def test_what_is_optional_is_not_nullable_but_may_be_left_out() -> None:
    spec = find(schema_of("selfhealingincidents.yaml"), "spec")
    assert spec["required"] == ["summary"]
    assert spec["properties"]["targetRef"]["type"] == "object"
    assert spec["properties"]["ticketKey"]["type"] == "string"


def test_patterns_bounds_and_enums_reach_the_schema() -> None:
    spec = find(schema_of("selfhealingincidents.yaml"), "spec")["properties"]
    assert spec["summary"]["maxLength"] == 255
    assert spec["priority"]["enum"] == ["Low", "Medium", "High", "Critical"]
    assert spec["ticketKey"]["pattern"] == "^[A-Z][A-Z0-9_]+-[0-9]+$"
    guards = find(schema_of("selfhealingpolicies.yaml"), "spec", "guards")["properties"]
    assert guards["memoryStep"]["minimum"] == 1
    assert guards["memoryStep"]["exclusiveMinimum"] is True


def test_durations_show_their_default_as_users_write_it() -> None:
    timeouts = find(schema_of("selfhealingpolicies.yaml"), "spec", "timeouts")["properties"]
    assert timeouts["merge"]["default"] == "1d"
    assert timeouts["analysis"]["description"].endswith("Default: 15m.")
    spec = find(schema_of("selfhealingpolicies.yaml"), "spec", "guards")["properties"]
    assert 'Default: ["Deployment"' in spec["kinds"]["description"]
    assert "default" not in spec["kinds"]


def test_every_rule_names_the_field_it_speaks_of() -> None:
    found = [
        (path, rule)
        for name in CRDS
        for path, node in walk(schema_of(name))
        for rule in node.get("x-kubernetes-validations", ())
    ]
    assert len(found) == sum(
        len(rules) for kind in crdrules.RULES.values() for rules in kind.values()
    )
    for path, rule in found:
        last = path.rstrip("[]").rpartition(".")[2]
        assert last in rule["message"] or rule["fieldPath"].strip(".") in rule["message"]


def test_the_default_policy_and_a_full_one_satisfy_their_schema() -> None:
    schema = find(schema_of("selfhealingpolicies.yaml"), "spec")
    assert set(policy.PolicySpec().to_wire()) <= set(schema["properties"])


def test_the_committed_files_are_current() -> None:
    assert crdgen.find_stale(ROOT / "crds") == []


def test_files_are_written_and_checked(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "crds"
    assert crdgen.main(["--output", str(target)]) == 0
    assert crdgen.main(["--output", str(target), "--check"]) == 0
    assert capsys.readouterr().out.count("selfhealing") == 3
    (target / "kustomization.yaml").write_text("resources: []\n")
    (target / "obsolete.yaml").write_text("{}\n")
    changed = target / "selfhealingpolicies.yaml"
    changed.write_text(changed.read_text() + "# edited\n")
    assert crdgen.main(["--output", str(target), "--check"]) == 1
    said = capsys.readouterr().out
    assert "selfhealingpolicies.yaml" in said
    assert "obsolete.yaml" in said
    assert crdgen.main(["--output", str(target)]) == 0
    assert sorted(path.name for path in target.iterdir()) == [
        "kustomization.yaml", *sorted(CRDS),
    ]  # fmt: skip
    assert yaml.safe_load(changed.read_text()) == CRDS["selfhealingpolicies.yaml"]


def test_it_runs_as_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["crdgen", "--check", "--output", str(ROOT / "crds")])
    monkeypatch.delitem(sys.modules, "selfheal.api.crdgen")
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("selfheal.api.crdgen", run_name="__main__")
    assert ended.value.code == 0


def test_a_field_without_a_description_has_an_empty_one() -> None:
    class Bare(meta.Model):
        field: int

    schema = crdgen.convert_model(Bare, with_defaults=True)
    assert schema["properties"]["field"] == {"type": "integer", "description": ""}
