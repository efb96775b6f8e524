"""The alert rules ask for metrics and labels that the operator serves."""

from __future__ import annotations

import pathlib
import re

import yaml
from tests.unit.domain.test_figures import FIXED
from tests.unit.web.test_metrics import serve

RULES = pathlib.Path(__file__).resolve().parents[3] / "manifests" / "monitoring" / "alerts.yaml"


async def test_every_rule_asks_for_what_there_is() -> None:
    _, _, samples = await serve([FIXED])
    known = {one["name"] for one in samples}
    labels = {name for one in samples for name in one["labels"]}
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    assert len(group["rules"]) >= 5
    for rule in group["rules"]:
        asked = re.findall(r"selfheal_\w+", rule["expr"])
        assert asked, rule["alert"]
        assert set(asked) <= known, rule["alert"]
        named = re.findall(r"(\w+)(?:!=|=~|=)\"", rule["expr"]) + re.findall(r"by \((\w+)\)", rule["expr"])
        assert set(named) <= labels, rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["labels"]["severity"] in ("warning", "critical")
