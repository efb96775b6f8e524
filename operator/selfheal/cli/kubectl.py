"""kubectl as a person uses it, for trials."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
from typing import Any

from selfheal.cli.trial_manifests import TrialError


class Kubectl:
    """kubectl against the sandbox's cluster."""

    def __init__(self, kubeconfig: str) -> None:
        """Use the kubectl beside the kubeconfig, else the one in PATH."""
        beside = pathlib.Path(kubeconfig).parent / "kubectl"
        self.binary = str(beside) if beside.exists() else "kubectl"
        self.env = {**os.environ, "KUBECONFIG": kubeconfig}

    def run(self, *words: str, stdin: str | None = None, check: bool = True) -> str:
        """Run a command; TrialError with kubectl's own words."""
        done = subprocess.run(  # noqa: S603 - our own binary and arguments
            [self.binary, *words], input=stdin, capture_output=True, text=True, env=self.env,
            check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise TrialError(f"kubectl {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def get(self, namespace: str, *words: str) -> Any:
        """Return an object as JSON; None where it is not there."""
        text = self.run("-n", namespace, "get", *words, "-o", "json", check=False)
        return json.loads(text) if text else None
