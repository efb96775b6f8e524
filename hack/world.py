"""The installed world for demo, end-to-end tests and bench: operator in the cluster, credentials, policy."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
CLUSTER = ROOT / ".cluster"
SYSTEM = "selfheal-system"


class WorldError(Exception):
    """Something that the world needs is not there; the message says what."""


def sandbox() -> dict[str, str]:
    """Where the sandbox is; `make sandbox-up` writes it."""
    path = CLUSTER / "sandbox.json"
    if not path.exists():
        raise WorldError("the sandbox does not run: make sandbox-up")
    return dict(json.loads(path.read_text()))


def kubectl_binary() -> str:
    """Return which kubectl is run."""
    return os.environ.get("KUBECTL") or (str(CLUSTER / "kubectl") if (CLUSTER / "kubectl").exists() else "kubectl")


def environment() -> dict[str, str]:
    """Return kubectl's environment: the local cluster, or KUBECONFIG with CLUSTER=current."""
    env = dict(os.environ)
    if env.get("CLUSTER") != "current":
        env["KUBECONFIG"] = str(CLUSTER / "kubeconfig")
    return env


def kubectl(*words: str, stdin: str | None = None, check: bool = True) -> str:
    """Run kubectl against the local cluster (or KUBECONFIG with CLUSTER=current)."""
    binary, env = kubectl_binary(), environment()
    done = subprocess.run([binary, *words], input=stdin, capture_output=True, text=True, env=env, check=False)
    if check and done.returncode:
        raise WorldError(f"kubectl {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def apply(*objects: dict[str, Any]) -> None:
    """Apply objects server-side; may be repeated."""
    text = "\n---\n".join(json.dumps(entry) for entry in objects)
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)


def put(entry: dict[str, Any]) -> None:
    """Create an object, or replace it whole, whoever owns its fields by now; may be repeated."""
    text = json.dumps(entry)
    name = f"{entry['kind']}.{entry['apiVersion'].partition('/')[0]}/{entry['metadata']['name']}"
    there = kubectl("get", name, "--ignore-not-found", "-o", "name")
    kubectl("replace" if there else "create", "-f", "-", stdin=text)


def wait_until(
    what: str, probe: Callable[[], Any], *, timeout: float, every: float = 0.5, say: Callable[[str], None] | None = None
) -> Any:
    """Return the probe's first truthy answer; WorldError after the time-out, with what was waited for."""
    started = time.monotonic()
    said = started
    while True:
        found = probe()
        if found:
            return found
        now = time.monotonic()
        if now - started > timeout:
            raise WorldError(f"{what}: not within {timeout:.0f} s")
        if say is not None and now - said > 10:
            said = now
            say(f"  waits for {what}, {now - started:.0f} s")
        time.sleep(every)


def secret(name: str, host: str, values: dict[str, str]) -> dict[str, Any]:
    """A credential as the operator accepts it: labelled, and bound to a host."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": SYSTEM,
            "labels": {"selfheal.dev/credential": "true"},
            "annotations": {"selfheal.dev/hosts": host},
        },
        "stringData": values,
    }


def policy(
    name: str = "default", *, namespaces: Sequence[str], stable_for: str = "10s", **overrides: Any
) -> dict[str, Any]:
    """The sandbox's policy for some namespaces."""
    box = sandbox()
    spec: dict[str, Any] = {
        "mode": "PullRequest",
        "clusterName": "sandbox",
        "tracker": {
            "type": "Jira",
            "deployment": "Cloud",
            "baseURL": box["jira"],
            "cloudId": box["jiraCloudId"],
            "project": box["jiraProject"],
            "issueType": "[System] Incident",
            "credentialsRef": {"name": "jira"},
            "pollInterval": "2s",
        },
        "code": {
            "baseURL": box["github"],
            "credentialsRef": {"name": "github"},
            "pollInterval": "2s",
            "limits": {"openPullRequests": 500, "mergesPerHour": 1000},  # trials come in dozens here
            "repositories": [
                {
                    "match": {"namespaces": list(namespaces)},
                    "repository": box["repository"],
                    "branch": box["branch"],
                    "path": box["path"],
                }
            ],
        },
        "registries": [{"host": "docker.io", "endpoint": "http://172.30.0.1:5000"}],
        "verification": {"stableFor": stable_for, "onFailure": "RevertPullRequest"},
    }
    spec.update(overrides)
    return {
        "apiVersion": "selfheal.dev/v1alpha1",
        "kind": "SelfHealingPolicy",
        "metadata": {"name": name},
        "spec": spec,
    }


