"""A repository, what runs from it, and a fix of it by the real renderers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from tests.contract import rendering
from tests.unit.diagnosis import evidence_factory

from selfheal.adapters.render import ConfinedRenderer
from selfheal.api.policy import GuardsSpec
from selfheal.diagnosis.evidence import Finding, Item
from selfheal.engine import placing, sources
from selfheal.engine.placed import Placed
from selfheal.remediation import changes, compare, diff, layouts, propose, rendered
from selfheal.remediation.drafts import Draft
from selfheal.remediation.edits import Proposal, Source
from selfheal.remediation.layouts import Root

NAMESPACE = "shop"


@dataclasses.dataclass
class World:
    """One repository and its object in the cluster."""

    files: Mapping[str, bytes]
    live: Mapping[str, Any]
    renderer: ConfinedRenderer
    path: str = "apps"

    @classmethod
    async def load(
        cls, text: str, *, name: str = "web", kind: str = "Deployment", root: Root | None = None, path: str = "apps",
        metadata: Mapping[str, Any] | None = None,
    ) -> World:  # fmt: skip
        """Deliver a tree: its overlay ``prod``, or the given root."""
        files = rendering.tree(text)
        renderer = rendering.make_renderer()
        if root is None:
            layout = layouts.detect(files, path)
            found = [entry for entry in layouts.kustomize_roots(layout) if entry.path.endswith(("prod", "shop"))]
            root = found[0]
        texts = rendered.split(await renderer.render(files, root))
        manifests = [rendered.load(text) for text in texts]
        (manifest,) = [m for m in manifests if (m["kind"], m["metadata"]["name"]) == (kind, name)]
        live = rendering.run(manifest, NAMESPACE)
        for key, values in (metadata or {}).items():
            live["metadata"][key] = {**live["metadata"].get(key, {}), **values}
        return cls(files=files, live=live, renderer=renderer, path=path)

    async def locate(self) -> sources.Located:
        return await sources.locate(self.renderer, self.files, path=self.path, live=self.live, namespace=NAMESPACE)

    async def propose(self, finding: Finding, *items: Item) -> tuple[sources.Located, Proposal]:
        located = await self.locate()
        bundle = evidence_factory.bundle(*items)
        found = propose.propose(finding, bundle=bundle, source=located.source, files=located.files, guards=GuardsSpec())
        return located, found[0]

    async def fix(self, finding: Finding, *items: Item) -> Placed:
        located, proposal = await self.propose(finding, *items)
        placed = await placing.place(self.renderer, located, proposal)
        compare.intended_manifest(self.live, placed.proposal, located.source)
        after = rendering.run(placed.manifest, NAMESPACE)
        assert not compare.carries_change(self.live, placed.manifest, placed.proposal.edits)
        assert compare.carries_change(after, placed.manifest, placed.proposal.edits)
        return placed

    async def add(self, manifest: Mapping[str, Any]) -> Placed:
        """Place a new object beside the target."""
        located = await self.locate()
        bundle = evidence_factory.bundle()
        draft = Draft(finding=rendering.find_oom(), bundle=bundle, source=located.source, files=located.files)
        edit = draft.add_document(manifest, "test")
        proposal = draft.propose(edit, summary="", risk="Low", risk_reason="")
        placed = await placing.place(self.renderer, located, proposal)
        assert placed.others[edit.file, edit.document]["metadata"]["name"] == manifest["metadata"]["name"]
        return placed

    async def intend(self, kind: str, name: str, path: tuple[str | int, ...], new: Any) -> Placed:
        """Place one change of any rendered object, as a fix would propose it."""
        located = await self.locate()
        (file,) = [f for f, text in located.files.items() if _is(rendered.load(text.decode()), kind, name)]
        manifest = rendered.load(located.files[file].decode())
        bundle = evidence_factory.bundle()
        source = Source(file=file, document=0, manifest=manifest)
        draft = Draft(finding=rendering.find_oom(), bundle=bundle, source=source, files=located.files)
        proposal = draft.propose(draft.set(path, new, "test"), summary="", risk="Low", risk_reason="")
        return await placing.place(self.renderer, located, proposal)

    def changed_lines(self, placed: Placed) -> dict[str, list[str]]:
        result = {}
        for name, content in placed.proposal.files.items():
            before = {name: self.files[name]} if name in self.files else {}
            lines = diff.render_diff(before, {name: content}).splitlines()[2:]
            result[name] = [line for line in lines if line[:1] in ("+", "-")]
        return result

    async def rendered_change(self, placed: Placed) -> dict[str, tuple[Any, Any]]:
        """Return the leaves that differ over all objects that are rendered, by their last key."""
        located = await self.locate()
        files = {**self.files, **placed.proposal.files}
        before = rendered.by_identity([rendered.load(t) for t in located.outputs[located.roots[0]]])
        texts = await sources.render(self.renderer, files, located.roots[0])
        after = rendered.by_identity([rendered.load(text) for text in texts])
        assert before.keys() == after.keys()
        leaves = [leaf for key in before for leaf in changes.compare_values(before[key], after[key])]
        return {str(leaf.path[-1]): (leaf.before, leaf.after) for leaf in leaves}


def _is(manifest: Mapping[str, Any], kind: str, name: str) -> bool:
    return manifest["kind"] == kind and str(manifest["metadata"]["name"]).startswith(name)
