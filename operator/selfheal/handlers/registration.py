"""All handlers of the operator: a table of contents."""

from __future__ import annotations

import kopf

from selfheal import api
from selfheal.api import incident, policy
from selfheal.handlers import incidents, lifecycle, policies


def register(registry: kopf.OperatorRegistry | None = None) -> None:
    """Register every handler; with None in kopf's default registry."""
    kopf.on.startup(registry=registry)(lifecycle.configure)
    kopf.on.startup(registry=registry)(lifecycle.start)
    kopf.on.login(registry=registry)(lifecycle.login)
    kopf.on.cleanup(registry=registry)(lifecycle.stop)
    kopf.on.probe(id="steps", registry=registry, retries=1)(lifecycle.probe)
    kopf.on.event(api.GROUP, api.VERSION, incident.PLURAL, registry=registry)(incidents.observe)
    kopf.on.event(api.GROUP, api.VERSION, policy.PLURAL, registry=registry)(policies.observe)
