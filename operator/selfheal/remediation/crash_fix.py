"""Crashes: back to what ran, or the one existing name that a slip of the pen meant; else a person.

A crash is never hidden: no probe, no restart policy and no exit code is touched.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from selfheal.diagnosis import names
from selfheal.diagnosis.evidence import ItemKind
from selfheal.remediation import revert_fix, start_fix, words, workloads
from selfheal.remediation.drafts import Draft
from selfheal.remediation.edits import Edit, PathStep, Proposal, Refusal

Path = tuple[PathStep, ...]

PROGRAMS = (
    "bash", "bundle", "bun", "busybox", "caddy", "catalina.sh", "celery", "cmd", "deno", "dotnet",
    "flask", "gunicorn", "httpd", "java", "memcached", "mongod", "mysqld", "nginx", "node", "npm",
    "npx", "perl", "php", "php-fpm", "postgres", "printf", "puma", "python", "python3", "rails",
    "redis-server", "ruby", "sleep", "tail", "uvicorn", "yarn",
)  # fmt: skip
"""Programs that commands of containers usually begin with."""

MODULES = (
    "asyncio", "celery", "flask", "gunicorn", "http.server", "json.tool", "pip", "pytest",
    "timeit", "unittest", "uvicorn", "venv", "waitress",
)  # fmt: skip
"""Python modules that ``python -m`` usually runs."""

_HINTS: Mapping[str, str] = {
    "PortTaken": "give one of the two another port",
    "MissingVariable": "set the variable {what}, from a ConfigMap or Secret where it is one",
    "MissingCommand": "correct command or args, or use an image that has {what}",
    "BadCommand": "correct command or args, or use an image that has {what}",
    "NotExecutable": "correct command or args, or make {what} executable in the image",
    "WorkingDirectory": "correct workingDir, or use an image that has {what}",
    "RunAsNonRoot": "use an image with a numeric user that is not root, or set runAsUser to one it "
    "supports; the security context is never weakened by a fix",
    "MissingFile": "bring the file {what} into the container: mount what holds it, or correct the "
    "path",
    "BadArgument": "correct the argument {what}",
    "UnknownHost": "correct the host name {what}, or create what it names",
    "Waits": "bring back what it waits for ({what}), or correct its name",
    "Unreachable": "bring {what} back, or correct its address",
    "FilePermission": "give the container's user the right to use {what} (fsGroup, image)",
    "BadConfiguration": "correct the configuration that the log line names",
    "Application": "correct the application: the log shows where it fails",
    "Signal": "look at a core dump or run it with a debugger: a signal ended it",
    "DeadlineExceeded": "find out how long the work takes, then raise activeDeadlineSeconds, or "
    "make it faster",
    "Completed": "give the container a command that runs on, or make it a Job",
}


def propose(draft: Draft) -> Iterator[Proposal]:
    """Yield the fixes, best first; Refusal ``NeedsPerson`` with the steps where none is safe."""
    fault = str(draft.finding.parameters.get("fault"))
    if fault == "SlowStart":
        yield from start_fix.propose(draft)
        return
    found = list(revert_fix.propose(draft))
    slip = _SLIPS.get(fault)
    if slip is not None and draft.finding.container is not None:
        found += slip(draft)
    if not found:
        raise Refusal("NeedsPerson", steps(draft))
    yield from found


def steps(draft: Draft) -> str:
    """Return what a person has to do, with the log that says it."""
    parameters = draft.finding.parameters
    what = parameters.get("what") or "what the log names"
    hint = _HINTS.get(str(parameters.get("fault")), "read the log and find out why it ends")
    target = draft.bundle.target
    option = f" -c {draft.finding.container} --previous" if draft.finding.container else ""
    logs = f"logs {target.kind.lower()}/{target.name}{option}"
    return (
        f"{draft.finding.cause.rstrip('.')}. No change of the manifest is known that mends it "
        f"safely. A person has to: 1. kubectl -n {draft.bundle.namespace} {logs}; "
        f"2. {hint.format(what=what)} ({draft.source.file})."
    )


def _command(draft: Draft) -> list[Proposal]:
    """Correct the program, the module or the file that the command names."""
    what = str(draft.finding.parameters.get("what") or "")
    known = [*_mounted(draft, posixpath.dirname(what))] if "/" in what else [*PROGRAMS, *MODULES]
    return _replace_word(draft, what, names.only_near(what, known), "is what there is")


def _file(draft: Draft) -> list[Proposal]:
    """Correct a file's name in the same folder, where that is mounted and its files are known."""
    what = str(draft.finding.parameters.get("what") or "")
    near = names.only_near(what, _mounted(draft, posixpath.dirname(what)))
    return _replace_word(draft, what, near, "is mounted there")


