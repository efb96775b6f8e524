"""Renders Kustomize overlays and Helm charts by the real programs, confined as confine.py does."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import posixpath
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping

from selfheal.adapters.render import confine
from selfheal.domain import errors
from selfheal.remediation.layouts import Root, RootKind

AT_ONCE = 2
"""Renderings at once; each may take as much memory as confine.py lets it."""
SECONDS = 20.0
MAX_OUTPUT = 4 << 20
MAX_MESSAGE = 600
MAX_INPUT = 16 << 20

_SCRIPT = pathlib.Path(confine.__file__)
_NAME = re.compile(r"^[a-z0-9]([a-z0-9.-]{0,51}[a-z0-9])?$")
_MEMORY = re.compile(r"cannot allocate memory|out of memory|failed to create new OS thread")


class ConfinedRenderer:
    """The programs by their paths; a program that is not there stalls only what needs it."""

    def __init__(self, *, kustomize: pathlib.Path, helm: pathlib.Path) -> None:
        """Keep where the programs are; nothing is started yet."""
        self._programs = {RootKind.KUSTOMIZE: kustomize, RootKind.HELM: helm}
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def render(self, files: Mapping[str, bytes], root: Root) -> str:
        """Render a root; the port's contract holds."""
        program = self._programs[root.kind]
        if not program.is_file():
            raise errors.Stalled(
                f"{root.title} cannot be rendered: there is no {program}. The operator's image "
                "has it; elsewhere set SELFHEAL_KUSTOMIZE and SELFHEAL_HELM.",
                reason="RendererMissing",
            )
        async with self._slots:
            work = await asyncio.to_thread(_lay_out, files, root)
            try:
                return await _run(work, program.resolve(), root)
            finally:
                await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)


def _lay_out(files: Mapping[str, bytes], root: Root) -> pathlib.Path:
    """Write what the root is rendered from into a folder of its own; regular files only."""
    placed = dict(_placed(files, root))
    if sum(len(content) for content in placed.values()) > MAX_INPUT:
        raise errors.HandOver("RenderTooLarge", f"{root.title} has more than {MAX_INPUT} bytes.")
    work = pathlib.Path(tempfile.mkdtemp(prefix="selfheal-render-")).resolve()
    for name, content in placed.items():
        target = work / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return work


def _placed(files: Mapping[str, bytes], root: Root) -> list[tuple[str, bytes]]:
    used = [(name, content) for name, content in files.items() if root.uses(name)]
    for place, meant in root.links:
        inside = f"{meant}/"
        used += [
            (posixpath.join(place, name[len(inside) :]), files[name])
            for name in files
            if name.startswith(inside)
        ]
    for name, _ in used:
        if posixpath.normpath(name) != name or name.startswith(("/", "..")) or "\0" in name:
            raise errors.HandOver("RenderFailed", f"{name!r} is not a path inside the repository.")
    return used


def _words(root: Root) -> list[str]:
    folder = f"./{root.path}" if root.path else "."
    if root.kind is RootKind.KUSTOMIZE:
        return ["build", folder]
    release = root.release if _NAME.match(root.release) else "release"
    values = [word for name in root.values for word in ("--values", f"./{name}")]
    space = ["--namespace", root.namespace] if _NAME.match(root.namespace) else []
    return ["template", release, folder, *space, "--skip-tests", *values]


async def _run(work: pathlib.Path, program: pathlib.Path, root: Root) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", "-B", str(_SCRIPT), str(work), str(program), *_words(root),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, env={}, cwd=work, start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(SECONDS):
            output, message = await asyncio.gather(
                _read(process, process.stdout), _read(process, process.stderr)
            )
            code = await process.wait()
    except TimeoutError as exc:
        raise errors.HandOver(
            "RenderTooLarge", f"{root.title} does not render within {SECONDS:.0f} seconds."
        ) from exc
    finally:
        _kill(process)
        # asyncio waits for the ends of both pipes too, and stops reading one whose buffer is full
        await asyncio.gather(_read(process, process.stdout), _read(process, process.stderr))
        await process.wait()
    if output is None or message is None:
        raise errors.HandOver(
            "RenderTooLarge", f"{root.title} renders to more than {MAX_OUTPUT} bytes."
        )
    return _judge(root, code, output, message.decode("utf-8", errors="replace"), work)


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()


async def _read(
    process: asyncio.subprocess.Process, stream: asyncio.StreamReader | None
) -> bytes | None:
    """Read a stream to its end; None: it went past the bound, and the process was ended."""
    parts: list[bytes] = []
    size = 0
    while stream is not None and (part := await stream.read(65536)):
        size += len(part)
        if size > MAX_OUTPUT:
            _kill(process)
            parts = []
        else:
            parts.append(part)
    return b"".join(parts) if size <= MAX_OUTPUT else None


def _judge(root: Root, code: int, output: bytes, message: str, work: pathlib.Path) -> str:
    if code == confine.CANNOT_CONFINE:
        raise errors.Stalled(
            f"{root.title} is not rendered, for {message.strip()}", reason="RendererNotConfined"
        )
    if code == 0:
        try:
            return output.decode("utf-8")
        except UnicodeDecodeError as exc:
            raise errors.HandOver("RenderFailed", f"{root.title} renders to no text.") from exc
    if code < 0 or _MEMORY.search(message):
        raise errors.HandOver(
            "RenderTooLarge", f"{root.title} needs more time or memory than it is given."
        )
    said = " ".join(message.replace(f"{work}/", "").split())[:MAX_MESSAGE]
    raise errors.HandOver("RenderFailed", f"{root.title} does not render: {said}")
