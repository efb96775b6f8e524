"""`python -m hack.sandbox.delivery`: polls a branch and applies each new commit's manifests to the cluster.

Reports a commit status `delivery` and a deployment, as a pipeline would, on what the commit changed. What it did not
change is applied again afterwards, and only logged: a folder that somebody broke, or whose namespace is gone, fails
nobody else's commit. Resumable: the last applied commit is kept.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.error
from collections.abc import Sequence
from typing import Any

from hack.cluster import binaries
from hack.sandbox.delivery import builds
from hack.sandbox.delivery.units import Unit, find_units
from hack.sandbox.github import client

IMMUTABLE = re.compile(r"is immutable|may not change fields other than|updates to statefulset spec for fields other than")
"""What the API server says of an object that has to be made anew, as Flux does with `force`, Argo CD with `Replace`."""


class Delivery:
    """One pipeline."""

    def __init__(self, words: argparse.Namespace) -> None:
        self.words = words
        self.state = words.state / "applied"
        self.stopped = threading.Event()

    def run(self) -> None:
        """Poll until stopped; a failed poll is said and tried again."""
        while not self.stopped.is_set():
            try:
                self.look()
            except (OSError, urllib.error.URLError, client.GitHubRefusalError, TypeError) as error:
                print(f"delivery: {error}", flush=True)
            self.stopped.wait(self.words.poll)

    def look(self) -> None:
        w = self.words
        sha = client.head(w.github, w.token, w.repository, w.branch)
        before = self.read_state()
        if before.get("sha") == sha:
            return
        print(f"delivery: {sha[:8]} begins", flush=True)
        made = client.call(
            w.github, w.token, "POST", f"/repos/{w.repository}/deployments", {"ref": sha, "environment": "sandbox"}
        )
        self.report(sha, made["id"], "pending", "in_progress", "applying")
        files = client.read_tree(w.github, w.token, w.repository, sha, w.path)
        built, broken = self.build(sha, files, before.get("services", {}))
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            write_files(root, files)
            units = {unit: digest(root, unit) for unit in find_units(root, w.path)}
            known = before.get("units", {})
            changed = [unit for unit in units if known.get(name_of(root, unit)) != units[unit]]
            problem = broken or self.apply(changed)
            state = "failure" if problem else "success"
            self.report(sha, made["id"], state, state, (problem or "applied")[:130])
            kept = {name_of(root, unit): found for unit, found in units.items()}
            new = self.state.with_suffix(".new")
            new.write_text(json.dumps({"sha": sha, "units": kept, "services": built}))
            new.replace(self.state)  # who reads it meanwhile sees the old state or the new
            print(f"delivery: {sha[:8]} {problem or 'applied'}", flush=True)
            for unit in units:
                if unit in changed:
                    continue
                if client.head(w.github, w.token, w.repository, w.branch) != sha:
                    return  # what was just merged goes before what only drifts
                drifted = self.apply([unit])
                if drifted:
                    print(f"delivery: {sha[:8]} did not change, but cannot be applied now: {drifted}", flush=True)

    def build(
        self, sha: str, manifests: dict[str, bytes], known: dict[str, str]
    ) -> tuple[dict[str, str], str | None]:
        """Build images of services that the commit changed, and let the manifests name them; return what failed."""
        w = self.words
        files = client.read_tree(w.github, w.token, w.repository, sha, builds.ROOT)
        built = {folder: builds.digest(files, folder) for folder in builds.find_services(files)}
        problems, changes = [], {}
        for folder in [one for one in built if built[one] != known.get(one)]:
            image, problem = builds.build(files, folder, sha, f"{w.github}/{w.repository}")
            print(f"delivery: {sha[:8]} built {image}: {problem or 'pushed'}", flush=True)
            problems += [problem] if problem else []
            changes |= {} if problem else builds.set_image({**manifests, **changes}, image)
        if changes:
            message = f"Deploy {sha[:8]}"
            client.put_files(w.github, w.token, w.repository, changes, message, branch=w.branch)
        return built, "; ".join(problems) or None

    def read_state(self) -> dict[str, Any]:
        """The last applied commit, and what its units held."""
        try:
            return dict(json.loads(self.state.read_text()))
        except (FileNotFoundError, ValueError):
            return {}

    def report(self, sha: str, deployment: int, status: str, state: str, text: str) -> None:
        w = self.words
        client.set_status(w.github, w.token, w.repository, sha, "delivery", status, text)
        path = f"/repos/{w.repository}/deployments/{deployment}/statuses"
        client.call(w.github, w.token, "POST", path, {"state": state, "description": text})

    def apply(self, units: Sequence[Unit]) -> str | None:
        """Apply units; return what failed."""
        problems = [p for p in (APPLY[unit.kind](self, unit) for unit in units) if p]
        return "; ".join(problems) or None

    def apply_file(self, unit: Unit) -> str | None:
        return self.apply_manifests(unit.path.read_text())

    def apply_overlay(self, unit: Unit) -> str | None:
        program = binaries.path("kustomize", binaries.KUSTOMIZE)
        done = self.run_program(str(program), "build", str(unit.path))
        return self.apply_manifests(done.stdout) if not done.returncode else done.stderr.strip()

    def apply_manifests(self, text: str) -> str | None:
        done = self.kubectl(
            "apply", "--server-side", "--field-manager=sandbox-delivery", "--force-conflicts", "-f", "-", stdin=text
        )
        if done.returncode and IMMUTABLE.search(done.stderr):
            done = self.kubectl("replace", "--force", "-f", "-", stdin=text)
        return done.stderr.strip() if done.returncode else None

    def apply_release(self, unit: Unit) -> str | None:
        """Install or upgrade a release with Helm itself, as a pipeline does."""
        values = [word for path in unit.values for word in ("--values", str(path))]
        words = ["upgrade", "--install", unit.release, str(unit.path), "--namespace", unit.namespace, *values]
        program = str(binaries.path("helm", binaries.HELM))
        done = self.run_program(program, *words)
        if done.returncode and IMMUTABLE.search(done.stderr):
            done = self.run_program(program, *words, "--force")
        return done.stderr.strip() if done.returncode else None

    def kubectl(self, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return self.run_program(os.environ.get("KUBECTL", "kubectl"), *words, stdin=stdin)

    def run_program(self, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "KUBECONFIG": self.words.kubeconfig}
        return subprocess.run(words, input=stdin, capture_output=True, text=True, env=env, check=False)


APPLY = {"file": Delivery.apply_file, "kustomize": Delivery.apply_overlay, "helm": Delivery.apply_release}


def write_files(root: pathlib.Path, files: dict[str, bytes]) -> None:
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)


def name_of(root: pathlib.Path, unit: Unit) -> str:
    return str(unit.path.relative_to(root))


def digest(root: pathlib.Path, unit: Unit) -> str:
    """A digest of what a unit is made of; an overlay may take from anywhere in its namespace's folder."""
    folder = unit.path
    if unit.kind == "kustomize":
        folder = root.joinpath(*unit.path.relative_to(root).parts[:2])
    files = [folder] if folder.is_file() else sorted(one for one in folder.rglob("*") if one.is_file())
    summed = hashlib.sha256()
    for file in files:
        summed.update(f"{file.relative_to(root)}\n".encode())
        summed.update(file.read_bytes())
    return summed.hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("github", "token", "repository", "kubeconfig"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--branch", default="main")
    parser.add_argument("--path", default="")
    parser.add_argument("--poll", type=float, default=1.0)
    parser.add_argument("--state", type=pathlib.Path, required=True)
    words = parser.parse_args()
    words.state.mkdir(parents=True, exist_ok=True)
    delivery = Delivery(words)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: delivery.stopped.set())
    print("delivery ready", flush=True)
    delivery.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
