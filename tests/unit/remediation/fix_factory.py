"""A small repository, the object that runs from it, and findings about it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from tests.unit.diagnosis import evidence_factory

from selfheal.api.classes import IncidentClass
from selfheal.api.policy import GuardsSpec
from selfheal.diagnosis.evidence import Finding, Item
from selfheal.remediation import documents, propose
from selfheal.remediation.edits import Edit, Operation, Proposal, Source

PATH = "apps/shop"
FILE = f"{PATH}/web.yaml"
TEXT = """\
# the shop's front
apiVersion: v1
kind: Service
metadata:
  name: web
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web}
spec:
  replicas: 2
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      - name: app   # the one that counts
        image: "nginx:9.9"   # bumped on Monday
        ports:
        - containerPort: 8080
          name: http
        resources:
          limits:
            memory: 64Mi
            cpu: 0.5
          requests: {memory: 32Mi}
        readinessProbe:
          httpGet:
            path: /healthz
            port: 8081
          periodSeconds: 2
        env:
        - {name: A, value: "1"}
      initContainers:
      - name: setup
        image: busybox:1.36
"""
FILES: dict[str, bytes] = {FILE: TEXT.encode(), "README.md": b"# shop\n", f"{PATH}/values.yaml": b"{{ template }}\n"}
APP = ("spec", "template", "spec", "containers", 0)


def manifest(text: str = TEXT) -> dict[str, Any]:
    return documents.copy_plain(documents.parse(text.encode(), FILE).values[-1])


def live(text: str = TEXT) -> dict[str, Any]:
    """Return the object as the API server stores it: defaulted, with a sidecar injected first."""
    found = copy.deepcopy(manifest(text))
    found["metadata"] |= {
        "namespace": "shop", "uid": "u-1", "resourceVersion": "7", "generation": 2, "creationTimestamp": "2026-11-23T05:00:00Z",
        "managedFields": [{"manager": "kubectl"}], "annotations": {"deployment.kubernetes.io/revision": "2"},
    }  # fmt: skip
    found["status"] = {"replicas": 2}
    spec = found["spec"]["template"]["spec"]
    spec |= {"restartPolicy": "Always", "securityContext": {}}
    app = spec["containers"][0]
    app |= {"imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log"}
    limits = app.get("resources", {}).get("limits", {})
    if "cpu" in limits:
        limits["cpu"] = "500m"
    if "readinessProbe" in app:
        app["readinessProbe"]["httpGet"]["scheme"] = "HTTP"
    spec["containers"].insert(0, {"name": "proxy", "image": "envoy:1"})
    return found


def source(text: str = TEXT) -> Source:
    values = documents.parse(text.encode(), FILE).values
    return Source(file=FILE, document=len(values) - 1, manifest=manifest(text))


def finding(class_: IncidentClass, *, confidence: float = 0.95, container: str | None = "app", **parameters: Any) -> Finding:
    return Finding(class_=class_, cause="It is so.", confidence=confidence, evidence=("pod/web-1",), container=container, parameters=parameters)


def fix(found: Finding, *items: Item, text: str = TEXT, **guards: Any) -> list[Proposal]:
    files: Mapping[str, bytes] = {**FILES, FILE: text.encode()}
    bundle = evidence_factory.bundle(*items)
    return list(propose.propose(found, bundle=bundle, source=source(text), files=files, guards=GuardsSpec(**guards)))


def edit(path: tuple[str | int, ...], old: Any, new: Any, *, operation: Operation = Operation.SET, document: int = 1, file: str = FILE) -> Edit:
    return Edit(file=file, document=document, path=path, operation=operation, old=old, new=new, reason="test")


def changed_lines(diff: str) -> list[str]:
    return [line for line in diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