def model_spec() -> dict[str, Any] | None:
    """The model of the environment, if one is set: it enters the policy of demo and `selfheal try`."""
    name, url = os.environ.get("OPENAI_MODEL"), os.environ.get("OPENAI_BASE_URL")
    if not name:
        return None
    spec: dict[str, Any] = {"name": name}
    if url:
        spec["baseURL"] = url
    spec["credentialsRef"] = {"name": "model"}
    return spec


def host_of(url: str) -> str:
    return url.split("//", 1)[-1].split("/", 1)[0]


def without_policy(rendered: str) -> str:
    """Leave out the shipped policy, an empty one: before ours, it would unmap every incident for a moment."""
    parts = rendered.split("\n---\n")
    return "\n---\n".join(part for part in parts if "\nkind: SelfHealingPolicy\n" not in f"\n{part}\n")


def install(*, namespaces: Sequence[str], say: Callable[[str], None] = print, **overrides: Any) -> None:
    """Install the operator from the manifests, with the sandbox's credentials and policy. May be repeated."""
    box = sandbox()
    rendered = kubectl("kustomize", str(ROOT / "manifests" / "base"))
    image = (CLUSTER / "operator-image").read_text().strip()
    rendered = rendered.replace("docker.io/selfheal/operator:dev", image)
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"), check=False)
    kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=without_policy(rendered))
    asks = ROOT / "manifests" / "optional" / "ask-containers.yaml"
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(asks))
    apply(
        secret("jira", host_of(box["jira"]), {"token": box["jiraToken"], "cloudId": box["jiraCloudId"]}),
        secret("github", host_of(box["github"]), {"token": box["githubToken"]}),
    )
    model = model_spec()
    if model is not None:
        key = os.environ.get("OPENAI_API_KEY", "none")
        apply(secret("model", host_of(model.get("baseURL", "https://api.openai.com")), {"apiKey": key}))
        overrides.setdefault("agents", {"model": model})
    put(policy(namespaces=namespaces, **overrides))
    say("operator installed; waits for its rollout")
    kubectl("-n", SYSTEM, "rollout", "status", "deployment/selfheal-operator", "--timeout=120s")


def incident(namespace: str, name: str) -> dict[str, Any] | None:
    """Read an incident; None where it is not there."""
    text = kubectl("-n", namespace, "get", "shi", name, "-o", "json", check=False)
    return json.loads(text) if text else None


def report(namespace: str | None = None) -> str:
    """What a person needs to understand a failure without this machine."""
    scope = ["-n", namespace] if namespace else ["-A"]
    parts = {
        "incidents": kubectl("get", "shi", *scope, "-o", "yaml", check=False)[-12000:],
        "events": kubectl("get", "events", *scope, "--sort-by=.metadata.creationTimestamp", check=False)[-6000:],
        "pods": kubectl("get", "pods", "-A", "-o", "wide", check=False),
        "operator log": kubectl(
            "-n", SYSTEM, "logs", "deployment/selfheal-operator", "--tail=80", check=False
        ),
        "operator's previous log": kubectl(
            "-n", SYSTEM, "logs", "deployment/selfheal-operator", "--tail=30", "--previous", check=False
        ),
    }
    for name in ("jira", "github", "delivery"):
        path = CLUSTER / "sandbox" / f"{name}.log"
        parts[f"sandbox {name} log"] = path.read_text(errors="replace")[-2500:] if path.exists() else ""
    return "\n".join(f"===== {title} =====\n{text}" for title, text in parts.items())
