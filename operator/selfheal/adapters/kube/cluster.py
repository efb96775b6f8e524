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
    kinds,
    kubelet,
    rollout,
    targets,
)
from selfheal.api.incident import TargetRef
from selfheal.diagnosis.evidence import Bundle
from selfheal.domain import errors, facts

# Owners first: what they own is left out.
_LISTED = ("Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job", "ReplicaSet", "Pod")
MAX_LISTED = 500


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

    async def collect_evidence(self, namespace: str, ref: TargetRef, now: dt.datetime) -> Bundle:
        """Collect everything of incidents.md; what cannot be had is named in ``gaps``."""
        return await evidence.collect(self._api, self._kinds, self._kubelets, namespace, ref, now)

    async def dry_run_update(self, manifest: Mapping[str, Any]) -> ports.DryRun:
        """Dry run of an update, strict; of a create where a field is immutable.

        ``warnings`` begin with ``ReplaceNeeded:`` where delivery must replace the object, and with
        ``DryRunUnavailable:`` where a webhook knows no dry run.
        """
        return await dryrun.update(self._api, self._kinds, manifest)
