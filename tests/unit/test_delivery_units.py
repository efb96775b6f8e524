"""What the sandbox's pipeline applies in one go, each file once."""

from __future__ import annotations

import pathlib

from hack.sandbox.delivery.units import find_units

FILES = {
    "apps/shop/web.yaml": "kind: Service\n",
    "apps/try-a/base/kustomization.yaml": "resources: [web.yaml]\n",
    "apps/try-a/base/web.yaml": "kind: Deployment\n",
    "apps/try-a/live/kustomization.yaml": "resources: [../base]\ncomponents: [../part]\n",
    "apps/try-a/live/live.env": "A=1\n",
    "apps/try-a/part/kustomization.yaml": "kind: Component\n",
    "apps/try-b/Chart.yaml": "name: checkout\nversion: 1.0.0\n",
    "apps/try-b/values-sandbox.yaml": "a: 1\n",
    "apps/try-b/templates/web.yaml": "kind: {{ x }}\n",
    "apps/try-b/charts/sub/Chart.yaml": "name: sub\nversion: 1.0.0\n",
    "apps/try-c/deep/odd/Chart.yaml": "{{ x }}\n",
    "apps/try-d/kustomization.yaml": "[a]\n",
    "apps/README.md": "# x\n",
}


def test_overlays_releases_and_files(tmp_path: pathlib.Path) -> None:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    found = find_units(tmp_path, "apps")
    told = [(unit.kind, str(unit.path.relative_to(tmp_path)), unit.namespace, unit.release) for unit in found]
    assert told == [
        ("kustomize", "apps/try-a/live", "", ""),
        ("kustomize", "apps/try-d", "", ""),
        ("helm", "apps/try-b", "try-b", "checkout"),
        ("helm", "apps/try-c/deep/odd", "try-c", "odd"),
        ("file", "apps/shop/web.yaml", "", ""),
    ]
    assert [path.name for path in found[2].values] == ["values-sandbox.yaml"]
    assert found[3].values == []
