"""Causes that only a person may mend: the exact steps instead of an edit."""

from __future__ import annotations

from collections.abc import Iterator

from selfheal.remediation.drafts import Draft
from selfheal.remediation.edits import Proposal, Refusal


def network(draft: Draft) -> Iterator[Proposal]:
    """Refuse: a network policy is never weakened by a fix; say what a person has to look at."""
    parameters = draft.finding.parameters
    policies, space = ", ".join(parameters["policies"]), draft.bundle.namespace
    if parameters["fault"] == "DNS":
        steps = (
            "add an egress rule to UDP and TCP port 53 of the cluster's DNS (namespaceSelector "
            "kubernetes.io/metadata.name: kube-system)"
        )
    elif parameters["fault"] == "Port":
        steps = f"add an egress rule to port {parameters['port']} of {parameters['host']}"
    elif parameters["fault"] == "Peer":
        steps = (
            f"let the pods of the target in, in the ingress rules that guard {parameters['peer']}"
        )
    else:
        steps = f"correct the podSelector so that it means {parameters['peer']}"
    raise Refusal(
        "NeedsPerson",
        f"{draft.finding.cause} A fix never changes a network policy. A person has to: 1. kubectl "
        f"-n {space} describe networkpolicy {policies}; 2. {steps}, if that is wanted; 3. deliver.",
    )


def webhook(draft: Draft) -> Iterator[Proposal]:
    """Refuse: admission belongs to the cluster; say who has to do what."""
    parameters = draft.finding.parameters
    name, where = parameters["name"], parameters.get("configuration") or "its configuration"
    if parameters["fault"] == "Denied":
        steps = f"change what the workload asks for so that {name} allows it: {parameters['said']}"
    else:
        service = parameters.get("service") or "what it calls"
        steps = f"bring {service} back, or let its owner take {where} away"
    raise Refusal("NeedsPerson", f"{draft.finding.cause} A person has to {steps}.")
