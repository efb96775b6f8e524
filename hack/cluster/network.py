"""The node's address, kernel settings and firewall rules: made by `up`, all gone after `down`."""

from __future__ import annotations

import shutil
from pathlib import Path

from hack.cluster import config, ui

_SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.bridge.bridge-nf-call-iptables": "1",
}
_TOUCHED_BY_KUBERNETES = (
    "net.ipv4.conf.all.route_localnet",
    "vm.overcommit_memory",
    "kernel.panic",
    "kernel.panic_on_oops",
)
_CHAIN_PREFIXES = ("KUBE-", "CNI-")
_COMMENT = f'name: "{config.CNI_NETWORK}"'


def _sysctl(name: str) -> Path:
    return Path("/proc/sys") / name.replace(".", "/")


def snapshot() -> dict[str, str]:
    """Kernel settings that the cluster is going to change, as they are now; some may not exist here."""
    names = (*_SYSCTLS, *_TOUCHED_BY_KUBERNETES)
    return {name: _sysctl(name).read_text().strip() for name in names if _sysctl(name).exists()}


def restore(settings: dict[str, str]) -> None:
    """Put kernel settings back as `snapshot` saw them."""
    for name, value in settings.items():
        if _sysctl(name).exists() and _sysctl(name).read_text().strip() != value:
            _sysctl(name).write_text(value)


def create() -> None:
    """Put the node's address on an empty bridge of its own (a dummy device is not there everywhere)."""
    for name, value in _SYSCTLS.items():
        if _sysctl(name).exists():
            _sysctl(name).write_text(value)
    if not link_exists(config.NODE_BRIDGE):
        ui.run(["ip", "link", "add", config.NODE_BRIDGE, "type", "bridge"])
    ui.run(["ip", "addr", "replace", f"{config.NODE_IP}/32", "dev", config.NODE_BRIDGE])
    ui.run(["ip", "link", "set", config.NODE_BRIDGE, "up"])


def link_exists(name: str) -> bool:
    """Whether a network device of that name exists."""
    return Path("/sys/class/net", name).exists()


def leftovers() -> list[str]:
    """Devices and rule chains of a cluster that are still there, named."""
    found = [
        f"bridge {name}" for name in (config.NODE_BRIDGE, config.POD_BRIDGE) if link_exists(name)
    ]
    for program in _programs():
        chains = [c for _, names in _ours(program).items() for c in names]
        found += [f"{program} chain {name}" for name in chains]
    return found


def remove() -> None:
    """Delete the bridges (and with them their veths and routes) and every rule and chain of the cluster."""
    for name in (config.POD_BRIDGE, config.NODE_BRIDGE):
        members = Path("/sys/class/net", name, "brif")
        for member in [entry.name for entry in members.iterdir()] if members.is_dir() else []:
            ui.run(["ip", "link", "del", member], check=False)
        if link_exists(name):
            ui.run(["ip", "link", "del", name])
    for program in _programs():
        _flush(program)


def _programs() -> list[str]:
    return [program for program in ("iptables", "ip6tables") if shutil.which(f"{program}-save")]


def _is_ours(chain: str) -> bool:
    return chain.startswith(_CHAIN_PREFIXES)


def _ours(program: str) -> dict[str, list[str]]:
    """Table -> our chains in it."""
    found: dict[str, list[str]] = {}
    table = ""
    for line in ui.run([f"{program}-save"], check=False).splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":") and _is_ours(line[1:].split()[0]):
            found.setdefault(table, []).append(line[1:].split()[0])
    return found


def _flush(program: str) -> None:
    """Delete, in one restore a table, rules of built-in chains that are ours, then our chains."""
    commands: dict[str, list[str]] = {}
    table = ""
    for line in ui.run([f"{program}-save"], check=False).splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith("-A ") and not _is_ours(line.split()[1]):
            target = line.partition(" -j ")[2].split(" ")[0] if " -j " in line else ""
            if _is_ours(target) or _COMMENT in line.replace("\\", ""):
                commands.setdefault(table, []).append("-D" + line[2:])
    for table, chains in _ours(program).items():
        lines = commands.setdefault(table, [])
        lines += [f"-F {chain}" for chain in chains]
        lines += [f"-X {chain}" for chain in chains]
    if commands:
        text = "".join(
            f"*{table}\n" + "\n".join(lines) + "\nCOMMIT\n" for table, lines in commands.items()
        )
        ui.run([f"{program}-restore", "--noflush"], stdin=text)
