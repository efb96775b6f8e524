"""Faults from a commit to the end of their incident: the installed operator, sandbox Jira, GitHub and delivery."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hack import world
from hack.sandbox.github import client as github
from tests.e2e.faults import (
    fix_rows,
    layouts,
    library,
    metrics_server,
    preparing,
    running,
    watching,
)

from selfheal.adapters.kube import kinds
from selfheal.cli import trial, trial_manifests, trial_policy
from selfheal.cli.kubectl import Kubectl
from selfheal.diagnosis import registry as rules
from selfheal.domain import errors

AT_ONCE = 6
FILE = "manifests.yaml"
PATIENCE = 420.0
"""Seconds from filing to the end: a stuck rollout fails its deadline, a volume is formatted."""
DELIVERY_PATIENCE = 120.0
POLL = 0.5
STEP = 6
"""guards.memoryStep of these runs: the library's faults need up to five times of what they have, and with the default
of 2 those are taken back instead of mended, which is right as well and another test's matter."""
GIVEN_UP = "4m"
"""What the operator gives a rollout and a proof in these runs, before it takes the fix back."""
OLD_TROUBLE = 3600
"""Seconds after which kills and restarts of before the fix do not count any more when one looks again."""
ALONE = ("IngressClass",)
"""Kinds of no namespace that other faults would see: one such fault at a time."""
_BY_HAND = re.compile(r"kubectl -n (?P<namespace>\S+) delete pod (?P<pods>[\w. -]+)$")
IDLE = 8
"""Faults without a right fix that run beside the others."""

Case = tuple[library.Fault, str]


