"""Translates what the API server and the transport answer into the errors of the ports."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any

from selfheal.domain import errors

SYSTEM = "kubernetes"
_LONGEST_RETRY_AFTER = 3600.0
_LONGEST_MESSAGE = 512
# A write that was answered so may have been stored all the same (etcd time-out, lost answer).
_UNKNOWN = (500, 502, 504)


def translate_status(
    status: int, body: str, *, method: str, what: str, retry_after: str = ""
) -> errors.SelfHealError:
    """Return the error for an HTTP status of 400 and above.

    Source: https://kubernetes.io/docs/reference/using-api/api-concepts/ and the ``Status`` kind.
    """
    answer = _parse_status(body)
    text = str(answer.get("message") or f"status {status}")[:_LONGEST_MESSAGE]
    if status == 401:
        return errors.Unauthorized(
            "the API server does not accept our credentials; renew the kubeconfig or the "
            "ServiceAccount's token",
            system=SYSTEM,
        )
    if status == 403:
        return errors.Forbidden(f"the API server refuses {what}: {text}", system=SYSTEM)
    if status == 404:
        return _translate_missing(answer, what, text)
    if status == 409:
        return errors.Conflict(f"{what}: {text}")
    if status == 429:
        return errors.RateLimited(
            f"the API server asks us to slow down: {what}",
            system=SYSTEM,
            retry_after=parse_retry_after(retry_after),
        )
    if status in _UNKNOWN and method != "GET":
        return errors.UnknownOutcome(f"{what}: {text}", system=SYSTEM)
    if status >= 500 or status in (408, 410):  # 410: a continue token has expired
        return errors.Transient(
            f"{what}: {text}", system=SYSTEM, retry_after=parse_retry_after(retry_after)
        )
    return errors.Stalled(
        f"the API server refuses {what}: {text}", reason="RequestRefused", system=SYSTEM
    )


def _translate_missing(
    answer: Mapping[str, Any], what: str, text: str
) -> errors.NotFound | errors.Stalled:
    # The answer about a missing object names it; that about an unknown kind is bare text.
    details = answer.get("details")
    if not (isinstance(details, dict) and details.get("name")):
        return errors.Stalled(
            f"the API server does not know the kind of {what}; for kinds of selfheal.dev apply "
            "crds/ first",
            reason="KindUnknown",
            system=SYSTEM,
        )
    return errors.NotFound(f"{what}: {text}")


def translate_transport(error: Exception, *, method: str, what: str) -> errors.SelfHealError:
    """Return the error for a request that got no answer.

    Cut off while a write was under way: the outcome is unknown. Never connected: unreachable.
    """
    if _never_sent(error):
        return errors.Unreachable(
            f"the API server cannot be reached for {what} ({type(error).__name__}); check the "
            "kubeconfig, the network and whether the cluster runs",
            system=SYSTEM,
        )
    text = f"{what}: no answer ({type(error).__name__})"
    if method == "GET":
        return errors.Transient(text, system=SYSTEM)
    return errors.UnknownOutcome(text, system=SYSTEM)


def _never_sent(error: Exception) -> bool:
    names = {kind.__name__ for kind in type(error).__mro__}
    # aiohttp's names, so that this module needs no transport: connection refused, DNS, TLS.
    return bool(names & {"ClientConnectorError", "ConnectionRefusedError", "InvalidURL"})


def parse_retry_after(text: str) -> dt.timedelta | None:
    """Return seconds of a Retry-After header, at most an hour; the API server sends no dates."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return dt.timedelta(seconds=max(0.0, min(seconds, _LONGEST_RETRY_AFTER)))


def _parse_status(body: str) -> Mapping[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
