"""QuotaExceeded: requests and limits that fit what the quota and the limit range allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from selfheal.diagnosis.scheduling import amount
from selfheal.remediation import workloads
from selfheal.remediation.cpu_fix import render_cores
from selfheal.remediation.drafts import Draft
from selfheal.remediation.edits import PathStep, Proposal, Refusal
from selfheal.remediation.memory_fix import render_quantity
from selfheal.remediation.scheduling_fix import lower_requests, observed_requests, past_amounts


def propose(draft: Draft) -> Iterator[Proposal]:
    """Yield the change of the workload; the quota and the range themselves are never changed."""
    fault = draft.finding.parameters["fault"]
    if fault == "Exceeded":
        yield from _shrink(draft)
    elif fault == "Unstated":
        yield from _state(draft)
    elif fault in ("AboveMaximum", "BelowMinimum"):
        yield from _bound(draft)
    else:
        raise Refusal("NeedsPerson", f"{draft.finding.cause} A person has to bring both in line.")


def _containers(draft: Draft) -> Iterator[tuple[tuple[PathStep, ...], Mapping[str, Any]]]:
    base = workloads.pod_spec_path(str(draft.source.manifest.get("kind")))
    for number, entry in enumerate(draft.look((*base, "containers")) or ()):
        yield (*base, "containers", number), entry


def _shrink(draft: Draft) -> Iterator[Proposal]:
    """Yield a request back to what ran, or to what is plausible where it alone is too large.

    A quota that is just used up is for a person.
    """
    parameters = draft.finding.parameters
    found = False
    for name, wanted in parameters["requested"].items():
        group, _, resource = str(name).rpartition(".")
        used, hard = amount(parameters["used"].get(name)), amount(parameters["hard"].get(name))
        if used + amount(wanted) <= hard or resource not in ("cpu", "memory"):
            continue
        for path, entry in _containers(draft):
            container, group = str(entry.get("name")), group or "requests"
            place = (*path, "resources", group, resource)
            old = draft.look(place)
            room = hard - used - (amount(wanted) - amount(old))
            for new, why, risk in _smaller(draft, container, group, resource, old, wanted, hard):
                if 0 < amount(new) <= min(room, amount(old)) and amount(new) != amount(old):
                    found = True
                    yield draft.propose(
                        draft.set(place, new, why),
                        summary=f"Lower {group}.{resource} of {container} from {old} to {new}, "
                        f"which quota {parameters['quota']} has room for",
                        risk=risk, risk_reason=why,
                        arithmetic=f"{parameters['used'].get(name)} used + {new} <= "
                        f"{parameters['hard'].get(name)} (quota {parameters['quota']})",
                    )  # fmt: skip
    if not found:
        raise Refusal("QuotaUsedUp", _used_up(draft))


def _smaller(
    draft: Draft, container: str, group: str, resource: str, old: Any, wanted: str, hard: float
) -> Iterator[tuple[str, str, str]]:
    if group == "requests" and old is not None and amount(wanted) > hard:
        yield from lower_requests(draft, container, resource, str(old))
        return
    for past, why in past_amounts(draft, container, group, resource):
        yield past, why, "Low"


def _used_up(draft: Draft) -> str:
    parameters, space = draft.finding.parameters, draft.bundle.namespace
    return (
        f"{draft.finding.cause} Nothing shows that the workload needs less. A person has to raise "
        f"the quota (kubectl -n {space} describe resourcequota {parameters['quota']}), lower the "
        "request, or take pods of other workloads away."
    )


def _state(draft: Draft) -> Iterator[Proposal]:
    """Yield the requests and limits that the quota demands to be stated."""
    edits, sums = [], []
    for missing in draft.finding.parameters["missing"]:
        group, _, resource = str(missing["resource"]).rpartition(".")
        group = group or "requests"
        if resource not in ("cpu", "memory") or group not in ("requests", "limits"):
            raise Refusal("NeedsPerson", f"{draft.finding.cause} A person has to state it.")
        for path, entry in _containers(draft):
            name = str(entry.get("name"))
            place = (*path, "resources", group, resource)
            if missing["container"] not in ("", name) or draft.look(place) is not None:
                continue
            value, why = _stated(draft, name, group, resource)
            edits.append((place, value, why))
            sums.append(f"{group}.{resource} of {name}: {value} ({why})")
    if not edits:
        raise Refusal("Drifted", "The source states what the quota demands; it is not delivered.")
    current, made = draft, []
    for place, value, why in edits:
        edit = current.set(place, value, why)
        made.append(edit)
        current = current.after(edit)
    yield draft.propose(
        *made, summary=f"State what quota {draft.finding.parameters['quota']} demands",
        risk="Medium", risk_reason="Nothing was stated before; the numbers are in the arithmetic.",
        arithmetic="; ".join(sums),
    )  # fmt: skip


def _stated(draft: Draft, container: str, group: str, resource: str) -> tuple[str, str]:
    path = workloads.container_path(draft.source.manifest, container)
    other = "limits" if group == "requests" else "requests"
    written = draft.look((*path, "resources", other, resource))
    if written is not None and group == "requests":
        return str(written), "Its limit, which is what the API server would take too."
    value, why = observed_requests(draft, draft, container, resource)
    if group == "requests":
        return value, why
    least = max(amount(value), amount(written))
    doubled = (
        render_cores(least * 2) if resource == "cpu" else render_quantity(least * 2, like="Mi")
    )
    return doubled, f"Twice {value}. {why}"


def _bound(draft: Draft) -> Iterator[Proposal]:
    """Yield the value at the bound of the limit range."""
    parameters = draft.finding.parameters
    group, resource = str(parameters["group"]), str(parameters["resource"])
    bound, value = str(parameters["bound"]), str(parameters["value"])
    if parameters["per"] != "Container" or resource not in ("cpu", "memory"):
        raise Refusal("NeedsPerson", f"{draft.finding.cause} A person has to bring both in line.")
    above = parameters["fault"] == "AboveMaximum"
    for path, entry in _containers(draft):
        place = (*path, "resources", group, resource)
        old = draft.look(place)
        if old is None or amount(old) != amount(value):
            continue
        why = f"The limit range allows {'at most' if above else 'at least'} {bound}."
        edits = [draft.set(place, bound, why)]
        request = (*path, "resources", "requests", resource)
        asked = draft.look(request)
        if above and group == "limits" and asked is not None and amount(asked) > amount(bound):
            edits.append(draft.set(request, bound, f"{why} A request is at most its limit."))
        yield draft.propose(
            *edits,
            summary=f"Set {group}.{resource} of {entry.get('name')} to {bound}, as the limit range "
            f"{'allows' if above else 'demands'}",
            risk="Medium" if above else "Low",
            risk_reason="If it needs more than the namespace allows, the range has to be raised by "
            "a person." if above else why,
            arithmetic=f"{old} -> {bound} (bound of the limit range)",
        )  # fmt: skip
        return
    raise Refusal("Drifted", f"No container of the source has {group}.{resource} {value}.")
