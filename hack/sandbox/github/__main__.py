"""`python -m hack.sandbox.github --host H --port N --state DIR`: prints a ready line, ends on SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import pathlib
import signal
import sys
import tempfile

from aiohttp import web

from hack.sandbox.github import emulate, install, openapi, server, state


async def serve(host: str, port: int, folder: pathlib.Path, checker: openapi.Checker | None) -> None:
    public = f"http://{host}:{port or emulate.free_port()}"
    upstream = emulate.Emulate(public, folder)
    await upstream.start()
    runner = web.AppRunner(server.Proxy(upstream, state.State(), checker).app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, int(public.rsplit(":", 1)[1])).start()
    print(f"sandbox github ready on {public}", flush=True)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
    await runner.cleanup()
    await upstream.stop()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--state", type=pathlib.Path, default=None)
    parser.add_argument("--validate", action="store_true", help="check requests against GitHub's OpenAPI")
    words = parser.parse_args()
    try:
        install.modules()
        checker = openapi.Checker(install.openapi()) if words.validate else None
    except install.InstallError as error:
        print(f"sandbox github: {error}", file=sys.stderr)
        return 1
    folder = words.state or pathlib.Path(tempfile.mkdtemp(prefix="sandbox-github-"))
    asyncio.run(serve(words.host, words.port, folder, checker))
    return 0


if __name__ == "__main__":
    sys.exit(main())
