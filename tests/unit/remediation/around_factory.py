"""A small repository with everything around a workload, and fixes of findings about it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.diagnosis import around
from tests.unit.diagnosis import evidence_factory as make

from selfheal.api.classes import IncidentClass
from selfheal.api.policy import GuardsSpec
from selfheal.diagnosis.evidence import Finding, Item
from selfheal.remediation import documents, finding_source, guards, propose
from selfheal.remediation.edits import Proposal, Refusal

FILE = "apps/shop/web.yaml"
WORKLOAD = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web, tier: front}
    spec:
      nodeSelector:
        kubernetes.io/os: linx  # all of ours
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms:
            - matchExpressions:
              - {key: arch, operator: In, values: [amd46]}
      containers:
      - name: app
        image: shop/web:1
        resources:
          requests: {cpu: "64", memory: 900Gi}
          limits: {cpu: 50m, memory: 1Gi, ephemeral-storage: 10Mi}
        volumeMounts:
        - {name: conf, mountPath: /etc/app.ini, subPath: app.inii}
      - name: bare
        image: shop/bare:1
      volumes:
      - name: data
        persistentVolumeClaim: {claimName: ledger-dta}
      - name: tmp
        emptyDir: {sizeLimit: 8Mi}
      - name: conf
        configMap: {name: conf}
"""
AROUND = """\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  selector:
    app: wbe
  ports:
  - {port: 80, targetPort: 8080}
  - port: 81
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: shop}
spec:
  storageClassName: standrad
  resources: {requests: {storage: 1Gi}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: shop}
rules:
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: readers, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects:
- {kind: ServiceAccount, name: raeder, namespace: other}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: shop}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: wbe}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web, namespace: shop}
spec: {minAvailable: 2}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: front, namespace: shop}
spec:
  ingressClassName: ngnix
  rules:
  - http:
      paths:
      - path: /
        backend: {service: {name: wbe, port: {number: 80}}}
"""
FILES = {FILE: WORKLOAD.encode(), "apps/shop/around.yaml": AROUND.encode(), "apps/other/web.yaml": AROUND.replace("shop", "other").encode()}


def fix(
    class_: IncidentClass, *items: Item, container: str | None = "app", confidence: float = 0.95, target: tuple[str, str] = ("Deployment", "web"),
    files: dict[str, bytes] | None = None, cap: dict[str, Any] | None = None, **parameters: Any,
) -> list[Proposal]:  # fmt: skip
    """Propose, and let every proposal through the gate."""
    files = files or FILES
    if "container_" in parameters:  # a parameter of the finding, not its container
        parameters["container"] = parameters.pop("container_")
    found = Finding(class_=class_, cause="It is so.", confidence=confidence, evidence=("pod/web-1",), container=container, parameters=parameters)
    groups = {"Deployment": "apps/v1", "StatefulSet": "apps/v1", "Service": "v1", "HorizontalPodAutoscaler": "autoscaling/v2"}
    manifest = {"apiVersion": groups[target[0]], "kind": target[0], "metadata": {"name": target[1]}}
    source = finding_source.find_source(files, path="", manifest=manifest, namespace="shop")
    spec = GuardsSpec(**(cap or {}))
    proposals = list(propose.propose(found, bundle=around.bundle(*items), source=source, files=files, guards=spec))
    for proposal in proposals:
        guards.check_proposal(proposal, guards=spec, namespace="shop", mapped_path="apps", files=files)
    return proposals


def changed(proposal: Proposal) -> list[str]:
    return [line.strip() for line in proposal.diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]


def diff(class_: IncidentClass, *items: Item, **more: Any) -> list[str]:
    return changed(fix(class_, *items, **more)[0])


def refusal(class_: IncidentClass, *items: Item, **more: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        fix(class_, *items, **more)
    return caught.value


def parsed(proposal: Proposal, kind: str) -> Any:
    """Return the changed object of a kind as data."""
    for path, content in proposal.files.items():
        for value in documents.parse(content, path).values:
            if value["kind"] == kind:
                return value
    raise AssertionError(kind)


def ready_sibling(name: str = "api", **fields: Any) -> Item:
    return around.sibling(name, ready=1, **fields)


__all__ = ["around", "make"]
