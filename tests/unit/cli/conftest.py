"""No command of these tests sees this machine's environment."""

from __future__ import annotations

import os
import pathlib

import pytest


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    for name in list(os.environ):
        if name.startswith(("SELFHEAL_", "OPENAI_", "ATLASSIAN_", "GITHUB_TOKEN")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
