"""`python -m hack.sandbox.jira`: serve the sandbox Jira until interrupted."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
from pathlib import Path

import yaml
from aiohttp import web

from hack.sandbox.jira import app as application
from hack.sandbox.jira import control
from hack.sandbox.jira.web import STORE


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m hack.sandbox.jira", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 (default): a free one")
    parser.add_argument("--state", type=Path, help="keep the tickets in this JSON file")
    parser.add_argument("--config", type=Path, help="YAML as POST /_sandbox/config takes it")
    return parser.parse_args()


async def serve(args: argparse.Namespace) -> None:
    app = application.make_app(args.state)
    if args.state and args.state.exists():
        app[STORE].load(json.loads(args.state.read_text()))
    if args.config:
        control.configure(app[STORE], yaml.safe_load(args.config.read_text()) or {})
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, args.host, args.port)
    await site.start()
    host, port = runner.addresses[0][:2]
    print(f"sandbox jira ready on http://{host}:{port}", flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await runner.cleanup()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(arguments()))
