"""Installs the sandbox's Node modules and GitHub's published API description in the user's cache. Resumable."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "selfheal"
OPENAPI = "@octokit/openapi@23.0.2"
OPENAPI_FILE = CACHE / "octokit-openapi-23.0.2" / "api.github.com.json"
OPENAPI_MEMBER = "package/generated/api.github.com.json"
GRAPHQL = "@octokit/graphql-schema@15.26.1"
GRAPHQL_FILE = CACHE / "octokit-graphql-schema-15.26.1" / "schema.graphql"
GRAPHQL_MEMBER = "package/schema.graphql"


class InstallError(Exception):
    """Something cannot be installed; the message says what and why."""


def folder() -> pathlib.Path:
    """Where the modules of exactly this package.json and lock stand."""
    digest = hashlib.sha256()
    for name in ("package.json", "package-lock.json"):
        if (HERE / name).exists():
            digest.update((HERE / name).read_bytes())
    return CACHE / "node" / digest.hexdigest()[:16]


def binary(name: str) -> pathlib.Path:
    """The command of an installed module."""
    return folder() / "node_modules" / ".bin" / name


def _npm(*words: str, cwd: pathlib.Path) -> str:
    done = subprocess.run(["npm", *words], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InstallError(f"npm {' '.join(words)} failed: {done.stderr.strip()[-600:]}")
    return done.stdout


def modules() -> pathlib.Path:
    """Install the modules once; other processes wait for the lock."""
    if shutil.which("npm") is None:
        raise InstallError("npm is missing; install Node 20 or newer")
    target = folder()
    if (target / ".ready").exists():
        return target
    target.mkdir(parents=True, exist_ok=True)
    with (target / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (target / ".ready").exists():
            return target
        started = time.monotonic()
        print("sandbox: npm installs emulate and kubernetes-mcp-server …", flush=True)
        for name in ("package.json", "package-lock.json"):
            if (HERE / name).exists():
                shutil.copy(HERE / name, target / name)
        # not `ci`: it wants the lock to name platform packages that this npm leaves out of it
        _npm("install", "--no-audit", "--no-fund", cwd=target)
        (target / ".ready").touch()
        print(f"sandbox: node modules are there ({time.monotonic() - started:.0f} s)", flush=True)
    return target


def openapi() -> pathlib.Path:
    """GitHub's published description of its REST API; fetched once, of the package only that one file is kept."""
    return _file_of(OPENAPI, OPENAPI_MEMBER, OPENAPI_FILE)


def graphql_schema() -> pathlib.Path:
    """GitHub's published GraphQL schema, fetched once."""
    return _file_of(GRAPHQL, GRAPHQL_MEMBER, GRAPHQL_FILE)


def _file_of(package: str, member: str, target: pathlib.Path) -> pathlib.Path:
    """Keep one file of an npm package in the cache."""
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    print(f"sandbox: fetches {package} …", flush=True)
    with tempfile.TemporaryDirectory() as work:
        name = _npm("pack", "--silent", package, cwd=pathlib.Path(work)).strip().splitlines()[-1]
        with tarfile.open(pathlib.Path(work) / name) as archive:
            found = archive.extractfile(member)
            if found is None:
                raise InstallError(f"{package} does not contain {member}")
            partial = target.with_suffix(f".part{os.getpid()}")
            partial.write_bytes(found.read())
            partial.rename(target)
    return target


def main() -> int:
    try:
        modules()
        openapi()
        graphql_schema()
    except InstallError as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
