"""Whether a policy can be used stands in its conditions."""

from __future__ import annotations

from tests.fakes.cluster import FakeCluster
from tests.fakes.store import FakeStore
from tests.scenario.world import VirtualClock, policy_spec

from selfheal.api.meta import Condition
from selfheal.domain import errors
from selfheal.engine.deps import Deps
from selfheal.engine.policies import review


def deps(store: FakeStore) -> Deps:
    return Deps(
        store=store, cluster=FakeCluster(), clock=VirtualClock(), connect=None, holder="x",  # type: ignore[arg-type]
    )  # fmt: skip


async def ready(store: FakeStore) -> Condition:
    await review("default", deps(store))
    (condition,) = store.policies["default"].status.conditions
    assert condition.type == "Ready"
    return condition


async def test_a_policy_that_can_be_used() -> None:
    store = FakeStore()
    store.apply_policy("default", policy_spec())
    found = await ready(store)
    assert (found.status, found.reason) == ("True", "Valid")
    before = store.policies["default"]
    await review("default", deps(store))
    assert store.policies["default"].metadata.resource_version == before.metadata.resource_version


async def test_a_wrong_field_is_named_and_mended() -> None:
    store = FakeStore()
    store.apply_policy("default", policy_spec(tracker={"project": None}))
    found = await ready(store)
    assert (found.status, found.reason) == ("False", "Invalid")
    assert found.message.startswith("spec.tracker.project: ")
    assert found.observed_generation == 1
    store.apply_policy("default", policy_spec())
    mended = await ready(store)
    assert (mended.status, mended.observed_generation) == ("True", 2)


async def test_a_secret_that_is_missing_is_named_with_its_field() -> None:
    store = FakeStore()
    model = {"name": "m", "credentialsRef": {"name": "model"}}
    servers = [{"name": "kubernetes", "url": "http://x", "credentialsRef": {"name": "tools"}}]
    registries = [{"host": "r", "credentialsRef": {"name": "jira"}}]
    store.credentials["jira"] = {"token": "x"}
    store.apply_policy(
        "default",
        policy_spec(
            tracker={"credentialsRef": {"name": "jira"}}, code={"credentialsRef": {"name": "github"}},
            agents={"model": model, "mcpServers": servers}, registries=registries,
        ),
    )  # fmt: skip
    found = await ready(store)
    said = [part for part in found.message.split("; ") if part.startswith("spec.")]
    fields = [part.split(":")[0] for part in said]
    assert fields == [
        "spec.code.credentialsRef", "spec.agents.model.credentialsRef",
        "spec.agents.mcpServers[0].credentialsRef",
    ]  # fmt: skip


async def test_a_policy_that_is_gone_or_unreadable_is_left_alone() -> None:
    store = FakeStore()
    await review("default", deps(store))

    async def broken(name: str) -> None:
        raise errors.Unreachable("down", system="kubernetes")

    store.get_policy = broken  # type: ignore[assignment,method-assign]
    await review("default", deps(store))
    assert not store.policies
