"""CLUSTER=current: the cluster of the user's own kubeconfig; it is verified, never changed."""

from __future__ import annotations

import shutil
from pathlib import Path

from hack.cluster import binaries, config, ui


def kubectl() -> Path:
    """A kubectl: the user's own, else one built here."""
    found = shutil.which("kubectl")
    if found:
        return Path(found)
    binaries.build(only=("kubectl",))
    return binaries.path("kubectl")


def up() -> None:
    """Check that the current cluster answers and copy its kubeconfig's current context to `.cluster/`."""
    if config.MODE_FILE.exists() and config.MODE_FILE.read_text().strip() != "current":
        raise ui.ClusterError(
            "this clone has a cluster of its own: take it down first (CLUSTER= make cluster-down)"
        )
    text = ui.run([kubectl(), "config", "view", "--minify", "--flatten", "--raw"])
    config.STATE.mkdir(parents=True, exist_ok=True)
    config.KUBECONFIG.touch(mode=0o600)
    config.KUBECONFIG.write_text(text)
    if not status():
        raise ui.ClusterError(
            "the current KUBECONFIG's cluster does not answer: see the lines above"
        )
    config.MODE_FILE.write_text("current\n")


def down() -> None:
    """Forget the copy of the kubeconfig; the cluster itself is the user's and stays as it is."""
    if config.MODE_FILE.exists() and config.MODE_FILE.read_text().strip() == "current":
        config.KUBECONFIG.unlink(missing_ok=True)
        config.MODE_FILE.unlink()
    ui.say("CLUSTER=current: your cluster was left as it is")


def status() -> bool:
    """Print the server's version and its nodes; whether it answers."""
    if not config.KUBECONFIG.exists():
        ui.say("down: no kubeconfig here yet; `up` copies the current one")
        return False
    env = {"KUBECONFIG": str(config.KUBECONFIG)}
    said = ui.run([kubectl(), "version", "--request-timeout=10s"], env=env, check=False)
    if "Server Version" not in said:
        ui.say("the current cluster does not answer within 10 s")
        return False
    nodes = ui.run([kubectl(), "get", "nodes", "--request-timeout=10s"], env=env, check=False)
    for line in (said + nodes).splitlines():
        ui.say(f"  {line}")
    ui.say(f"up; kubeconfig: {config.KUBECONFIG}")
    return True
