"""Kustomize and Helm on the real cluster: the fix lands in the overlay's patch and in the environment's values."""

from __future__ import annotations

import json
import pathlib

import pytest
from hack import world

from selfheal.cli import trial

pytestmark = pytest.mark.e2e

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
SMALL = "memory: 64Mi   # too small for the cache"
ENOUGH = "memory: 128Mi   # too small for the cache"


@pytest.mark.parametrize(
    ("example", "file"),
    [("kustomize-oom", "overlays/live/memory.yaml"), ("helm-oom", "values-sandbox.yaml")],
)
def test_a_rendered_source_is_healed_where_it_says_the_limit(
    installed: None, namespace: str, example: str, file: str
) -> None:
    sandbox = trial.Sandbox.load(world.CLUSTER / "sandbox.json")
    result = trial.run(
        sandbox, EXAMPLES / example, namespace=namespace, approve=True, timeout=240, say=lambda text: None
    )
    try:
        (row,) = result["incidents"]
        assert (row["phase"], row["class"], row["healthy"]) == ("INCIDENT_RESOLVED", "OOMKilled", True), row
        changed = [line for line in row["diff"].splitlines() if line[:1] in "+-"]
        assert changed[:2] == [f"--- a/apps/{namespace}/{file}", f"+++ b/apps/{namespace}/{file}"]
        assert [line[:1] + line[1:].strip() for line in changed[2:]] == [f"-{SMALL}", f"+{ENOUGH}"]
        deployment = json.loads(world.kubectl("-n", namespace, "get", "deployment", "checkout", "-o", "json"))
        limits = deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert limits == {"memory": "128Mi"}
    finally:
        sandbox.repository().replace_folder(f"apps/{namespace}", {}, f"End of the trial of {example}")
        world.kubectl("delete", "namespace", namespace, "--wait=false", check=False)