def _mounted(draft: Draft, folder: str) -> Iterator[str]:
    """Iterate over the files that ConfigMaps of the pod put into a folder."""
    keys = {item.value["name"]: item.value["keys"] for item in draft.bundle.of(ItemKind.CONFIG_MAP)}
    pod_spec = draft.look(workloads.pod_spec_path(str(draft.source.manifest.get("kind")))) or {}
    for mount in draft.look((*draft.container, "volumeMounts")) or ():
        for volume in pod_spec.get("volumes") or ():
            source = volume.get("configMap") or {}
            if volume.get("name") != mount.get("name") or mount.get("subPath") or not folder:
                continue
            if str(mount.get("mountPath", "")).rstrip("/") == folder.rstrip("/"):
                items = [str(item["path"]) for item in source.get("items") or ()]
                for name in items or keys.get(source.get("name"), ()):
                    yield f"{folder.rstrip('/')}/{name}"


def _host(draft: Draft) -> list[Proposal]:
    """Correct a host name to the one Service of the namespace that it must mean."""
    what = str(draft.finding.parameters.get("what") or "")
    label, dot, rest = what.partition(".")
    services = [
        str((item.value.get("metadata") or {}).get("name"))
        for item in draft.bundle.of(ItemKind.SERVICE)
    ]
    near = names.only_near(label, services)
    return _replace_word(draft, what, f"{near}{dot}{rest}" if near else None, "is a Service here")


def _replace_word(draft: Draft, old: str, new: str | None, proof: str) -> list[Proposal]:
    if not old or new is None:
        return []
    found = words.find_word(draft, draft.container, old)
    texts: dict[Path, str] = {}
    for place, _ in found:
        texts[place.path] = texts.get(place.path, place.text).replace(old, new)
    why = f"{old} does not exist; {new} {proof}."
    edits = [draft.set(path, text, why) for path, text in texts.items()]
    return (
        [_proposal(draft, edits, old, new, f"the only near name: {new} {proof}")] if edits else []
    )


def _variable(draft: Draft) -> list[Proposal]:
    """Rename the one variable that is a slip of the missing one, or take it from a ConfigMap."""
    what = str(draft.finding.parameters.get("what") or "")
    path = (*draft.container, "env")
    present: list[Mapping[str, Any]] = draft.look(path) or []
    near = names.only_near(what, [str(entry.get("name")) for entry in present]) if what else None
    for index, entry in enumerate(present):
        if near is not None and entry.get("name") == near:
            edit = draft.set((*path, index, "name"), what, f"The program reads {what}.")
            return [_proposal(draft, [edit], near, what, f"{what} is missing, {near} is near it")]
    holders = [
        item.value["name"]
        for item in draft.bundle.of(ItemKind.CONFIG_MAP)
        if what and what in item.value["keys"]
    ]
    if len(holders) != 1:
        return []
    source = {"configMapKeyRef": {"name": holders[0], "key": what}}
    entry = {"name": what, "valueFrom": source}
    edit = draft.set(path, [*present, entry], f"ConfigMap {holders[0]} has a key of this name.")
    return [
        _proposal(draft, [edit], "not set", what, f"the one ConfigMap that has it: {holders[0]}")
    ]


def _port(draft: Draft) -> list[Proposal]:
    """Move the container that dies to the next port that no container of the pod uses."""
    what = str(draft.finding.parameters.get("what") or "")
    root = workloads.pod_spec_path(str(draft.source.manifest.get("kind")))
    containers = (draft.look(root) or {}).get("containers") or ()
    mine = draft.look(draft.container)
    others = [entry for entry in containers if entry is not mine and entry != mine]
    owners = [entry for entry in others if _declares(entry, what)]
    found = words.find_word(draft, draft.container, what) if what.isdigit() else []
    if len(found) != 1 or not owners or _declares(mine, what) or _probes(mine, what):
        return []
    used = {str(port["containerPort"]) for entry in containers for port in entry.get("ports") or ()}
    free = next(
        str(port) for port in range(int(what) + 1, int(what) + 100) if str(port) not in used
    )
    place, match = found[0]
    edit = place.edit(draft, match, free, f"Port {what} belongs to {owners[0]['name']}.")
    proof = f"the next port that no container of the pod declares; {owners[0]['name']} keeps {what}"
    return [_proposal(draft, [edit], what, free, proof)]


def _declares(container: Mapping[str, Any], port: str) -> bool:
    return any(str(entry.get("containerPort")) == port for entry in container.get("ports") or ())


def _probes(container: Mapping[str, Any], port: str) -> bool:
    return any(
        str((action or {}).get("port")) == port
        for name, probe in container.items()
        if name.endswith("Probe") and isinstance(probe, Mapping)
        for action in probe.values()
        if isinstance(action, Mapping)
    )


def _proposal(draft: Draft, edits: list[Edit], old: str, new: str, proof: str) -> Proposal:
    return draft.propose(
        *edits,
        summary=f"Correct {old} to {new} in {draft.finding.container}",
        risk="Medium",
        risk_reason=f"A slip of the pen is corrected: {proof}.",
        arithmetic=f"{old} -> {new}: {proof}",
    )


_SLIPS: Mapping[str, Callable[[Draft], list[Proposal]]] = {
    "BadCommand": _command,
    "MissingCommand": _command,
    "MissingFile": _file,
    "UnknownHost": _host,
    "Waits": _host,
    "MissingVariable": _variable,
    "PortTaken": _port,
}
