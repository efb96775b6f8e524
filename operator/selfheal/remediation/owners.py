"""Fields that an autoscaler or image automation owns: a fix leaves them, and names the owner.

Shapes: https://github.com/kubernetes/autoscaler/blob/master/vertical-pod-autoscaler/docs/api.md,
https://keda.sh/docs/latest/reference/scaledobject-spec/ and
https://argocd-image-updater.readthedocs.io/en/stable/basics/update/.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from selfheal.diagnosis import reference
from selfheal.diagnosis.reading import dig
from selfheal.remediation import workloads
from selfheal.remediation.changes import Leaf
from selfheal.remediation.edits import Refusal

IMAGE_LIST = "argocd-image-updater.argoproj.io/image-list"
_SCALERS = {"HorizontalPodAutoscaler": "scaleTargetRef", "ScaledObject": "scaleTargetRef",
            "VerticalPodAutoscaler": "targetRef"}  # fmt: skip


def check_leaf(leaf: Leaf, manifest: Mapping[str, Any], known: Sequence[Mapping[str, Any]]) -> None:
    """Raise Refusal ``FieldOwned`` where one of the known objects writes this field itself."""
    path = ".".join(str(step) for step in leaf.path)
    for owner in known:
        if _owns(owner, leaf, manifest):
            raise Refusal(
                "FieldOwned",
                f"{workloads.describe(manifest)} {path}: {workloads.describe(owner)} owns this "
                "field; what it writes has to be changed there.",
            )


def _owns(owner: Mapping[str, Any], leaf: Leaf, manifest: Mapping[str, Any]) -> bool:
    kind = str(owner.get("kind"))
    if kind == "Application":
        return leaf.path[-1] == "image" and _updates(owner, str(leaf.before))
    if kind not in _SCALERS or not _targets(owner, manifest):
        return False
    if kind == "VerticalPodAutoscaler":
        return _sizes(owner, leaf)
    return leaf.path == ("spec", "replicas")


def _targets(owner: Mapping[str, Any], manifest: Mapping[str, Any]) -> bool:
    meant = dig(owner, "spec", _SCALERS[str(owner["kind"])])
    name = dig(manifest, "metadata").get("name")
    return (meant.get("kind", "Deployment"), meant.get("name")) == (manifest.get("kind"), name)


def _sizes(owner: Mapping[str, Any], leaf: Leaf) -> bool:
    """Tell whether a VerticalPodAutoscaler writes a request or limit of a container."""
    if "resources" not in leaf.path or leaf.path[-1] not in ("cpu", "memory"):
        return False
    if dig(owner, "spec", "updatePolicy").get("updateMode") == "Off":
        return False
    container = leaf.path[leaf.path.index("resources") - 1]
    policies = {
        one.get("containerName"): one
        for one in dig(owner, "spec", "resourcePolicy").get("containerPolicies") or ()
    }
    policy = policies.get(container) or policies.get("*") or {}
    if policy.get("mode") == "Off":
        return False
    return policy.get("controlledValues") != "RequestsOnly" or "requests" in leaf.path


def _updates(application: Mapping[str, Any], image: str) -> bool:
    """Tell whether Argo CD Image Updater keeps an image for an Application."""
    listed = (dig(application, "metadata").get("annotations") or {}).get(IMAGE_LIST) or ""
    return reference.parse(image).repository in _repositories(str(listed))


def _repositories(listed: str) -> Iterator[str]:
    for entry in listed.split(","):
        image = entry.strip().partition("=")[2] or entry.strip()
        if image:
            yield reference.parse(image).repository
