"""Logging: JSON lines on standard output, files on request. Secrets never get here."""

from __future__ import annotations

import datetime as dt
import json
import logging
import pathlib
import sys

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
NOISY = ("kubernetes", "urllib3", "httpx2", "github", "openai", "mcp", "asyncio", "aiohttp")


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with the record's extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record."""
        entry = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {k: v for k, v in vars(record).items() if k not in STANDARD and _plain(v)}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def _plain(value: object) -> bool:
    return isinstance(value, str | int | float | bool) or value is None


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
