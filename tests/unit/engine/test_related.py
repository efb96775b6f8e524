"""Objects besides the target that a fix edits: proven before, looked for afterwards."""

from __future__ import annotations

import copy
import dataclasses
import types
from collections.abc import Mapping
from typing import Any

import pytest
from tests.unit.diagnosis import around
from tests.unit.remediation import around_factory as repo

from selfheal import ports
from selfheal.api.classes import IncidentClass
from selfheal.engine import related
from selfheal.remediation import documents, finding_source
from selfheal.remediation.edits import Proposal, Refusal

SELECTOR: dict[str, Any] = {
    "fault": "Selector", "service": "web", "kind": "Deployment", "workload": "web",
    "differences": [{"key": "app", "old": "wbe", "newKey": "app", "new": "web"}],
}  # fmt: skip


class Cluster:
    """Objects by kind and name, and what a dry run says."""

    def __init__(self, *manifests: Mapping[str, Any], accepted: bool = True) -> None:
        self.objects = {(one["kind"], one["metadata"]["name"]): dict(one) for one in manifests}
        self.accepted, self.dry_runs = accepted, list[Mapping[str, Any]]()

    async def find_manifest(self, namespace: str, api_version: str, kind: str, name: str) -> Any:
        assert namespace == "shop"
        return copy.deepcopy(self.objects.get((kind, name)))

    async def dry_run_update(self, manifest: Mapping[str, Any]) -> ports.DryRun:
        self.dry_runs.append(manifest)
        return ports.DryRun(accepted=self.accepted, message="no")


def context(cluster: Cluster) -> Any:
    return types.SimpleNamespace(namespace="shop", deps=types.SimpleNamespace(cluster=cluster))


def in_git() -> list[dict[str, Any]]:
    return [documents.copy_plain(one) for one in documents.parse(repo.AROUND.encode(), "a").values]


def live() -> list[dict[str, Any]]:
    found = in_git()
    for one in found:
        one["metadata"] |= {"uid": "u", "resourceVersion": "1"}
    return found


SOURCE = finding_source.find_source(
    repo.FILES, path="", namespace="shop", manifest={"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}
)
SERVICE = IncidentClass.SERVICE_ENDPOINTS


async def prove(proposal: Proposal, cluster: Cluster) -> list[dict[str, Any]]:
    return await related.prove(context(cluster), repo.FILES, proposal, SOURCE)


async def test_another_object_is_compared_and_tried_as_it_runs() -> None:
    cluster = Cluster(*live())
    (proposal,) = repo.fix(SERVICE, **SELECTOR)
    (found,) = await prove(proposal, cluster)
    assert (found["file"], found["document"], found["manifest"]["spec"]["selector"]) == ("apps/shop/around.yaml", 0, {"app": "web"})
    (tried,) = cluster.dry_runs
    assert (tried["metadata"]["uid"], tried["spec"]["selector"]) == ("u", {"app": "web"})


async def test_the_target_alone_has_no_others() -> None:
    (proposal,) = repo.fix(IncidentClass.CPU_THROTTLING, limit="50m", ratio=0.9)
    assert await prove(proposal, Cluster()) == []


@pytest.mark.parametrize(
    ("objects", "accepted", "reason"),
    [
        ([], True, "Drifted"),
        ([one | {"spec": {"selector": {"app": "other"}, "ports": []}} for one in live()], True, "Drifted"),
        (live(), False, "DryRunRefused"),
    ],
)
async def test_what_is_not_as_it_should_be_is_refused(objects: list[Any], accepted: bool, reason: str) -> None:
    (proposal,) = repo.fix(SERVICE, **SELECTOR)
    with pytest.raises(Refusal) as caught:
        await prove(proposal, Cluster(*objects, accepted=accepted))
    assert caught.value.reason == reason


async def test_rights_are_compared_but_not_tried() -> None:
    permission = {"group": "", "resource": "configmaps", "verb": "list", "namespace": "shop"}
    (proposal,) = repo.fix(IncidentClass.PERMISSION_DENIED, account="reader", permissions=[permission], roles=["reader"])
    cluster = Cluster(*live(), accepted=False)
    assert len(await prove(proposal, cluster)) == 1
    assert cluster.dry_runs == []


async def test_a_new_object_is_tried_in_the_namespace() -> None:
    default = around.storage_class("standard", default=True)
    (proposal,) = repo.fix(IncidentClass.STORAGE, default, fault="ClaimMissing", claim="ledger-dta")
    cluster = Cluster()
    (found,) = await prove(proposal, cluster)
    assert (found["document"], cluster.dry_runs[0]["metadata"]["namespace"]) == (1, "shop")
    there = Cluster({"kind": "PersistentVolumeClaim", "metadata": {"name": "ledger-dta"}})
    with pytest.raises(Refusal) as caught:
        await prove(proposal, there)
    assert caught.value.reason == "Drifted"


async def test_a_file_that_loses_a_document_is_refused() -> None:
    (proposal,) = repo.fix(SERVICE, **SELECTOR)
    object.__setattr__(proposal, "files", {"apps/shop/around.yaml": b"# gone\n"})
    with pytest.raises(Refusal) as caught:
        await prove(proposal, Cluster(*live()))
    assert caught.value.reason == "ComparisonFailed"


@pytest.mark.parametrize(("selector", "shown"), [({"app": "web"}, True), ({"app": "wbe"}, False), (None, False)])
async def test_a_change_is_delivered_when_the_other_object_shows_it(selector: dict[str, str] | None, shown: bool) -> None:
    (proposal,) = repo.fix(SERVICE, **SELECTOR)
    others = await prove(proposal, Cluster(*live()))
    objects = [] if selector is None else [one | {"spec": {**one["spec"], "selector": selector}} for one in live() if one["kind"] == "Service"]
    content = {"after": SOURCE.manifest, "related": others}
    assert await related.carries_change(context(Cluster(*objects)), SOURCE.manifest, content, proposal) is shown


async def test_a_change_of_the_target_itself_has_to_show_too() -> None:
    (proposal,) = repo.fix(IncidentClass.CPU_THROTTLING, limit="50m", ratio=0.9)
    after = repo.parsed(proposal, "Deployment")
    content = {"after": after, "related": []}
    assert await related.carries_change(context(Cluster()), after, content, proposal)
    assert not await related.carries_change(context(Cluster()), SOURCE.manifest, content, proposal)
    assert not await related.carries_change(context(Cluster()), after, {"after": after}, _empty(proposal))


def _empty(proposal: Proposal) -> Proposal:
    return dataclasses.replace(proposal, edits=())
