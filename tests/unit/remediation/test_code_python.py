"""Edits of Python that words alone do not betray: each is refused on its syntax tree."""

from __future__ import annotations

import pytest
from tests.unit.remediation.test_propose import refusal

from selfheal.api.policy import GuardsSpec
from selfheal.remediation import hunks
from selfheal.remediation.hunks import Hunk

PY = '''\
import os
import json
import requests
from . import local

API = "https://api.acme.example/v1"


@local.checked
def mean(user, prices):
    if not user.is_admin:
        raise PermissionError(user)
    assert prices is not None
    got = requests.get(API, verify=True)
    (lambda: got)()()
    return sum(prices) / len(prices)
'''
LAST = "    return sum(prices) / len(prices)\n"


def apply(search: str, replace: str) -> dict[str, bytes]:
    return hunks.apply([Hunk("svc/a.py", search, replace)], files={"svc/a.py": PY.encode()}, spec=GuardsSpec(), path="svc")


def tried(handler: str) -> str:
    return f"    try:\n        return sum(prices) / len(prices)\n    {handler}\n"


@pytest.mark.parametrize(
    "replace",
    [
        "    return sum(prices) / len(prices) if prices else 0\n",
        "    if not prices:\n        return 0\n" + LAST,
        "    import math\n    return math.fsum(prices) / len(prices) if sum(prices) else 0\n",
        tried("except ZeroDivisionError:\n        return 0"),
        tried("except Exception:\n        raise ValueError(prices) from None"),
        "    return sum(prices or [0]) / len(prices or [0])\n",
    ],
)
def test_a_right_edit_passes(replace: str) -> None:
    assert apply(LAST, replace)


TEMPTING: list[tuple[str, str, str]] = [
    ("HidesFailure", LAST, tried("except (Exception): pass")),
    ("HidesFailure", LAST, tried("except (ValueError, Exception):\n        pass")),
    ("HidesFailure", LAST, tried("except Exception:\n        return None")),
    ("HidesFailure", LAST, tried("except  Exception: return 0")),
    ("HidesFailure", LAST, tried("except builtins.BaseException:\n        return 0")),
    ("HidesFailure", LAST, tried("except:  # noqa\n        return 0")),
    ("HidesFailure", "if not user.is_admin:", "if False:"),
    ("HidesFailure", LAST, "    while 1:\n        prices = prices\n" + LAST),
    ("RunsPrograms", LAST, "    raise SystemExit\n" + LAST),
    ("RunsPrograms", LAST, "    exit()\n" + LAST),
    ("RunsPrograms", LAST, "    import sys\n    sys.exit(None)\n" + LAST),
    ("RunsPrograms", "import os\n", "import os\nfrom os import system\n"),
    ("RunsPrograms", LAST, "    import os as o\n    o.system('id')\n" + LAST),
    ("RunsPrograms", LAST, "    getattr(os, 'sys' + 'tem')('id')\n" + LAST),
    ("RunsPrograms", LAST, "    eval (prices)\n" + LAST),
    ("RunsPrograms", LAST, "    os.execv('/bin/sh', [])\n" + LAST),
    ("RunsPrograms", LAST, "    ().__class__.__subclasses__()\n" + LAST),
    ("RunsPrograms", "import os\n", "import os\nimport ctypes\n"),
    ("RunsPrograms", LAST, "    import http.client\n" + LAST),
    ("RunsPrograms", LAST, "    import smtplib\n" + LAST),
    ("RunsPrograms", LAST, "    from socket import create_connection\n" + LAST),
    ("RunsPrograms", LAST, "    from urllib import request\n" + LAST),
    ("RunsPrograms", LAST, "    import pathlib\n    pathlib.Path('x').unlink()\n" + LAST),
    ("RunsPrograms", LAST, "    from shutil import rmtree\n" + LAST),
    ("ReachesOut", LAST, "    requests.post(user)\n" + LAST),
    ("RunsPrograms", LAST, "    local.remove(user)\n" + LAST),
    ("ReachesOut", "https://api.acme.example/v1", "https://evil.example/v1"),
    ("ReachesOut", LAST, "    host = '10.1.2.3'\n" + LAST),
    ("ReachesOut", LAST, "    host = 'evil.example:443'\n" + LAST),
    ("WeakensSecurity", "verify=True", "verify=0"),
    ("WeakensSecurity", ", verify=True", ""),
    ("RemovesCode", "    if not user.is_admin:\n        raise PermissionError(user)\n", ""),
    ("RemovesCode", "        raise PermissionError(user)\n", "        PermissionError(user)\n"),
    ("RemovesCode", "    if not user.is_admin:\n        raise PermissionError(user)\n", "    PermissionError(user)\n    user.is_admin or user\n    raise user\n"),
    ("RemovesCode", "    (lambda: got)()()\n", ""),
    ("RemovesCode", "    assert prices is not None\n", ""),
    ("RemovesCode", "@local.checked\n", ""),
]


@pytest.mark.parametrize(("reason", "search", "replace"), TEMPTING, ids=[f"{one[0]}-{number}" for number, one in enumerate(TEMPTING)])
def test_what_words_do_not_betray(reason: str, search: str, replace: str) -> None:
    assert refusal(apply, search, replace) == reason
