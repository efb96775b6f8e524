"""Logging: JSON lines on standard output, files on request; every text is redacted."""

from __future__ import annotations

import datetime as dt
import json
import logging
import pathlib
import sys

from selfheal import redaction

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
NOISY = ("kubernetes", "urllib3", "httpx2", "github", "openai", "mcp", "asyncio", "aiohttp")


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with the record's extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record."""
        entry: dict[str, object] = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": redaction.redact_text(record.getMessage()),
        }
        entry |= {k: _clean(v) for k, v in vars(record).items() if k not in STANDARD and _plain(v)}
        if record.exc_info:
            entry["exception"] = redaction.redact_text(self.formatException(record.exc_info))
        return json.dumps(entry, default=str)


def _plain(value: object) -> bool:
    return isinstance(value, str | int | float | bool) or value is None


def _clean(value: object) -> object:
    return redaction.redact_text(value) if isinstance(value, str) else value


def configure(level: str, directory: pathlib.Path | None, name: str = "self_healing_crew") -> None:
    """Set up logging once per process; with a directory also ``<name>.log``."""
    formatter = JsonFormatter()
    stream = logging.StreamHandler(sys.stderr if directory else sys.stdout)
    stream.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [stream]
    root.setLevel(level)
    for noisy in NOISY:
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    if directory is None:
        return
    directory.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(directory / f"{name}.log")
    handler.setFormatter(formatter)
    root.addHandler(handler)
