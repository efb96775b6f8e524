"""The genuine Kubernetes binaries, built from Go modules into the user's cache, keyed by version."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import shutil
import time
from pathlib import Path

from hack.cluster import config, ui

_STAMP = "k8s.io/component-base/version"
_FLAGS = (
    f"-s -w -X {_STAMP}.gitVersion=v{config.KUBERNETES}"
    f" -X {_STAMP}.gitMajor={config.KUBERNETES.split('.')[0]} -X {_STAMP}.gitMinor={config.KUBERNETES.split('.')[1]}"
)
_GO_MINIMUM = (1, 26)


@dataclasses.dataclass(frozen=True)
class Module:
    """A folder with a go.mod of its own, and the programs built in it: name -> package."""

    folder: Path
    programs: dict[str, str]
    flags: str = "-s -w"

    @property
    def target(self) -> Path:
        """Where the programs of exactly this version stand."""
        digest = hashlib.sha256(self.flags.encode())
        for name in ("go.mod", "go.sum"):
            digest.update((self.folder / name).read_bytes())
        return config.CACHE / "bin" / f"{self.folder.name}-{digest.hexdigest()[:12]}"


KUBERNETES = Module(
    config.HERE,
    {
        # The largest first: most of the compiling is shared, so its time is the total's best measure.
        "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
        "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
        "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
        "kubelet": "k8s.io/kubernetes/cmd/kubelet",
        "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy",
        "kubectl": "k8s.io/kubernetes/cmd/kubectl",
        "etcd": "go.etcd.io/etcd/server/v3",
    },
    _FLAGS,
)
HELM = Module(config.HERE / "helm", {"helm": "helm.sh/helm/v3/cmd/helm"})
KUSTOMIZE = Module(
    config.HERE / "kustomize", {"kustomize": "sigs.k8s.io/kustomize/kustomize/v5"}
)
RENDERERS = (KUSTOMIZE, HELM)
"""What the operator renders sources with; its image has the same (Dockerfile)."""
FLUX = Module(
    config.HERE / "flux", {"kustomize-controller": "github.com/fluxcd/kustomize-controller"}
)
KIND = Module(config.HERE / "kind", {"kind": "sigs.k8s.io/kind"})


def path(name: str, module: Module = KUBERNETES) -> Path:
    """Where the program stands once built."""
    return module.target / name


def build(module: Module = KUBERNETES, only: tuple[str, ...] = ()) -> None:
    """Build what is missing of a module (all, or `only` these); an interrupted build goes on where it was."""
    target = module.target
    wanted = [name for name in module.programs if not only or name in only]
    todo = [name for name in wanted if not (target / name).exists()]
    if not todo:
        return
    _check_go()
    target.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    ui.say(f"building {len(todo)} programs from Go modules; log: {target / 'build.log'}")
    for name in todo:
        number = f"{wanted.index(name) + 1}/{len(wanted)}"
        with ui.step(f"building {name} ({number})", every=20):
            part = target / f".{name}.{os.getpid()}.part"
            try:
                ui.run(
                    ["nice", "-n", "5", "go", "build", "-trimpath", "-ldflags", module.flags, "-o", part,
                     module.programs[name]],
                    log=target / "build.log",
                    cwd=module.folder,
                    env={"CGO_ENABLED": "0"},
                )  # fmt: skip
                part.replace(target / name)
            finally:
                part.unlink(missing_ok=True)
    ui.say(
        f"{len(todo)} of {len(wanted)} programs built in {time.monotonic() - began:.0f} s, kept in {target}"
    )


def _check_go() -> None:
    if shutil.which("go") is None:
        raise ui.ClusterError("Go is missing: install Go 1.26 or later and put it on the PATH")
    version = ui.run(["go", "env", "GOVERSION"]).strip()
    match = re.match(r"go(\d+)\.(\d+)", version)
    automatic = ui.run(["go", "env", "GOTOOLCHAIN"]).strip() != "local"
    if match and (int(match[1]), int(match[2])) < _GO_MINIMUM and not automatic:
        raise ui.ClusterError(f"{version} is too old: Go 1.26 or later is needed")
