"""The installed world: the local cluster, the operator from the project's image, the sandbox."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from hack import world


@pytest.fixture(scope="session")
def installed() -> None:
    """Install the operator once; a failure prints what a person needs to understand it."""
    try:
        world.install(namespaces=["production"], say=lambda text: None)
    except world.WorldError as error:
        pytest.fail(f"{error}\n{world.report(world.SYSTEM)}", pytrace=False)


@pytest.fixture
def namespace() -> str:
    """A namespace of the test's own."""
    return f"try-{uuid.uuid4().hex[:8]}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show the world of a failed end-to-end test: incidents, events, logs, sandbox."""
    outcome = yield
    report = outcome.get_result()
    space = getattr(item, "funcargs", {}).get("namespace")
    if report.when == "call" and report.failed and space and item.get_closest_marker("e2e"):
        report.sections.append(("the world", world.report(space)))
