"""Command line of the local cluster: `python3 -m hack.cluster up|down|status|build|images|operator-image`."""

from __future__ import annotations

import argparse
import os
import sys

from hack.cluster import (
    binaries,
    config,
    current,
    images,
    kind_cluster,
    local,
    operator_image,
    packages,
    processes,
    ui,
)


def mode() -> str:
    """`current`, `kind` or `local`: as CLUSTER says, else as the last `up` here chose, else by what is there."""
    asked = os.environ.get("CLUSTER", "")
    if asked not in ("", "current", "kind", "local"):
        raise ui.ClusterError(f"CLUSTER={asked!r} is not one of current, kind, local")
    if asked:
        return asked
    if config.MODE_FILE.exists():
        return config.MODE_FILE.read_text().strip()
    owner = processes.read_owner()
    if owner is not None and owner.clone == str(config.ROOT):
        return "local"
    return "kind" if kind_cluster.docker_answers() else "local"


def _up(_: argparse.Namespace) -> int:
    {"current": current.up, "kind": kind_cluster.up, "local": local.up}[mode()]()
    return 0


def _down(arguments: argparse.Namespace) -> int:
    if arguments.any:
        local.down(any_clone=True)
        return 0
    {"current": current.down, "kind": kind_cluster.down, "local": local.down}[mode()]()
    return 0


def _status(_: argparse.Namespace) -> int:
    return (
        0
        if {"current": current.status, "kind": kind_cluster.status, "local": local.status}[mode()]()
        else 3
    )


def _build(arguments: argparse.Namespace) -> int:
    packages.ensure()
    if arguments.flux:
        binaries.build(binaries.FLUX)
        return 0
    for module in binaries.RENDERERS:  # first: contract tests want them, and they are quick
        binaries.build(module)
    if not arguments.renderers:
        binaries.build()
    return 0


def _images(arguments: argparse.Namespace) -> int:
    packages.ensure()
    groups = [name for name in images.GROUPS if getattr(arguments, name)]
    for group in groups or ["core", "build"]:
        images.ensure(group)
    return 0


def _operator_image(arguments: argparse.Namespace) -> int:
    chosen = mode()
    if chosen == "current":
        raise ui.ClusterError(
            "CLUSTER=current: build the image with your own tools and push it to your registry"
        )
    if chosen == "kind":
        kind_cluster.operator_image()
    else:
        packages.ensure()
        operator_image.ensure(arguments.file, arguments.context, arguments.tag)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m hack.cluster", description="The project's local cluster."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="build what is missing and start").set_defaults(run=_up)
    down = commands.add_parser("down", help="stop and leave nothing behind")
    down.add_argument(
        "--any", action="store_true", help="also a cluster that another clone started"
    )
    down.set_defaults(run=_down)
    commands.add_parser("status", help="what runs; exit code 0 up, 3 down").set_defaults(
        run=_status
    )
    build = commands.add_parser("build", help="build the binaries only")
    build.add_argument("--renderers", action="store_true", help="only kustomize and helm")
    build.add_argument("--flux", action="store_true", help="only Flux's kustomize-controller")
    build.set_defaults(run=_build)
    pictures = commands.add_parser(
        "images", help="make test images and bases, push them to the local registry"
    )
    for group in images.GROUPS:
        pictures.add_argument(
            f"--{group}", action="store_true", help=", ".join(images.GROUPS[group])
        )
    pictures.set_defaults(run=_images)
    own = commands.add_parser("operator-image", help="build the project's Dockerfile and push it")
    own.add_argument("--file", default=str(config.ROOT / "Dockerfile"), help="another Dockerfile")
    own.add_argument("--context", default=str(config.ROOT), help="its context folder")
    own.add_argument("--tag", default=config.OPERATOR_IMAGE, help="the image's name")
    own.set_defaults(run=_operator_image)
    return parser


def main() -> int:
    """Run one command; errors are one clear line and exit code 1."""
    arguments = _parser().parse_args()
    try:
        code: int = arguments.run(arguments)
        return code
    except ui.ClusterError as error:
        ui.complain(str(error))
        return 1
    except KeyboardInterrupt:
        ui.complain("interrupted: the same command goes on from here")
        return 130


if __name__ == "__main__":
    sys.exit(main())
