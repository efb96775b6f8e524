"""`python -m hack.model build`: make the model and its server; `serve [--port N]`: run it until interrupted."""

from __future__ import annotations

import argparse
import signal
import sys

from hack.model import build, server


def main() -> int:
    """Do what the command line says; 1 where it cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m hack.model", description=__doc__)
    parser.add_argument("command", choices=("build", "serve"))
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8091)
    words = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # an end from outside ends the server, too
    try:
        if words.command == "build":
            build.ensure()
            print(build.MODEL, build.SERVER, sep="\n")
            return 0
        with server.serving(host=words.host, port=words.port) as url:
            print(f"MODEL_URL={url} MODEL={build.MODEL_NAME}", flush=True)
            signal.pause()
    except build.ModelError as error:
        print(f"model: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
