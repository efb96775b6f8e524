"""What an edit of code may not bring in, whoever proposes it: the ways to turn something green.

Patterns are looked for before and after; what stood there before may stay. They are coarse on
purpose: what they refuse goes to a person, with the reason (incidents.md, rule 4).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_SENTENCES: Mapping[str, str] = {
    "HidesFailure": "it hides the failure instead of mending it",
    "WeakensSecurity": "it weakens authentication, encryption or permissions",
    "RunsPrograms": "it runs other programs, or text as code",
    "ReachesOut": "it reaches for the network",
    "TouchesSecret": "a credential never goes to Git",
    "DeletesData": "it deletes data",
}
_WORDS: Mapping[str, tuple[str, ...]] = {
    "HidesFailure": (
        r"except(?: (?:Base)?Exception)?(?: as \w+)?:\s*(?:#.*)?\n?\s*(?:pass|\.{3}|continue)\b",
        r"contextlib\.suppress\((?:Base)?Exception\)",
        r"catch\s*(?:\([^)]*\))?\s*\{\s*(?://[^\n]*\n\s*)?\}",
        r"\bos\._exit\(|\bsys\.exit\(0?\)|\bprocess\.exit\(0?\)|\bos\.Exit\(0\)|\bSystem\.exit\(0\)",
        r"\bwhile (?:True|1):\s*\n?\s*(?:pass|time\.sleep)|for\s*\(;;\)\s*\{?\s*\}?$",
        r"@(?:unittest|pytest)\.?(?:mark)?\.?skip",
        r"\bsignal\.signal\(",
    ),
    "WeakensSecurity": (
        r"verify\s*=\s*False|CERT_NONE|check_hostname\s*=\s*False|_create_unverified_context",
        r"InsecureSkipVerify|rejectUnauthorized|NODE_TLS_REJECT_UNAUTHORIZED|TrustAll",
        r"@PermitAll|permitAll\(\)|csrf_exempt|csrf\(\)\.disable|AllowAll|allow_origins=\[.\*",
        r"chmod|setuid|os\.umask|0o?777",
    ),
    "RunsPrograms": (
        r"\bsubprocess\b|os\.system|os\.popen|child_process|Runtime\.getRuntime|exec\.Command",
        r"\beval\(|\bexec\(|new Function\(|pickle\.loads|yaml\.load\(",
        r"__import__|importlib\.import_module",
    ),
    "ReachesOut": (
        r"https?://|\bsocket\.|urllib\.request|\brequests\.|\bhttpx\.|\bfetch\(",
        r"net\.Dial|new URL\(",
    ),
    "TouchesSecret": (
        r"(?i:password|passwd|secret|token|api_?key|private_?key)\s*[:=]\s*[\"'][^\"']+",
        r"-----BEGIN|AKIA[0-9A-Z]{16}",
    ),
    "DeletesData": (
        r"\bos\.(?:remove|unlink|rmdir)\b|shutil\.rmtree|fs\.(?:rm|unlink)|os\.Remove|Files\.delete",
        r"(?i:\b(?:drop|truncate) (?:table|database)\b|\bdelete from\b)",
    ),
}


def find(before: str, after: str) -> tuple[str, str] | None:
    """Return reason and sentence of what an edit brings in; None: nothing that is known."""
    for reason, patterns in _WORDS.items():
        for pattern in patterns:
            if len(re.findall(pattern, after, re.M)) > len(re.findall(pattern, before, re.M)):
                return reason, _SENTENCES[reason]
    return None
