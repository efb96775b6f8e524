"""Images that cannot be pulled: back to what ran, or to what the registry really lists."""

from __future__ import annotations

from collections.abc import Iterator

from selfheal.diagnosis import images, reading, reference
from selfheal.diagnosis.evidence import ItemKind
from selfheal.diagnosis.reference import Reference
from selfheal.remediation.drafts import Draft
from selfheal.remediation.edits import Proposal, Refusal

_NO_GUESS = frozenset({"Unknown", "ListedNow"})


def propose_tag(draft: Draft) -> Iterator[Proposal]:
    """Yield the last tag that ran, then the nearest tag of the registry; never ``latest``."""
    parameters = draft.finding.parameters
    wanted = reference.parse(parameters["image"])
    listed = set(parameters["tags"])
    known = parameters["tags_known"]
    for text in parameters["ran"]:
        ran = reference.parse(text)
        pinned = ran.digest is not None or not known or ran.tag in listed
        if ran.repository == wanted.repository and pinned and _allowed(ran):
            why = f"{text} ran before, and only the tag changed."
            yield _change(draft, text, risk="Low", why=why)
            break
    nearest = reference.nearest_tag(wanted.tag or "", listed)
    if nearest is not None:
        near = reference.same_major(wanted.tag or "", nearest)
        why = f"{nearest} is the nearest of {len(listed)} tags that the registry lists."
        image = wanted.with_tag(nearest)
        yield _change(draft, image, risk="Medium" if near else "High", why=why)


def propose_repository(draft: Draft) -> Iterator[Proposal]:
    """Yield the repository that ran, then the one near match of siblings and registry."""
    parameters = draft.finding.parameters
    if parameters["fault"] in _NO_GUESS:
        raise Refusal("NoSafeImage", f"It is not known what is wrong: {draft.finding.cause}")
    wanted = reference.parse(parameters["image"])
    tags = _listed_tags(draft)
    for text in parameters["ran"]:
        ran = reference.parse(text)
        if ran.repository == wanted.repository or not _allowed(ran):
            continue
        if wanted.tag and wanted.tag in tags.get(ran.repository, ()):
            why = f"{ran.repository} ran before, and the registry lists {wanted.tag} there."
            yield _change(draft, ran.with_tag(wanted.tag), risk="Low", why=why)
        yield _change(draft, text, risk="Low", why=f"{text} ran before the repository changed.")
        break
    yield from _near_match(draft, wanted, tags)


def propose_image(draft: Draft) -> Iterator[Proposal]:
    """Yield the image that ran before the change which broke the unchanged probe."""
    for text in draft.finding.parameters["ran"]:
        if _allowed(reference.parse(text)):
            why = f"{text} is ready beside it with the same probe."
            yield _change(draft, text, risk="Medium", why=why)


def _near_match(draft: Draft, wanted: Reference, tags: dict[str, list[str]]) -> Iterator[Proposal]:
    siblings: dict[str, Reference] = {}
    for text in images.sibling_images(reading.Reading(bundle=draft.bundle)):
        found = reference.parse(text)
        if found.valid and found.tag not in (None, *reference.FORBIDDEN_TAGS):
            siblings.setdefault(found.repository, found)
    candidates = (siblings.keys() | tags.keys()) - {wanted.repository}
    same_path = [name for name in candidates if name.partition("/")[2] == wanted.path.lower()]
    choice = reference.only_near_repository(wanted.repository.lower(), candidates)
    choice = same_path[0] if len(same_path) == 1 else choice
    if choice is None:
        return
    sibling = siblings.get(choice)
    tag, risk, proof = _tag_of(wanted, sibling, tags.get(choice))
    if tag is not None:
        name = sibling.name if sibling else _as_written(choice, wanted)
        why = f"{choice} is the only name near {wanted.repository}, and {proof}."
        yield _change(draft, f"{name}:{tag}", risk=risk, why=why)


def _as_written(repository: str, wanted: Reference) -> str:
    """Return a repository as short as the author wrote the wrong one."""
    if wanted.name.startswith(f"{wanted.host}/"):
        return repository
    short = repository.removeprefix(f"{reference.DEFAULT_HOST}/")
    return short if "/" in wanted.name else short.removeprefix("library/")


def _tag_of(
    wanted: Reference, sibling: Reference | None, listed: list[str] | None
) -> tuple[str | None, str, str]:
    """Return tag, risk and proof: what was wanted, else what a sibling has, else the nearest."""
    usable = set(listed or ()) - reference.FORBIDDEN_TAGS
    if wanted.tag in usable:
        return wanted.tag, "Medium", "the registry lists this tag there"
    if sibling is not None and (listed is None or sibling.tag in usable):
        return sibling.tag, "Medium", "another workload of the namespace uses this image"
    nearest = reference.nearest_tag(wanted.tag or "", usable) or reference.newest_tag(usable)
    return nearest, "High", f"{nearest} is what the registry lists there"


def _listed_tags(draft: Draft) -> dict[str, list[str]]:
    return {
        reference.parse(str(item.value["repository"])).repository: item.value.get("tags") or []
        for item in draft.bundle.of(ItemKind.TAGS)
        if item.value.get("exists")
    }


def is_allowed(text: str) -> bool:
    """Tell whether a fix may set an image: never latest, never without a tag."""
    return _allowed(reference.parse(text))


def _allowed(image: Reference) -> bool:
    return image.digest is not None or (image.tag or "") not in reference.FORBIDDEN_TAGS


def _change(draft: Draft, image: str, *, risk: str, why: str) -> Proposal:
    path = (*draft.container, "image")
    wanted, written = draft.finding.parameters["image"], draft.look(path)
    if written != wanted:
        raise Refusal("Drifted", f"The source says image {written}, the running pod {wanted}.")
    return draft.propose(
        draft.set(path, image, why),
        summary=f"Correct the image of {draft.finding.container} from {wanted} to {image}",
        risk=risk,
        risk_reason=why,
        arithmetic=f"{wanted} -> {image}: {why}",
    )
