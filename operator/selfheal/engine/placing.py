"""From an intended change of rendered objects to the edit of real source files that makes it.

Candidates are tried the likeliest first: each is rendered, and the first one whose rendering
differs from the present one in exactly the intended places is taken. What it does to everything
else that is delivered from the same tree is rendered too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from selfheal import ports
from selfheal.domain import errors
from selfheal.engine import placed, sources
from selfheal.engine.sources import Located
from selfheal.remediation import (
    additions,
    candidates,
    diff,
    documents,
    editing,
    intents,
    layouts,
    rendered,
)
from selfheal.remediation.edits import Proposal, Refusal
from selfheal.remediation.intents import Candidate, Intent
from selfheal.remediation.layouts import Root, RootKind
from selfheal.remediation.rendered import Change, Identity

SHOWN = 8
"""Places that a refusal names."""

Objects = Mapping[Identity, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Choice:
    """A candidate that makes the change; ``touched`` is what else it reaches."""

    candidate: Candidate
    touched: tuple[str, ...] = ()


async def place(
    renderer: ports.Renderer | None, located: Located, proposal: Proposal
) -> placed.Placed:
    """Return the proposal with the source files that bring its intended change about.

    Refusal ``SourceNotEditable`` names what was looked at. May be repeated.
    """
    work = _Placing(renderer, located, proposal)
    await work.run()
    return await work.finish(proposal)


class _Placing:
    """One search for the source of one proposal."""

    def __init__(
        self, renderer: ports.Renderer | None, located: Located, proposal: Proposal
    ) -> None:
        self.renderer, self.located = renderer, located
        self.intents = intents.read_intents(proposal.edits, located.files)
        self.changed: dict[str, bytes] = {}
        self.wanted = {root: self._want(root, proposal) for root in located.roots}
        self.left = {
            root: rendered.find_changes(_objects(located.outputs[root]), self.wanted[root])
            for root in located.roots
        }
        self.looked: list[str] = []
        self.chosen: list[_Choice] = []
        self._known: dict[tuple[Root, frozenset[tuple[str, bytes]]], tuple[str, ...] | None] = {}
        self._noise: set[tuple[Identity, tuple[str | int, ...]]] = set()

    @property
    def files(self) -> Mapping[str, bytes]:
        return {**self.located.tree, **self.changed}

    def _want(self, root: Root, proposal: Proposal) -> Objects:
        """Return what a root is meant to render to."""
        texts = self.located.outputs[root]
        if root == self.located.roots[0]:
            return rendered.by_identity(list(self._read_intended(texts, proposal)))
        manifests = [rendered.load(text) for text in texts]
        names = [rendered.identify(manifest) for manifest in manifests]
        for intent in self.intents:
            if not intent.path:
                manifests.append(self._added(root, intent.after))
            elif intent.identity in names:
                number = names.index(intent.identity)
                manifests[number] = _apply(manifests[number], intent)
            else:
                raise Refusal(
                    "SourceNotEditable",
                    f"{intent.identity} is not rendered by every release that may run.",
                )
        return rendered.by_identity(manifests)

    def _read_intended(self, texts: Sequence[str], proposal: Proposal) -> Iterator[Any]:
        """Iterate over the rendered objects as the proposal leaves them, and those it adds."""
        changed = {
            content: proposal.files[name]
            for name, content in self.located.files.items()
            if name in proposal.files
        }
        for text in texts:
            after = changed.get(text.encode())
            if after is None:
                yield rendered.load(text)
            else:
                first, *added = documents.parse(after, "the intended object").values
                yield first
                yield from (self._added(self.located.roots[0], manifest) for manifest in added)

    def _added(self, root: Root, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Return an object that is added, in the namespace that an overlay puts all of its own."""
        added: dict[str, Any] = documents.copy_plain(manifest)
        space = self.located.source.manifest["metadata"].get("namespace")
        if root.kind is RootKind.KUSTOMIZE and space:
            added["metadata"].setdefault("namespace", space)
        return added

    async def run(self) -> None:
        """Place one intent after the other; one candidate may do for several."""
        await self._learn_noise()
        for intent in self.intents:
            if self._is_open(intent):
                choice = await self._choose(intent)
                self.chosen.append(choice)
                self.changed.update(choice.candidate.files)
                for root in self.located.roots:
                    self.left[root] = await self._rest(root, self.files) or frozenset()
        if any(self.left.values()):
            raise Refusal(
                "SourceNotEditable",
                "The intended change could only be made in part; see its edits.",
            )

    async def _learn_noise(self) -> None:
        """Find what a chart makes anew each time, as passwords and dates: that is no change."""
        for root in self.located.roots:
            if not layouts.is_random(root, self.located.tree):
                continue
            again = _objects(await sources.render(self.renderer, self.located.tree, root))
            changes = rendered.find_changes(_objects(self.located.outputs[root]), again)
            self._noise |= {(change.identity, change.path) for change in changes}
            self.left[root] = self._without_noise(self.left[root])

    def _without_noise(self, changes: frozenset[Change]) -> frozenset[Change]:
        return frozenset(
            change for change in changes if (change.identity, change.path) not in self._noise
        )

    def _is_open(self, intent: Intent) -> bool:
        """Tell whether something that this intent wants is not rendered yet."""
        return any(_is_like(change, intent) for left in self.left.values() for change in left)

    async def _choose(self, intent: Intent) -> _Choice:
        """Return the first candidate that makes the change here and nowhere else.

        One that reaches the same object elsewhere comes last, and says so; one that changes
        anything else is never taken.
        """
        shared: _Choice | None = None
        root = self.located.roots[0]
        for candidate in candidates.find_candidates(root, self.located.layout, self.files, intent):
            after = {**self.files, **candidate.files}
            if not await self._is_right(after):
                self.looked.append(candidate.what)
                continue
            touched = await self._reach(candidate, after, intent)
            if touched == ():
                return _Choice(candidate=candidate)
            if touched is None:
                self.looked.append(f"{candidate.what} (changes more elsewhere)")
            elif shared is None or len(touched) < len(shared.touched):
                shared = _Choice(candidate=candidate, touched=touched)
        if shared is not None:
            return shared
        raise Refusal("SourceNotEditable", self._explain(intent))

    def _explain(self, intent: Intent) -> str:
        looked = "; ".join(dict.fromkeys(self.looked[:SHOWN])) or "no field that could feed it"
        keys = ".".join(intent.keys)
        roots = ", ".join(root.title for root in self.located.roots[:3])
        return (
            f"No edit of the sources of {roots} was found that changes {intent.identity} {keys} "
            f"and nothing else. Looked at: {looked}."
        )

    async def _is_right(self, files: Mapping[str, bytes]) -> bool:
        """Tell whether every root comes closer to what is wanted, and in nothing else differs."""
        for root in self.located.roots:
            rest = await self._rest(root, files)
            if rest is None or not rest < self.left[root]:
                return False
        return True

    async def _rest(self, root: Root, files: Mapping[str, bytes]) -> frozenset[Change] | None:
        after = await self._render(root, files)
        if after is None:
            return None
        return self._without_noise(rendered.find_changes(after, self.wanted[root]))

    async def _render(self, root: Root, files: Mapping[str, bytes]) -> Objects | None:
        texts = await self._render_texts(root, files)
        return None if texts is None else _objects(texts)

    async def _render_texts(self, root: Root, files: Mapping[str, bytes]) -> tuple[str, ...] | None:
        """Render once what is the same; None: this candidate breaks the source."""
        tree = self.located.tree
        changed = frozenset(item for item in files.items() if tree.get(item[0]) != item[1])
        if (root, changed) not in self._known:
            try:
                texts: tuple[str, ...] | None = await sources.render(self.renderer, files, root)
            except (errors.HandOver, Refusal):
                texts = None
            self._known[root, changed] = texts
        return self._known[root, changed]

    async def _reach(
        self, candidate: Candidate, files: Mapping[str, bytes], intent: Intent
    ) -> tuple[str, ...] | None:
        """Return which other roots change in the same way; None: one changes in another way."""
        touched = []
        for root in self.located.others:
            if not any(root.uses(name) for name in candidate.files):
                continue
            before = await self._render(root, self.located.tree)
            after = await self._render(root, files)
            if before is None:
                continue  # it did not render before either
            found = None
            if after is not None:
                found = self._without_noise(rendered.find_changes(before, after))
            if found is None or not all(_is_like(change, intent) for change in found):
                return None
            if found:
                touched.append(root.title)
        return tuple(touched)

    async def finish(self, proposal: Proposal) -> placed.Placed:
        """Return the proposal with real files, diff, and what more there is to say."""
        root = self.located.roots[0]
        texts = await self._render_texts(root, self.files)
        after = [rendered.load(text) for text in texts or ()]
        source = self.located.source
        manifest = placed.find_object(after, rendered.identify(source.manifest))
        others = {
            (edit.file, edit.document): placed.find_object(after, intent.identity)
            for edit, intent in zip(proposal.edits, self.intents, strict=True)
            if (edit.file, edit.document) != (source.file, source.document)
        }
        reached = sorted({name for choice in self.chosen for name in choice.touched})
        places = "; ".join(dict.fromkeys(choice.candidate.what for choice in self.chosen))
        proof = (
            f"Changed at {places}. All that {root.title} renders (objects: {len(after)}) was "
            "compared before and after, which differ in the intended place only."
        )
        risk, reason = proposal.risk, proposal.risk_reason
        if reached:
            risk = "Medium" if risk == "Low" else risk
            reason = f"{reason} The same source also feeds {', '.join(reached)}."
        return placed.Placed(
            proposal=dataclasses.replace(
                proposal,
                files=dict(self.changed),
                diff=diff.render_diff(self.located.tree, self.changed),
                edits=(
                    *proposal.edits,
                    *placed.list_consequences(self.located.source, manifest, proposal),
                ),
                arithmetic=f"{proposal.arithmetic} {proof}".strip(),
                risk=risk,
                risk_reason=reason,
            ),
            manifest=manifest,
            others=others,
        )


def _objects(texts: Sequence[str]) -> Objects:
    return rendered.by_identity([rendered.load(text) for text in texts])


def _apply(manifest: dict[str, Any], intent: Intent) -> dict[str, Any]:
    """Make an intended change in a rendered object."""
    edit = additions.make_edit(str(intent.identity), 0, manifest, intent.path, intent.after)
    if edit is None or not documents.same(edit.old, intent.before):
        raise Refusal("SourceNotEditable", f"{intent.identity} is not the same in every release.")
    changed: dict[str, Any] = editing.apply_to_value(manifest, edit)
    return changed


def _is_like(change: Change, intent: Intent) -> bool:
    """Tell whether a change is one of what an intent means, in whichever rendering it is."""
    one, other = change.identity, rendered.without_hash(intent.identity)
    if (one.group, one.kind, one.name) != (other.group, other.kind, other.name):
        return False
    steps = tuple(step.name if isinstance(step, intents.Named) else step for step in intent.path)
    return change.path[: len(steps)] == steps or steps[: len(change.path)] == change.path
