"""A process of the operator as its ports see it: every call is counted, and any may be its last."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

WRITES = frozenset(
    {
        "save_status", "save_policy_status", "ensure_document", "emit_event", "claim_cause",
        "create_ticket", "transition_ticket", "save_mirror", "ensure_comment",
        "ensure_remote_link", "ensure_ticket_link", "assign_ticket", "ensure_branch",
        "delete_branch", "ensure_pull_request", "save_pull_request_mirror",
        "ensure_pull_request_comment", "push_revision", "save_pull_request_title", "ask_review",
        "merge_pull_request", "leave_merge_queue", "close_pull_request", "complete",
    }
)  # fmt: skip
"""Calls after which something is different: a crash right after a read is one before the next call."""


class Crash(BaseException):
    """The process is killed; nothing of the operator may catch it."""


@dataclasses.dataclass
class Process:
    """One life of the operator's process: it dies at its n-th port call, before or after it."""

    crash_at: int | None = None
    after: bool = False
    names: list[str] = dataclasses.field(default_factory=list)
    dead: bool = False
    fault: Exception | None = None
    """Raised instead of dying: the wire breaks once, and the process lives on."""
    dawdle: Callable[[], int] = lambda: 0
    """How many turns of the loop a call takes; for processes that run at the same time."""
    before_call: Callable[[str], None] = lambda name: None
    """Told of each call before it is made, so that people can act in the middle of a step."""

    def wrap(self, port: Any, name: str) -> Any:
        """Return the port as this process uses it."""
        return None if port is None else _Counted(port, name, self)

    def _begin(self, name: str) -> bool:
        if self.dead:
            raise Crash
        self.names.append(name)
        last = self.crash_at == len(self.names)
        if last and not self.after:
            self._break()
        self.before_call(name)
        return last

    async def call(
        self, name: str, method: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Any:
        """Call a port's method, and die if this was the last call."""
        for _ in range(self.dawdle()):
            await asyncio.sleep(0)  # lets another process have its turn
        last = self._begin(name)
        answer = await method(*args, **kwargs)
        if last:
            self._break()
        return answer

    def _break(self) -> None:
        if self.fault is not None:
            raise self.fault
        self.dead = True
        raise Crash


class _Counted:
    """A port in front of another one."""

    def __init__(self, port: Any, name: str, process: Process) -> None:
        self._port, self._name, self._process = port, name, process

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked by copy.deepcopy
            raise AttributeError(name)
        value = getattr(self._port, name)
        if not inspect.iscoroutinefunction(value):
            return value
        process, label = self._process, f"{self._name}.{name}"

        async def counted(*args: Any, **kwargs: Any) -> Any:
            return await process.call(label, value, *args, **kwargs)

        return counted
