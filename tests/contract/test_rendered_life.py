"""Whole lives of incidents whose source is rendered, with the real kustomize and helm and everything else in memory."""

from __future__ import annotations

import dataclasses
import pathlib
import subprocess
import tempfile
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from hack.cluster import binaries
from tests.contract import rendering
from tests.scenario.world import (
    REPOSITORY,
    SOURCE,
    World,
    approve_when_asked,
    policy_spec,
    repository_spec,
)

from selfheal import ports
from selfheal.api.incident import Phase
from selfheal.engine.deps import Deps

MANIFEST = SOURCE.replace("  namespace: production\n", "")
OVERLAY = {
    "apps/production/base/kustomization.yaml": b"resources: [checkout.yaml]\n",
    "apps/production/base/checkout.yaml": MANIFEST.replace("memory: 64Mi", "memory: 1Gi").encode(),
    "apps/production/live/kustomization.yaml": (
        b"namespace: production\nresources: [../base]\n"
        b"configMapGenerator:\n- {name: settings, literals: [A=1]}\n"
        b"patches:\n- target: {kind: Deployment}\n  patch: |-\n    - op: replace\n"
        b"      path: /spec/template/spec/containers/0/resources/limits/memory\n      value: 64Mi  # was enough\n"
    ),
}
CHART = {
    "apps/production/checkout/Chart.yaml": b"apiVersion: v2\nname: checkout\nversion: 1.0.0\n",
    "apps/production/checkout/values.yaml": b"limits:\n  memory: 64Mi  # was enough\n",
    "apps/production/checkout/templates/deployment.yaml": MANIFEST.replace(
        "limits:\n              memory: 64Mi   # was enough in spring", "limits: {{- toYaml .Values.limits | nindent 14 }}"
    )
    .replace("  name: checkout\n", "  name: checkout\n  namespace: {{ .Release.Namespace }}\n", 1)
    .encode(),
}  # fmt: skip


@dataclasses.dataclass
class RenderedWorld(World):
    """A world whose pipeline renders what it delivers."""

    sources: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    renderer: ports.Renderer | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.code.add_repository(REPOSITORY, dict(self.sources))
        self.deliver(self.sources)

    def start(self) -> Deps:
        return dataclasses.replace(super().start(), renderer=self.renderer)

    def deliver(self, files: Mapping[str, bytes]) -> None:
        rendering.build()
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                target = pathlib.Path(folder, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            words = [str(binaries.path("kustomize", binaries.KUSTOMIZE)), "build", f"{folder}/apps/production/live"]
            if "apps/production/checkout/Chart.yaml" in files:
                chart = f"{folder}/apps/production/checkout"
                words = [str(binaries.path("helm", binaries.HELM)), "template", "checkout", chart, "-n", "production"]
            done = subprocess.run(words, capture_output=True, check=True)
        for manifest in yaml.safe_load_all(done.stdout):
            if manifest and manifest["kind"] == "Deployment":
                self.cluster.apply(manifest)

    def _pass(self, seconds: float) -> None:
        until = self.clock.seconds + seconds
        for due, files in [one for one in self.deliveries if one[0] <= until]:
            self.clock.seconds = max(self.clock.seconds, due)
            self.deliveries.remove((due, files))
            self.deliver(files)
        self.clock.seconds = until


@pytest.mark.parametrize(
    ("sources", "file"),
    [(OVERLAY, "apps/production/live/kustomization.yaml"), (CHART, "apps/production/checkout/values.yaml")],
)
async def test_an_incident_of_a_rendered_source_is_resolved(sources: dict[str, bytes], file: str) -> None:
    world = RenderedWorld(sources=sources, renderer=rendering.make_renderer())
    world.people.append(approve_when_asked)
    world.file_incident()
    await world.run_until(Phase.INCIDENT_RESOLVED)
    after = world.code.repositories[REPOSITORY].files("main")
    changed = {name: content for name, content in after.items() if sources.get(name) != content}
    assert changed == {file: sources[file].replace(b"64Mi", b"128Mi")}
    (pull,) = world.code.repositories[REPOSITORY].pulls.values()
    assert "before and after, which differ in the intended place only" in pull.body
    proposal = await _proposal(world)
    assert [edit["path"][-1] for edit in proposal["edits"]] == ["memory"]


async def _proposal(world: World) -> Any:
    ref = world.status.fix.proposal_ref if world.status.fix else None
    found = await world.store.find_document("production", str(ref))
    assert found is not None
    return found.content["proposal"]


async def test_without_a_renderer_the_incident_stalls_and_goes_on_once_there_is_one() -> None:
    world = RenderedWorld(sources=OVERLAY)
    world.people.append(approve_when_asked)
    world.file_incident()
    await world.run_until(lambda w: any(c.reason == "RendererMissing" for c in w.status.conditions))
    assert world.phase is Phase.FIX_GENERATION_IN_PROGRESS
    world.renderer = rendering.make_renderer()
    world.restart()
    await world.run_until(Phase.INCIDENT_RESOLVED)


async def test_a_source_that_another_tool_makes_goes_to_a_person() -> None:
    world = RenderedWorld(sources={"apps/production/main.jsonnet": b"{}", **OVERLAY}, renderer=rendering.make_renderer())
    world.code.add_repository(REPOSITORY, {"apps/production/main.jsonnet": b"{}"})
    world.file_incident()
    await world.run_until(Phase.INCIDENT_REQUIRES_HUMAN)
    assert world.status.handover is not None
    assert world.status.handover.reason == "GeneratorNotSupported"
    assert "apps/production/main.jsonnet (Jsonnet), which is not run here" in world.status.handover.message


@pytest.mark.parametrize(
    ("sources", "file"),
    [(OVERLAY, "apps/production/live/kustomization.yaml"), (CHART, "apps/production/checkout/values.yaml")],
)
async def test_a_fix_of_a_rendered_source_is_revised_and_put_onto_a_base_that_moved(
    sources: dict[str, bytes], file: str
) -> None:
    world = RenderedWorld(sources=sources, renderer=rendering.make_renderer())
    revise = repository_spec(pullRequest={"onChangesRequested": "Revise"})
    world.file_incident(policy_spec(**revise))
    await world.run_until(Phase.PR_CREATED)
    world.code.request_changes(1, "rita", "use 256Mi")
    await world.run_until(lambda w: w.code.created["revision"] == 1)
    assert world.code.files(world.pull.branch)[file] == sources[file].replace(b"64Mi", b"256Mi")
    moved = b"# Ask team blue first.\n" + sources[file]
    world.code.push("main", {file: moved}, "ben")
    await world.run_until(lambda w: w.code.created["revision"] == 2)
    assert world.code.files(world.pull.branch)[file] == moved.replace(b"64Mi", b"256Mi")
    world.code.approve(1, "rita")
    await world.run_until(Phase.INCIDENT_RESOLVED)
    assert world.code.files()[file] == moved.replace(b"64Mi", b"256Mi")
