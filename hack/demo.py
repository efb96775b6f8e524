"""`make demo`: installs the operator, breaks a workload by a memory limit that is too small, follows it to its end."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hack import world  # noqa: E402


def main() -> int:
    model = os.environ.get("OPENAI_MODEL")
    print(f"model: {model}" if model else "model: none is set (OPENAI_MODEL), rules only", flush=True)
    try:
        world.install(namespaces=["production"])
    except world.WorldError as error:
        print(f"demo: {error}\n{world.report(world.SYSTEM)}", file=sys.stderr)
        return 1
    code = subprocess.run(
        [str(ROOT / ".venv" / "bin" / "selfheal"), "try", str(ROOT / "examples" / "oom"), "--approve"],
        cwd=ROOT,
        check=False,
    ).returncode
    if code:
        print(world.report("try-oom"), file=sys.stderr)
        return code
    ticket = world.kubectl("-n", "try-oom", "get", "shi", "-o", "jsonpath={.items[0].status.ticket.url}")
    print(
        "\nThe cluster stays up. Look around:\n"
        "  export KUBECONFIG=$PWD/.cluster/kubeconfig PATH=$PWD/.cluster:$PATH\n"
        "  kubectl get shi -A -o wide\n"
        "  kubectl -n try-oom describe shi\n"
        f"  the ticket: {ticket}\n"
        "Your own case:  .venv/bin/selfheal try FOLDER --approve\n"
        "Remove it all:  make sandbox-down cluster-down"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
