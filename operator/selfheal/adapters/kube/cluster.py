"""The port ``Cluster``: workloads as they are, evidence, and dry runs; nothing is ever changed."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from selfheal import ports
from selfheal.adapters.kube import (
    connection,
    dryrun,
    events,
    evidence,
    gitops,
    kinds,
    kubelet,
    rollout,
    scan,
    suspects,
    targets,
)
from selfheal.api.incident import TargetRef
from selfheal.diagnosis.evidence import Bundle
from selfheal.domain import errors, facts
from selfheal.domain.signals import Suspect

# Owners first: what they own is left out.
_LISTED = ("Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job", "ReplicaSet", "Pod")
MAX_LISTED = 500
MAX_OWNERS = 5


class KubeCluster:
    """Reads the target's namespace; rights are the ClusterRole of ``manifests/``."""

    def __init__(self, api: connection.Connection, *, insecure_kubelet: bool = False) -> None:
        """Take a connection; ``insecure_kubelet`` accepts kubelets with any certificate."""
        self._api = api
        self._kinds = kinds.Kinds(api)
        self._kubelets = kubelet.Kubelets(api, insecure=insecure_kubelet)

    async def close(self) -> None:
        """Close the sockets to kubelets; may be repeated. The connection is its owner's."""
        await self._kubelets.close()

    async def find_object(self, namespace: str, ref: TargetRef) -> Mapping[str, Any] | None:
        """Read one object with its apiVersion and kind; None where there is none."""
        stored = await self._api.find(kinds.path_of_known(ref.kind, namespace, ref.name))
        if stored is None:
            return None
        return {"apiVersion": kinds.KNOWN[ref.kind][0], "kind": ref.kind} | dict(stored)

    async def find_manifest(
        self, namespace: str, api_version: str, kind: str, name: str
    ) -> Mapping[str, Any] | None:
        """Read one object of any kind; None where there is none. Secrets are never read."""
        if kind == "Secret":
            return None
        path = await self._kinds.find_path(api_version, kind, namespace, name)
        stored = await self._api.find(path) if path else None
        if stored is None:
            return None
        return {"apiVersion": api_version, "kind": kind} | dict(stored)

    async def list_targets(self, namespace: str) -> Sequence[TargetRef]:
        """Return workloads that nothing else controls, at most 500 of a kind."""
        listed = await asyncio.gather(
            *(self._api.take(kinds.path_of_known(kind, namespace), MAX_LISTED) for kind in _LISTED)
        )
        return [
            TargetRef(api_version=kinds.KNOWN[kind][0], kind=kind, name=kinds.name_of(one))
            for kind, found in zip(_LISTED, listed, strict=True)
            for one in found
            if kinds.controller_of(one) is None
        ]

    async def find_owner(self, namespace: str, ref: TargetRef) -> TargetRef | None:
        """Follow the controllers upwards, at most 5, as far as their kind is one of ours."""
        found: TargetRef | None = None
        kind, name = ref.kind, ref.name
        for _ in range(MAX_OWNERS):
            stored = await self._api.find(kinds.path_of_known(kind, namespace, name))
            if stored is None:
                break
            found = TargetRef(api_version=kinds.KNOWN[kind][0], kind=kind, name=name)
            owner = kinds.controller_of(stored)
            if owner is None or owner["kind"] not in _LISTED:
                break
            kind, name = owner["kind"], owner["name"]
        return found.evolve(container=ref.container) if found is not None else None

    async def observe_workload(self, namespace: str, ref: TargetRef) -> facts.WorkloadFacts:
        """Read rollout, pods, containers and recent warnings; counters where they can be had."""
        target = await targets.read(self._api, namespace, ref)
        warnings = await self._warnings(target)
        counters, _, _ = await self._kubelets.read(target.pods)
        return rollout.build_facts(target, warnings, counters)

    async def _warnings(self, target: targets.Target) -> list[facts.EventFacts]:
        try:
            found = await events.list_events(self._api, target, warnings_only=True)
        except errors.Forbidden:
            return []  # rollout and containers decide; events only explain
        return events.build_facts(found)

    async def find_suspects(self, namespaces: Sequence[str]) -> Sequence[Suspect]:
        """Look at the namespaces side by side; six list requests each."""
        now = dt.datetime.now(dt.UTC)
        found = await asyncio.gather(
            *(suspects.find(self._api, namespace, now) for namespace in namespaces)
        )
        return [suspect for part in found for suspect in part]

    async def read_delivery(
        self, namespace: str, ref: TargetRef, sha: str, strategy: str
    ) -> facts.DeliveryFacts:
        """Read what Argo CD or Flux says of a commit, at the objects that made the live one."""
        live = await self.find_object(namespace, ref)
        return await gitops.read(self._api, live, sha, strategy)

    async def collect_evidence(self, namespace: str, ref: TargetRef, now: dt.datetime) -> Bundle:
        """Collect everything of incidents.md; what cannot be had is named in ``gaps``."""
        return await evidence.collect(self._api, self._kinds, self._kubelets, namespace, ref, now)

    async def scan(
        self,
        namespaces: Sequence[str],
        now: dt.datetime,
        *,
        extend: scan.Extend | None = None,
    ) -> Sequence[scan.Scanned]:
        """Diagnose everything unhealthy in some namespaces, one entry a cause; reads only."""
        return await scan.scan(self._api, self._kubelets, namespaces, now, extend=extend)

    async def dry_run_update(self, manifest: Mapping[str, Any]) -> ports.DryRun:
        """Dry run of an update, strict; of a create where a field is immutable.

        ``warnings`` begin with ``ReplaceNeeded:`` where delivery must replace the object, and with
        ``DryRunUnavailable:`` where a webhook knows no dry run.
        """
        return await dryrun.update(self._api, self._kinds, manifest)
