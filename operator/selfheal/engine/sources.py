"""From a running object to what its fix may edit: plain documents, or what a source renders to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from selfheal import ports
from selfheal.domain import errors
from selfheal.remediation import (
    charts,
    compare,
    finding_source,
    hints,
    layouts,
    rendered,
    rendering,
    workloads,
)
from selfheal.remediation.edits import Refusal, Source
from selfheal.remediation.layouts import Layout, Root, RootKind

MOST_ROOTS = 40
"""Roots rendered for one object at the most; more have to be told apart by the policy's path."""

Manifest = Mapping[str, Any]
Files = Mapping[str, bytes]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Located:
    """Where a running object comes from.

    ``files`` are what a fix edits: the tree itself, or the objects that ``roots`` render to.
    Several roots are releases of one chart that all render what runs: a fix has to be right for
    each of them.
    """

    source: Source
    files: Files
    tree: Files
    layout: Layout
    roots: tuple[Root, ...] = ()
    others: tuple[Root, ...] = ()  # what else is rendered from this tree
    outputs: Mapping[Root, tuple[str, ...]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Found:
    root: Root | None
    source: Source
    texts: tuple[str, ...] = ()


async def locate(
    renderer: ports.Renderer | None, files: Files, *, path: str, live: Manifest, namespace: str
) -> Located:
    """Find the source of a running object in the mapped path.

    Refusal ``SourceNotFound``, ``SourceAmbiguous`` with the candidates, or
    ``GeneratorNotSupported``; Stalled where nothing can be rendered here. May be repeated.
    """
    layout = layouts.detect(files, path)
    declared = rendering.iterate_manifests(layout.plain, path)
    plain = finding_source.find_among(declared, live, namespace)
    named = [entry for entry in plain if _namespace(entry.manifest) == namespace]
    if named or not (layout.rendered or hints.names_of(live)):
        source = _only_plain(plain, layout, live, namespace)
        return Located(source=source, files=files, tree=files, layout=layout)
    search = _Search(renderer, files, layout, live, namespace)
    found = [*(_Found(root=None, source=source) for source in plain), *await search.run()]
    chosen = search.narrow(found)
    if not chosen:
        raise Refusal(*search.explain_missing())
    first = chosen[0]
    if first.root is None:
        return Located(source=first.source, files=files, tree=files, layout=layout)
    roots = tuple(entry.root for entry in chosen if entry.root is not None)
    return Located(
        source=first.source,
        files=rendered.virtual_files(first.texts, first.root.path),
        tree=files,
        layout=layout,
        roots=roots,
        others=tuple(search.list_others(roots)),
        outputs={entry.root: entry.texts for entry in chosen if entry.root is not None},
    )


def _namespace(manifest: Manifest) -> Any:
    return (manifest.get("metadata") or {}).get("namespace")


def _only_plain(plain: Sequence[Source], layout: Layout, live: Manifest, namespace: str) -> Source:
    if not plain and layout.foreign:
        raise Refusal(*_explain_foreign(layout, live))
    return finding_source.choose(plain, path=layout.path, manifest=live, namespace=namespace)


def _explain_foreign(layout: Layout, live: Manifest) -> tuple[str, str]:
    return "GeneratorNotSupported", (
        f"No plain YAML, Kustomize or Helm source declares {workloads.describe(live)}; it may come "
        f"from {', '.join(layout.foreign[:5])}, which is not run here."
    )


class _Search:
    """One search among what a tree renders to."""

    def __init__(
        self,
        renderer: ports.Renderer | None,
        files: Files,
        layout: Layout,
        live: Manifest,
        namespace: str,
    ) -> None:
        self.renderer, self.files, self.layout = renderer, files, layout
        self.live, self.namespace = live, namespace
        self.declared = hints.find_declaration(files, layout.path, live)
        self.failures: list[str] = []
        self.rendered = 0

    async def run(self) -> list[_Found]:
        """Render what may hold the object; folders named like its namespace go first."""
        found: list[_Found] = []
        roots = self._order(self._list_roots())
        for near in (True, False):
            for root in roots:
                if hints.is_named(root, self.namespace) is near:
                    found += await self._look(root)
            if any(self._runs(entry) for entry in found):
                return found
        for chart in self._charts_of(found):
            for values in charts.combine(self._values_files(chart))[1]:
                found += await self._look(self._release(chart, values))
        return found

    def _list_roots(self) -> list[Root]:
        roots = [
            *layouts.kustomize_roots(self.layout),
            *(
                self._release(chart, values)
                for chart in self.layout.charts.values()
                if not chart.library
                for values in charts.combine(self._values_files(chart))[0]
            ),
        ]
        if self.declared is not None:
            meant = [root for root in roots if hints.is_meant(root, self.declared)]
            return [self._as_declared(root) for root in meant] or roots
        return roots

    def _as_declared(self, root: Root) -> Root:
        declared = self.declared
        if declared is None or root.kind is not RootKind.HELM:
            return root
        problem = root.problem
        if declared.inline:
            problem = (
                f"{declared.file} carries values of its own for {root.path}; such values are not "
                "edited here."
            )
        return dataclasses.replace(
            root, values=declared.values, release=declared.release or root.release, problem=problem
        )

    def _values_files(self, chart: charts.Chart) -> list[str]:
        return charts.find_values_files(self.files, chart, self.layout.path)

    def _release(self, chart: charts.Chart, values: tuple[str, ...]) -> Root:
        return layouts.helm_root(self.layout, chart, values, self.live, self.namespace)

    def _order(self, roots: Sequence[Root]) -> list[Root]:
        likely = [
            root
            for root in dict.fromkeys(roots)
            if hints.may_render(root, self.files, self.live, self.namespace)
            and (root.kind is not RootKind.HELM or self._is_chart(root))
        ]
        return likely

    def _is_chart(self, root: Root) -> bool:
        return hints.is_chart(root, self.layout.charts, self.live)

    async def _look(self, root: Root) -> list[_Found]:
        if root.problem:
            self.failures.append(root.problem)
            return []
        if self.rendered >= MOST_ROOTS:
            self.failures.append(
                f"More than {MOST_ROOTS} sources may declare it; map a narrower path."
            )
            return []
        self.rendered += 1
        try:
            texts = await render(self.renderer, self.files, root)
        except (errors.HandOver, Refusal) as error:
            self.failures.append(error.message)
            return []
        files = rendered.virtual_files(texts, root.path)
        manifests = rendering.iterate_manifests(files, root.path)
        found = finding_source.find_among(manifests, self.live, self.namespace)
        return [_Found(root=root, source=source, texts=texts) for source in found]

    def _runs(self, found: _Found) -> bool:
        """Tell whether the object as it runs is what a source says."""
        manifest = found.source.manifest
        try:
            compare.check_equivalence(
                rendered_before=manifest, rendered_after=manifest, live=self.live, edits=()
            )
        except Refusal:
            return False
        return True

    def _charts_of(self, found: Sequence[_Found]) -> list[charts.Chart]:
        paths = {entry.root.path for entry in found if entry.root and not self.declared}
        return [chart for folder, chart in self.layout.charts.items() if folder in paths]

    def narrow(self, found: Sequence[_Found]) -> list[_Found]:
        """Leave one source, or the releases of one chart; Refusal names the candidates else."""
        left = list(found)
        tops = {root.path for root in self._tops()}
        for test in (
            lambda entry: _namespace(entry.source.manifest) == self.namespace,
            self._runs,
            lambda entry: entry.root is None or entry.root.path in tops,
            lambda entry: hints.fits_origin(entry.root, self.files, self.live),
            self._is_named,
        ):
            left = [entry for entry in left if test(entry)] or left
        same_chart = {
            (entry.root.path if entry.root and entry.root.kind is RootKind.HELM else number)
            for number, entry in enumerate(left)
        }
        if len(same_chart) > 1:
            raise Refusal("SourceAmbiguous", self._explain_several(left))
        if len(left) > 1 and not all(map(self._runs, left)):
            raise Refusal("SourceAmbiguous", self._explain_several(left))
        return left

    def _is_named(self, entry: _Found) -> bool:
        """Tell whether a source lies in a folder named like the namespace."""
        if entry.root is None:
            return self.namespace in entry.source.file.split("/")
        return hints.is_named(entry.root, self.namespace)

    def _tops(self) -> list[Root]:
        """Return the roots that no other kustomization is made of."""
        roots = layouts.kustomize_roots(self.layout)
        inner = {folder for root in roots for folder in root.folders[1:]}
        top = [root for root in roots if root.path not in inner]
        return [*top, *(self._release(chart, ()) for chart in self.layout.charts.values())]

    def _explain_several(self, left: Sequence[_Found]) -> str:
        names = [entry.root.title if entry.root else entry.source.file for entry in left]
        return (
            f"{workloads.describe(self.live)} may come from {len(names)} sources: "
            f"{'; '.join(names[:8])}. Map a narrower path, or name the delivery object."
        )

    def explain_missing(self) -> tuple[str, str]:
        """Return reason and message where nothing was found."""
        if self.declared is not None and not self.failures:
            return "GeneratorNotSupported", (
                f"{self.declared.file} ({self.declared.kind} {self.declared.name}) delivers "
                f"{workloads.describe(self.live)} from {self.declared.path or 'the root'}, which "
                "is no kustomization or chart below the mapped path."
            )
        if self.failures:
            listed = " ".join(dict.fromkeys(self.failures[:3]))
            return "GeneratorNotSupported", (
                f"No source that can be rendered declares {workloads.describe(self.live)}: {listed}"
            )
        if self.layout.foreign:
            return _explain_foreign(self.layout, self.live)
        where = self.layout.path or "the root"
        return "SourceNotFound", (
            f"Nothing below {where} declares {workloads.describe(self.live)} for namespace "
            f"{self.namespace}: neither plain YAML, nor one of {self.rendered} kustomizations and "
            "charts that may."
        )

    def list_others(self, chosen: Sequence[Root]) -> list[Root]:
        """Return what else is delivered from this tree, as far as it can be known."""
        releases = [
            self._release(chart, values)
            for chart in self.layout.charts.values()
            for values in charts.combine(self._values_files(chart))[0]
            if values or not self._values_files(chart)
        ]
        found = [root for root in self._tops() if root.kind is RootKind.KUSTOMIZE] + releases
        taken = {(root.path, root.values) for root in chosen}
        paired = {(root.path, values) for root in chosen for values in root.values}
        return [
            root
            for root in dict.fromkeys(found)
            if not root.problem
            and (root.path, root.values) not in taken
            and not (len(root.values) == 1 and (root.path, root.values[0]) in paired)
        ]


async def render(renderer: ports.Renderer | None, files: Files, root: Root) -> tuple[str, ...]:
    """Render a root to the texts of its documents."""
    if renderer is None:
        raise errors.Stalled(
            f"{root.title} cannot be rendered: no renderer is configured.",
            reason="RendererMissing",
        )
    return rendered.split(await renderer.render(files, root))