def choose(
    *, layout: str | None = None, only: Sequence[str] = (), sample: bool = False
) -> list[Case]:
    """Choose faults and layouts: all fixes plain, each third in Kustomize and Helm too, and some that need no fix."""
    known = [
        fault
        for fault in library.load_all()
        if not only or any(fault.name.startswith(one) for one in only)
    ]
    fixes = [fault for fault in known if fault.action == "fix"]
    others = [fault for fault in known if fault.action != "fix"]
    if not only:
        others = others[:: max(1, len(others) // IDLE)][:IDLE]
    if sample:
        return [(fault, "plain") for fault in known if fault.name in SAMPLE]
    cases = [(fault, "plain") for fault in [*fixes, *others]] if layout in (None, "plain") else []
    for name in ("kustomize", "helm"):
        if layout in (None, name):
            # what stood there before in another form is not told by a layout made by a program
            cases += [
                (fault, name) for fault in (fixes if only else fixes[::3]) if not fault.before
            ]
    return cases


SAMPLE = (
    "probe-path",
    "missing-configmap",
    "service-selector",
    "network-ingress-closed",
    "idle-healthy",
    "oom-job",
)


async def run(
    cases: Sequence[Case], *, say: Callable[[str], None], at_once: int = AT_ONCE
) -> list[fix_rows.Row]:
    """Run cases, a bounded number at once; a row each. The operator must be installed."""
    slots = asyncio.Semaphore(at_once)
    done = 0
    async with (
        running.field(say) as ground,
        metrics_server.serving(ground.api, ground.watched),
    ):
        bench = Bench(ground)
        await asyncio.to_thread(bench.set_step, STEP)

        async def one(case: Case) -> fix_rows.Row:
            nonlocal done
            async with slots:
                row = await bench.run_one(*case)
            done += 1
            word = (
                "verified"
                if row.verified
                else "right"
                if row.right
                else "WRONG"
                if row.wrong
                else "not fixed"
            )
            said = row.trouble or row.stopped
            say(
                f"  [{done}/{len(cases)}] {row.fault} {row.layout}: {word} ({row.seconds:.0f} s) {said}"[
                    :230
                ]
            )
            return row

        try:
            return await asyncio.gather(*(one(case) for case in cases))
        finally:
            await asyncio.to_thread(bench.set_step, None)


class Bench:
    """The sandbox's repository and people, shared by all cases."""

    def __init__(self, ground: running.Field) -> None:
        self.ground = ground
        self.sandbox = trial.Sandbox.load(world.CLUSTER / "sandbox.json")
        self.kubectl = Kubectl(self.sandbox.values["kubeconfig"])
        self.repository = self.sandbox.repository()
        self.alone = asyncio.Lock()
        self.pushing = asyncio.Lock()  # one after the other: the branch and the policy are shared

    def set_step(self, step: float | None) -> None:
        """Set guards.memoryStep of the default policy, and time-outs within our patience; None: as it was."""
        timeouts = {"deployment": GIVEN_UP, "verification": GIVEN_UP} if step else None
        patch = json.dumps({"spec": {"guards": {"memoryStep": step}, "timeouts": timeouts}})
        self.kubectl.run("patch", "selfhealingpolicy", "default", "--type=merge", "-p", patch)

    async def run_one(self, fault: library.Fault, layout: str) -> fix_rows.Row:
        """Commit a fault, file its incident once it shows, review, follow it, look again, clear up."""
        row = fix_rows.Row(fault=fault.name, layout=layout, action=fault.action)
        if any(f"kind: {kind}" in fault.manifests for kind in ALONE):
            async with self.alone:
                await self._run(fault, row)
        else:
            await self._run(fault, row)
        return row

    async def _run(self, fault: library.Fault, row: fix_rows.Row) -> None:
        made: list[Mapping[str, Any]] = []
        row.namespace = namespace = await self.ground.make_namespace()
        with preparing.prepared(fault) as fill:
            try:
                case = Run(self, fault, namespace, fill, made)
                await case.show(row)
                await case.heal(row)
            except (
                AssertionError,
                errors.SelfHealError,
                trial_manifests.TrialError,
                OSError,
            ) as error:
                row.trouble = f"{type(error).__name__}: {error}"
            finally:
                async with self.pushing:
                    await asyncio.to_thread(trial.clear, self.sandbox, namespace)
                await self.ground.remove(namespace, made)


@dataclasses.dataclass
class Run:
    """One fault in its namespace."""

    bench: Bench
    fault: library.Fault
    namespace: str
    fill: library.Fill
    made: list[Mapping[str, Any]]

    def __post_init__(self) -> None:
        texts = [self.fault.shared, *self.fault.before, self.fault.manifests]
        self.names = library.Names.draw(
            *texts, namespace=self.namespace, placeholder=self.fault.namespace, keep=self.fault.keep
        )
        self.files: dict[str, bytes] = {}

    @property
    def place(self) -> str:
        return f"{self.bench.sandbox.values['path']}/{self.namespace}"

    async def show(self, row: fix_rows.Row) -> None:
        """Let delivery apply the manifests, what ran before them first, until the symptom shows."""
        ground, fault = self.bench.ground, self.fault
        async with self.bench.pushing:
            await asyncio.to_thread(
                trial_policy.serve_namespace, self.bench.kubectl, self.namespace
            )
        self.made += await ground.apply(self.namespace, self.fill(self.names(fault.shared)))
        for text in fault.before:
            await self.commit(self.names(text), "plain")
            objects = [await self.stored(one) for one in library.parse(self.names(text))]
            await running.settled(ground.watched, self.namespace, objects)
        text = self.fill(self.names(fault.manifests))
        begun = time.monotonic()
        await self.commit(text, row.layout)
        twin = library.twin_text(fault)
        if twin is not None and fault.action == "fix":
            twins = self.lay_out(without_secrets(self.fill(self.names(twin)))[0], row.layout)
            row.needed = fix_rows.count_needed(self.files, twins)
        symptom = running.rename(self.names, fault.symptom)

        def missing() -> list[Any]:
            age = time.monotonic() - begun
            return [
                one
                for one in symptom
                if not watching.holds(ground.watched, self.namespace, one, age)
            ]

        if not await ground.watched.wait(lambda: not missing(), seconds=running.SYMPTOM_SECONDS):
            raise AssertionError(f"the symptom did not show: {missing()}")

    def lay_out(self, text: str, layout: str) -> dict[str, bytes]:
        if layout == "kustomize":
            return layouts.as_kustomize(library.parse(text), self.namespace)
        if layout == "helm":
            return layouts.as_helm(library.parse(text), "web")
        return trial_manifests.place_in_namespace({FILE: text.encode()}, self.namespace)

    async def commit(self, text: str, layout: str) -> None:
        """Commit what belongs into Git, apply the Secrets by hand as people do, wait for delivery."""
        text, secrets = without_secrets(text)
        if secrets:
            self.made += await self.bench.ground.apply(self.namespace, secrets)
        self.files = self.lay_out(text, layout)
        self.made += library.parse(text)  # what stands in no namespace is taken away at the end
        async with self.bench.pushing:
            await asyncio.to_thread(
                self.bench.repository.replace_folder,
                self.place,
                self.files,
                f"{self.fault.name} for {self.namespace}",
            )
        deadline = time.monotonic() + DELIVERY_PATIENCE
        while not self.is_delivered(layout):
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"delivery did not take {self.place} within {DELIVERY_PATIENCE:.0f} s"
                )
            await asyncio.sleep(POLL)

    def is_delivered(self, layout: str) -> bool:
        """Whether the pipeline's state names what was committed."""
        path = world.CLUSTER / "sandbox" / "delivery" / "applied"
        units = json.loads(path.read_text()).get("units", {}) if path.exists() else {}
        if layout != "plain":
            return any(name == self.place or name.startswith(f"{self.place}/") for name in units)
        name = f"{self.place}/{FILE}"
        return bool(
            units.get(name) == hashlib.sha256(f"{name}\n".encode() + self.files[FILE]).hexdigest()
        )

    async def stored(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        found = await asyncio.to_thread(self.bench.kubectl.get, self.namespace, kind.lower(), name)
        if found is None:
            raise AssertionError(f"delivery did not apply {kind} {name}")
        return dict(found)

    async def heal(self, row: fix_rows.Row) -> None:
        """File the incident, approve its pull request, wait for the end; then look with the rules' own eyes."""
        kind, _, name = self.names(self.fault.target).partition("/")
        incident = f"heal-{self.namespace}"
        await self.file(incident, kind, name)
        path = f"/apis/selfheal.dev/v1alpha1/namespaces/{self.namespace}/selfhealingincidents/{incident}"
        begun = time.monotonic()
        approved: set[int] = set()
        status: dict[str, Any] = {}
        while time.monotonic() - begun < PATIENCE:
            found = await self.bench.ground.api.find(path)
            status = (found or {}).get("status", {})
            pull = status.get("pullRequest")
            if pull and pull["state"] == "Open" and pull["number"] not in approved:
                await asyncio.to_thread(self.bench.repository.approve, pull["number"])
                approved.add(pull["number"])
            if status.get("phase") in fix_rows.ENDS:
                break
            await self.obey(status.get("message", ""), row)
            await asyncio.sleep(POLL)
        row.seconds = round(time.monotonic() - begun, 1)
        row.phases = [entry["to"] for entry in status.get("history", [])]
        row.taken_back = bool(status.get("revert"))
        row.class_ = status.get("diagnosis", {}).get("class", "")
        if row.phase != fix_rows.RESOLVED:
            row.stopped = status.get("message") or (status.get("history") or [{}])[-1].get("why", "")
        await self.judge(row, status.get("pullRequest"))

    async def obey(self, message: str, row: fix_rows.Row) -> None:
        """Delete a pod that a StatefulSet will not replace, as the person on call is told to; once."""
        asked = _BY_HAND.search(message)
        if asked is None or asked.group() in row.by_hand or asked["namespace"] != self.namespace:
            return
        row.by_hand.append(asked.group())
        words = ("delete", "pod", *asked["pods"].split(), "--wait=false", "--ignore-not-found")
        await asyncio.to_thread(self.bench.kubectl.run, "-n", self.namespace, *words)

    async def judge(self, row: fix_rows.Row, pull: Mapping[str, Any] | None) -> None:
        if pull is not None:
            row.pull, row.merged = pull["number"], "PR_MERGED" in row.phases
            row.diff = await asyncio.to_thread(self.bench.repository.diff, pull["number"])
            row.lines = fix_rows.count_lines(row.diff)
        if row.merged and row.phase == fix_rows.RESOLVED:
            target = self.names(self.fault.target)
            look = await self.bench.ground.look(self.namespace, target, later=OLD_TROUBLE)
            row.still_failing = rules.is_failing(look.bundle)
            box = self.bench.sandbox.values
            after = await asyncio.to_thread(
                github.read_tree,
                box["github"],
                box["githubToken"],
                box["repository"],
                box["branch"],
                self.place,
            )
            row.weakened = fix_rows.find_weakened(self.files, after)

    async def file(self, incident: str, kind: str, name: str) -> None:
        body = {
            "apiVersion": "selfheal.dev/v1alpha1", "kind": "SelfHealingIncident",
            "metadata": {"name": incident, "namespace": self.namespace},
            "spec": {
                "summary": f"{kind} {name} is unwell",
                "targetRef": {"apiVersion": kinds.KNOWN[kind][0], "kind": kind, "name": name},
            },
        }  # fmt: skip
        await asyncio.to_thread(self.bench.kubectl.run, "apply", "-f", "-", stdin=json.dumps(body))


def without_secrets(text: str) -> tuple[str, str]:
    """Part a text into what belongs into Git and its Secrets, byte for byte."""
    parts = text.split("\n---\n")
    secret = [part for part in parts if any(one["kind"] == "Secret" for one in library.parse(part))]
    return "\n---\n".join(part for part in parts if part not in secret), "\n---\n".join(secret)
