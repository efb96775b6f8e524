"""`python -m hack.sandbox.delivery`: polls a branch and applies each new commit's manifests to the cluster.

Reports a commit status `delivery` and a deployment, as a pipeline would. Resumable: the last applied commit is kept.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.error

from hack.sandbox.github import client

IMMUTABLE = "field is immutable"


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
        if self.state.exists() and self.state.read_text() == sha:
            return
        print(f"delivery: {sha[:8]} begins", flush=True)
        made = client.call(
            w.github, w.token, "POST", f"/repos/{w.repository}/deployments", {"ref": sha, "environment": "sandbox"}
        )
        self.report(sha, made["id"], "pending", "in_progress", "applying")
        problem = self.apply(client.read_tree(w.github, w.token, w.repository, sha, w.path))
        if problem:
            self.report(sha, made["id"], "failure", "failure", problem[:130])
        else:
            self.report(sha, made["id"], "success", "success", "applied")
        self.state.write_text(sha)
        print(f"delivery: {sha[:8]} {problem or 'applied'}", flush=True)

    def report(self, sha: str, deployment: int, status: str, state: str, text: str) -> None:
        w = self.words
        client.set_status(w.github, w.token, w.repository, sha, "delivery", status, text)
        path = f"/repos/{w.repository}/deployments/{deployment}/statuses"
        client.call(w.github, w.token, "POST", path, {"state": state, "description": text})

    def apply(self, files: dict[str, bytes]) -> str | None:
        """Apply all manifests; return what failed."""
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for path, content in files.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_bytes(content)
            problems = [p for p in (self.apply_unit(unit) for unit in units(root)) if p]
        return "; ".join(problems) or None

    def apply_unit(self, unit: list[str]) -> str | None:
        done = self.kubectl("apply", "--server-side", "--field-manager=sandbox-delivery", "--force-conflicts", *unit)
        if done.returncode and IMMUTABLE in done.stderr:
            done = self.kubectl("replace", "--force", *unit)
        return done.stderr.strip() if done.returncode else None

    def kubectl(self, *words: str) -> subprocess.CompletedProcess[str]:
        binary = os.environ.get("KUBECTL", "kubectl")
        env = {**os.environ, "KUBECONFIG": self.words.kubeconfig}
        return subprocess.run([binary, *words], capture_output=True, text=True, env=env, check=False)


def units(root: pathlib.Path) -> list[list[str]]:
    """What is applied in one go: a folder with a kustomization, else each file."""
    found: list[list[str]] = []
    covered: list[pathlib.Path] = []
    for kustomization in sorted(root.rglob("kustomization.yaml")):
        found.append(["-k", str(kustomization.parent)])
        covered.append(kustomization.parent)
    for path in sorted(root.rglob("*")):
        if path.suffix in (".yaml", ".yml") and not any(folder in path.parents for folder in covered):
            found.append(["-f", str(path)])
    return found


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
