"""`python -m hack.sandbox up|down|status`: the sandbox Jira, GitHub and delivery beside the local cluster.

They listen on the node's address, which pods can reach. State, logs and process ids stand under .cluster/.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.error
import urllib.request

from hack.cluster import binaries
from hack.sandbox import processes

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
STATE = ROOT / ".cluster" / "sandbox"
RECORD = ROOT / ".cluster" / "sandbox.json"
HOST = os.environ.get("SELFHEAL_SANDBOX_HOST", "172.30.0.1")
JIRA_PORT, GITHUB_PORT = 8180, 4010
REPOSITORY = "acme/gitops"
OPERATOR_TOKEN = "sandbox-operator-token"
REVIEWER_TOKEN = "sandbox-alice-token"
DELIVERY_TOKEN = "sandbox-operator-token"


def describe() -> dict[str, str]:
    """Where everything is, for tests, demo and `selfheal try`."""
    return {
        "jira": f"http://{HOST}:{JIRA_PORT}",
        "jiraCloudId": "sandbox-cloud",
        "jiraToken": "sandbox-jira-token",
        "jiraProject": "OPS",
        "github": f"http://{HOST}:{GITHUB_PORT}",
        "githubToken": OPERATOR_TOKEN,
        "reviewerToken": REVIEWER_TOKEN,
        "repository": REPOSITORY,
        "branch": "main",
        "path": "apps",
        "kubeconfig": str(ROOT / ".cluster" / "kubeconfig"),
    }


def commands() -> dict[str, list[str]]:
    kubeconfig = str(ROOT / ".cluster" / "kubeconfig")
    return {
        "jira": [
            "hack.sandbox.jira", "--host", HOST, "--port", str(JIRA_PORT), "--state", str(STATE / "jira.json"),
        ],
        "github": [
            "hack.sandbox.github", "--host", HOST, "--port", str(GITHUB_PORT), "--state", str(STATE / "github"),
        ],
        "delivery": [
            "hack.sandbox.delivery", "--github", f"http://{HOST}:{GITHUB_PORT}", "--token", DELIVERY_TOKEN,
            "--repository", REPOSITORY, "--branch", "main", "--path", "apps", "--kubeconfig", kubeconfig,
            "--state", str(STATE / "delivery"), "--poll", "1",
        ],
    }  # fmt: skip


def ready(url: str) -> bool:
    """Whether a server answers at all; any HTTP status will do."""
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def up() -> int:
    """Start what does not run, and wait until it answers. May be repeated."""
    for module in binaries.RENDERERS:
        binaries.build(module)  # delivery renders with them
    STATE.mkdir(parents=True, exist_ok=True)
    (STATE / "delivery").mkdir(exist_ok=True)
    env = {**os.environ, "KUBECTL": str(ROOT / ".cluster" / "kubectl")}
    probes = {"jira": f"http://{HOST}:{JIRA_PORT}/", "github": f"http://{HOST}:{GITHUB_PORT}/"}
    for name, words in commands().items():
        started = time.monotonic()
        processes.ensure(name, [sys.executable, "-m", *words], folder=STATE, cwd=ROOT, env=env)
        while name in probes and not ready(probes[name]):
            if not processes.alive(name, STATE):
                print(processes.tail(name, STATE), file=sys.stderr)
                print(f"sandbox: {name} ended; its log is {processes.log_of(name, STATE)}", file=sys.stderr)
                return 1
            if time.monotonic() - started > 60:
                print(f"sandbox: {name} does not answer at {probes[name]} after 60 s", file=sys.stderr)
                return 1
            time.sleep(0.2)
        print(f"sandbox: {name} is up ({time.monotonic() - started:.1f} s)", flush=True)
    RECORD.write_text(json.dumps(describe(), indent=2))
    return 0


def down() -> int:
    """Stop everything and forget its state."""
    for name in reversed(list(commands())):
        processes.stop(name, STATE)
    for path in (RECORD, STATE / "jira.json"):
        path.unlink(missing_ok=True)
    subprocess.run(["rm", "-rf", str(STATE / "github"), str(STATE / "delivery")], check=True)
    print("sandbox: down")
    return 0


def status() -> int:
    """Say what runs; exit code 3 when something does not."""
    states = {name: processes.alive(name, STATE) for name in commands()}
    for name, running in states.items():
        print(f"{name}: {'running' if running else 'not running'}")
    return 0 if all(states.values()) else 3


if __name__ == "__main__":
    sys.exit({"up": up, "down": down, "status": status}[sys.argv[1] if sys.argv[1:] else "status"]())
