"""What an autoscaler or image automation writes is left to it, and it is named."""

from __future__ import annotations

import pytest
from tests.unit.remediation import fix_factory as repo
from tests.unit.remediation.test_guards import proposal

from selfheal.api.policy import GuardsSpec
from selfheal.remediation import guards
from selfheal.remediation.edits import Refusal

NAMED = "targetRef: {apiVersion: apps/v1, kind: Deployment, name: web}"
VPA = f"kind: VerticalPodAutoscaler\nmetadata: {{name: sizer}}\nspec:\n  {NAMED}\n"
HPA = f"kind: HorizontalPodAutoscaler\nmetadata: {{name: scaler}}\nspec: {{{NAMED.replace('targetRef', 'scaleTargetRef')}}}\n"
KEDA = "kind: ScaledObject\nmetadata: {name: events}\nspec: {scaleTargetRef: {name: web}}\n"
UPDATER = "kind: Application\nmetadata:\n  name: shop\n  annotations: {argocd-image-updater.argoproj.io/image-list: 'IMAGES'}\n"
MEMORY, REQUEST = ("memory: 64Mi", "memory: 128Mi"), ("memory: 32Mi", "memory: 48Mi")
IMAGE, REPLICAS = ("nginx:9.9", "nginx:1.27"), ("replicas: 2", "replicas: 3")


def outcome(owner: str, old: str, new: str) -> tuple[str, str] | None:
    files = {**repo.FILES, f"{repo.PATH}/owner.yaml": owner.encode()}
    changed = repo.TEXT.replace(old, new)
    assert changed != repo.TEXT
    try:
        guards.check_proposal(
            proposal(**{repo.FILE: changed.encode()}), guards=GuardsSpec(), namespace="shop", mapped_path=repo.PATH, files=files
        )
    except Refusal as refused:
        return refused.reason, str(refused)
    return None


@pytest.mark.parametrize(
    ("owner", "edit", "name"),
    [
        (VPA, MEMORY, "sizer"), (VPA, REQUEST, "sizer"), (VPA, IMAGE, None),
        (VPA.replace("name: web", "name: api"), MEMORY, None),
        (VPA + "  updatePolicy: {updateMode: 'Off'}\n", MEMORY, None),
        (VPA + "  updatePolicy: {updateMode: Initial}\n", MEMORY, "sizer"),
        (VPA + "  resourcePolicy: {containerPolicies: [{containerName: app, mode: 'Off'}]}\n", MEMORY, None),
        (VPA + "  resourcePolicy: {containerPolicies: [{containerName: '*', mode: 'Off'}]}\n", MEMORY, None),
        (VPA + "  resourcePolicy: {containerPolicies: [{containerName: app, controlledValues: RequestsOnly}]}\n", MEMORY, None),
        (VPA + "  resourcePolicy: {containerPolicies: [{containerName: app, controlledValues: RequestsOnly}]}\n", REQUEST, "sizer"),
        (HPA, REPLICAS, "scaler"), (KEDA, REPLICAS, "events"), (HPA, MEMORY, None), (KEDA, MEMORY, None),
        (UPDATER.replace("IMAGES", "web=nginx:~9"), IMAGE, "shop"),
        (UPDATER.replace("IMAGES", "other/app, docker.io/library/nginx"), IMAGE, "shop"),
        (UPDATER.replace("IMAGES", "example.com/nginx"), IMAGE, None),
        (UPDATER.replace("IMAGES", ""), IMAGE, None), (UPDATER.replace("IMAGES", "nginx"), MEMORY, None),
        ("kind: Application\nmetadata: {name: shop}\n", IMAGE, None),
    ],
)  # fmt: skip
def test_an_owned_field_is_refused_by_the_name_of_its_owner(owner: str, edit: tuple[str, str], name: str | None) -> None:
    found = outcome(owner, *edit)
    if name is None:
        assert found is None
    else:
        assert found is not None
        assert found[0] == "FieldOwned"
        assert name in found[1]
