"""RegistryAuth: the pull secret that siblings use for the same registry; never a credential."""

from __future__ import annotations

from collections.abc import Iterator

from selfheal.diagnosis import reference
from selfheal.diagnosis.evidence import ItemKind
from selfheal.remediation import workloads
from selfheal.remediation.drafts import Draft
from selfheal.remediation.edits import PathStep, Proposal, Refusal


def propose(draft: Draft) -> Iterator[Proposal]:
    """Yield the reference to a secret that works for a sibling; Refusal ``NoPullSecret``."""
    image = reference.parse(str(draft.finding.parameters["image"]))
    path = (*workloads.pod_spec_path(str(draft.source.manifest.get("kind"))), "imagePullSecrets")
    written = [str(one.get("name")) for one in draft.look(path) or ()]
    missing = [str(name) for name in draft.finding.parameters.get("secretsMissing") or ()]
    proven = [name for name in _proven(draft, image.host) if name not in (*written, *missing)]
    wrong = [name for name in written if name in missing]
    if not proven:
        raise Refusal("NoPullSecret", _steps(draft, image.host, missing))
    secret = reference.only_similar(wrong[0], proven) if wrong else None
    secret = secret or proven[0]
    target = f"{draft.source.manifest.get('kind')} {draft.source.manifest['metadata']['name']}"
    why = f"A ready workload of the namespace pulls from {image.host} with it."
    place: tuple[PathStep, ...] = path
    if wrong:
        place = (*path, written.index(wrong[0]), "name")
        edit = draft.set(place, secret, why)
        summary = f"Correct the pull secret of {target} from {wrong[0]} to {secret}"
    else:
        names = [*draft.look(path), {"name": secret}] if written else [{"name": secret}]
        edit = draft.set(path, names, why)
        summary = f"Let {target} pull from {image.host} with the secret {secret}"
    yield draft.propose(
        edit, summary=summary, risk="Low", risk_reason=f"{why} No credential is touched."
    )


def _proven(draft: Draft, host: str) -> list[str]:
    """Return the secrets of siblings whose pods run on images of the registry, most used first."""
    counts: dict[str, int] = {}
    for item in draft.bundle.of(ItemKind.SIBLING):
        hosts = {reference.parse(str(image)).host for image in item.value.get("images") or ()}
        if host in hosts and item.value.get("ready"):
            for name in item.value.get("pullSecrets") or ():
                counts[str(name)] = counts.get(str(name), 0) + 1
    return sorted(counts, key=lambda name: (-counts[name], name))


def _steps(draft: Draft, host: str, missing: list[str]) -> str:
    named = f" (the pod names {', '.join(missing)}, which does not exist)" if missing else ""
    name, space = (missing or ["registry-login"])[0], draft.bundle.namespace
    return (
        f"No workload of the namespace pulls from {host} with a secret that works{named}. A person "
        f"has to: 1. kubectl -n {space} create secret docker-registry {name} --docker-server={host}"
        " --docker-username=USER --docker-password=TOKEN (or the ExternalSecret or SealedSecret "
        f"that makes it); 2. name it under imagePullSecrets of the workload, unless it is named."
    )
