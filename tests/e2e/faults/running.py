"""Runs faults on the cluster in namespaces of their own, in parallel, and collects what diagnosis says."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import pathlib
import secrets
import time
import types
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, cast

import yaml
from tests.e2e.faults import library, preparing, watching

from selfheal.adapters.http.registry import OciRegistry
from selfheal.adapters.kube import connection, kinds
from selfheal.adapters.kube.cluster import KubeCluster
from selfheal.api.policy import GuardsSpec, RegistrySpec
from selfheal.diagnosis import registry as rules
from selfheal.diagnosis.evidence import Bundle, Finding
from selfheal.domain import errors
from selfheal.engine import perform_analysis
from selfheal.engine.context import Context
from selfheal.remediation import propose
from selfheal.remediation.edits import Proposal, Refusal

ROOT = pathlib.Path(__file__).resolve().parents[3]
AT_ONCE = 14
MAX_PODS = 90  # on the node when another fault begins; it takes 110
SYMPTOM_SECONDS = 150.0
LABEL = "faults.selfheal.dev/run"

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Look:
    """One diagnosis of one target: evidence, findings, and how long both took."""

    target: str
    bundle: Bundle
    findings: Sequence[Finding]
    failing: bool
    seconds: float


@dataclasses.dataclass
class Result:
    """What was seen of one fault."""

    fault: library.Fault
    names: library.Names
    looks: list[Look] = dataclasses.field(default_factory=list)
    twins: list[Look] = dataclasses.field(default_factory=list)
    decoys: list[Look] = dataclasses.field(default_factory=list)
    proposals: Sequence[Proposal] = ()
    refusal: str = ""
    trouble: str = ""  # the fault could not be shown

    @property
    def best(self) -> Finding | None:
        """The first finding of the first look."""
        return self.looks[0].findings[0] if self.looks and self.looks[0].findings else None


class Field:
    """The cluster with what a diagnosis needs; one at a time is timed."""

    def __init__(self, api: connection.Connection, watched: watching.Watched, say: Say) -> None:
        self.api, self.watched, self.say = api, watched, say
        self.kinds = kinds.Kinds(api)
        self.registry = OciRegistry([RegistrySpec(host="docker.io", endpoint="http://172.30.0.1:5000")], {})
        self._turn = asyncio.Lock()
        self._room = asyncio.Lock()
        self.run = secrets.token_hex(4)

    async def look(self, namespace: str, target: str, *, later: int = 0) -> Look:
        """Collect evidence as the engine does, with nothing cached, and apply the rules."""
        async with self._turn:
            cluster = KubeCluster(self.api)
            try:
                begun = time.perf_counter()
                now = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=later)
                context = types.SimpleNamespace(
                    deps=types.SimpleNamespace(cluster=cluster), namespace=namespace, now=now, repository=None,
                    systems=types.SimpleNamespace(registry=self.registry, code=None),
                )  # fmt: skip
                bundle = await perform_analysis.collect(cast("Context", context), library.ref_of(target))
                findings = rules.diagnose(bundle)
                seconds = time.perf_counter() - begun
            finally:
                await cluster.close()
        return Look(target, bundle, findings, rules.is_failing(bundle), seconds)

    async def make_namespace(self) -> str:
        """Create a namespace and wait for what every pod in it needs; waits for room on the node."""
        async with self._room:
            await self.watched.wait(lambda: self.watched.count_on_node() < MAX_PODS, seconds=300)
            name = f"team-{secrets.token_hex(4)}"
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {LABEL: self.run}}}
            await self.api.write("POST", "/api/v1/namespaces", body)
        ready = await self.watched.wait(
            lambda: (
                self.watched.find("ServiceAccount", name, "default") is not None
                and self.watched.find("ConfigMap", name, "kube-root-ca.crt") is not None
            ),
            seconds=60,
        )
        if not ready:
            raise AssertionError(f"namespace {name} has no service account after 60 s")
        return name

    async def apply(self, namespace: str, text: str) -> list[Mapping[str, Any]]:
        """Create or change every object of a text; return them with the metadata that they have now."""
        objects = []
        for one in library.parse(text):
            path = await self.kinds.find_path(one["apiVersion"], one["kind"], namespace)
            if path is None:
                raise AssertionError(f"the cluster does not know {one['apiVersion']} {one['kind']}")
            try:
                stored = await self.api.write("POST", path, one)
            except errors.Conflict:
                target = f"{path}/{one['metadata']['name']}"
                stored = await self.api.write("PATCH", target, one, content_type=connection.MERGE_PATCH)
            objects.append(one | {"metadata": stored["metadata"]})
        return objects

    async def remove(self, namespace: str, objects: Sequence[Mapping[str, Any]]) -> None:
        """Delete the namespace, and those objects that stand in none."""
        for one in objects:
            path = await self.kinds.find_path(one["apiVersion"], one["kind"], namespace)
            if path and f"/namespaces/{namespace}/" not in path:
                with contextlib.suppress(errors.SelfHealError):
                    await self.api.write("DELETE", f"{path}/{one['metadata']['name']}", None)
        with contextlib.suppress(errors.NotFound):
            await self.api.write("DELETE", f"/api/v1/namespaces/{namespace}", None)


@contextlib.asynccontextmanager
async def field(say: Say) -> AsyncIterator[Field]:
    """Connect to the local cluster and watch it; what was created is removed at the end."""
    api = await connection.connect(str(ROOT / ".cluster" / "kubeconfig"))
    try:
        async with watching.watch(api) as watched:
            made = Field(api, watched, say)
            try:
                yield made
            finally:
                left = await api.take("/api/v1/namespaces", 500, {"labelSelector": f"{LABEL}={made.run}"})
                for one in left:
                    await made.remove(one["metadata"]["name"], [])
                await made.registry.close()
    finally:
        await api.close()


async def run(
    faults: Sequence[library.Fault],
    *,
    say: Say,
    rounds: int = 1,
    at_once: int = AT_ONCE,
    note: Callable[[Result], None] = lambda result: None,
) -> list[Result]:
    """Run faults, a bounded number at once; results in the same order, and each to ``note`` when it is there."""
    slots = asyncio.Semaphore(at_once)
    done = 0

    async with field(say) as ground:

        async def one(fault: library.Fault) -> Result:
            nonlocal done
            async with slots:
                begun = time.monotonic()
                result = await run_one(ground, fault, rounds=rounds)
            done += 1
            note(result)
            said = result.trouble or (result.best.class_.value if result.best else "nothing found")
            say(f"  [{done}/{len(faults)}] {fault.name}: {said} ({time.monotonic() - begun:.0f} s)")
            return result

        return await asyncio.gather(*(one(fault) for fault in faults))


async def run_one(ground: Field, fault: library.Fault, *, rounds: int) -> Result:
    """Show one fault beside its twin and its decoys, diagnose all of them, take them away."""
    namespace = await ground.make_namespace()
    texts = [fault.shared, *fault.before, fault.manifests]
    names = library.Names.draw(*texts, namespace=namespace, placeholder=fault.namespace, keep=fault.keep)
    result = Result(fault, names)
    made: list[Mapping[str, Any]] = []
    with preparing.prepared(fault) as fill:
        try:
            await _show(ground, fault, namespace, names, made, result, fill)
            await _diagnose(ground, fault, namespace, names, result, rounds)
        except (AssertionError, errors.SelfHealError) as error:
            result.trouble = f"{type(error).__name__}: {error}"
        finally:
            await ground.remove(namespace, made)
    return result


async def _show(
    ground: Field, fault: library.Fault, namespace: str, names: library.Names, made: list[Any], result: Result,
    fill: library.Fill,
) -> None:  # fmt: skip
    watched = ground.watched
    others: list[str] = []
    for name in fault.decoys:
        text = library.decoy_text(name)
        objects = await ground.apply(namespace, library.Names.draw(text, namespace=namespace)(text))
        made += objects
        others += library.targets_of(objects)
    result.decoys = [Look(one, _nothing(one, namespace), (), False, 0.0) for one in others]
    for number, text in enumerate(fault.before):
        objects = await ground.apply(namespace, names(text if number else f"{fault.shared}\n---\n{text}"))
        made += objects
        await settled(watched, namespace, objects)
    twin = library.twin_text(fault)
    if twin is not None:
        drawn = library.Names.draw(
            fault.shared, twin, namespace=namespace, placeholder=fault.namespace, keep=fault.keep
        )
        objects = await ground.apply(namespace, fill(drawn(f"{fault.shared}\n---\n{twin}")))
        made += objects
        result.twins = [Look(one, _nothing(one, namespace), (), False, 0.0) for one in library.targets_of(objects)]
    shared = "" if fault.before else fault.shared
    begun = time.monotonic()
    made += await ground.apply(namespace, fill(names(f"{shared}\n---\n{fault.manifests}")))
    symptom = rename(names, fault.symptom)

    def missing() -> list[Any]:
        age = time.monotonic() - begun
        return [one for one in symptom if not watching.holds(watched, namespace, one, age)]

    if not await watched.wait(lambda: not missing(), seconds=SYMPTOM_SECONDS):
        raise AssertionError(f"the symptom did not show within {SYMPTOM_SECONDS:.0f} s: {missing()}")
    await _quiet_settled(watched, namespace, result, [names(one) for one in fault.quiet])


def rename(names: library.Names, symptom: Sequence[Mapping[str, Any]]) -> list[Any]:
    """The conditions of a symptom with the drawn names."""
    return [yaml.safe_load(names(yaml.safe_dump(dict(one)))) for one in symptom]


def _nothing(target: str, namespace: str) -> Bundle:
    return Bundle(target=library.ref_of(target), namespace=namespace, now=dt.datetime.now(dt.UTC))


async def settled(watched: watching.Watched, namespace: str, objects: Sequence[Mapping[str, Any]]) -> None:
    """Wait until what was applied before the fault runs, as it was applied last."""

    def is_settled() -> bool:
        pods = list(watched.of("Pod", namespace))
        return (
            bool(pods)
            and all(watching.is_settled(pod) for pod in pods)
            and all(watching.is_rolled_out(watched, one) for one in objects if one["kind"] == "Deployment")
        )

    if not await watched.wait(is_settled, seconds=SYMPTOM_SECONDS):
        raise AssertionError("what stood before the fault is not ready")


async def _quiet_settled(
    watched: watching.Watched, namespace: str, result: Result, quiet: Sequence[str]
) -> None:
    """Wait until the pods of twins, decoys and quiet workloads are ready or done."""
    targets = [*(one.target for one in [*result.twins, *result.decoys]), *quiet]
    names = [one.partition("/")[2] for one in targets]

    def unsettled() -> list[str]:
        return [
            pod["metadata"]["name"]
            for pod in watched.of("Pod", namespace)
            if any(pod["metadata"]["name"] == name or pod["metadata"]["name"].startswith(f"{name}-") for name in names)
            and not watching.is_settled(pod)
        ]

    if not await watched.wait(lambda: not unsettled(), seconds=60):
        raise AssertionError(f"twin or decoy is not well: {unsettled()}")


async def _diagnose(
    ground: Field, fault: library.Fault, namespace: str, names: library.Names, result: Result, rounds: int
) -> None:
    target = names(fault.target)
    for _ in range(rounds):
        result.looks.append(await ground.look(namespace, target, later=fault.later))
    result.twins = [await ground.look(namespace, one.target, later=fault.later) for one in result.twins]
    quiet = [names(one) for one in fault.quiet]
    others = [one.target for one in result.decoys] + quiet
    result.decoys = [await ground.look(namespace, one, later=fault.later) for one in others]
    await _propose(ground, fault, namespace, names, result)


async def _propose(ground: Field, fault: library.Fault, namespace: str, names: library.Names, result: Result) -> None:
    """Ask for a fix of the first finding, from the fault's own manifests as the repository."""
    best, look = result.best, result.looks[0]
    if best is None or best.confidence < MINIMUM:
        result.refusal = "NoFinding"
        return
    cluster = KubeCluster(ground.api)
    try:
        live = await cluster.find_object(namespace, look.bundle.target)
    finally:
        await cluster.close()
    files = {"manifests.yaml": names(fault.manifests).encode()}
    try:
        source = propose.find_source(files, path="", manifest=live or {}, namespace=namespace)
        result.proposals = propose.propose(best, bundle=look.bundle, source=source, files=files, guards=GuardsSpec())
    except Refusal as refusal:
        result.refusal = refusal.reason


MINIMUM = 0.6
"""The policy's default ``agents.minimumConfidence``: what is below is no diagnosis."""
