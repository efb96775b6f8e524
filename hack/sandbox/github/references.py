"""References and differences: addresses that can be followed, refusals as GitHub words them, unified diffs."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from aiohttp import web

from hack.sandbox.github import answers

if TYPE_CHECKING:
    from hack.sandbox.github.server import Proxy

Found = re.Match[str]
DIFF_TYPES = ("application/vnd.github.diff", "application/vnd.github.v3.diff")


def _followed(answer: web.Response) -> web.Response:
    """Emulate's `url` of a reference says /git/ref/, where GitHub's says /git/refs/, which edit and delete need."""
    if answer.status not in (200, 201) or not isinstance(answer.body, bytes):
        return answer
    shown = json.loads(answer.body)
    for entry in shown if isinstance(shown, list) else [shown]:
        entry["url"] = entry["url"].replace("/git/ref/", "/git/refs/")
    return web.json_response(shown, status=answer.status)


async def show(proxy: Proxy, request: web.Request, found: Found, body: Any) -> web.Response:
    """https://docs.github.com/en/rest/git/refs#get-a-reference and #list-matching-references."""
    return _followed(await proxy.forward(request, b""))


async def create(proxy: Proxy, request: web.Request, found: Found, body: Any) -> web.Response:
    """https://docs.github.com/en/rest/git/refs#create-a-reference; an existing one is refused."""
    name = str(body.get("ref", "")).removeprefix("refs/")
    if await _known(proxy, found["repo"], name):
        return answers.refuse(422, "Reference already exists")
    return _followed(await proxy.forward(request, json.dumps(body).encode()))


async def change(proxy: Proxy, request: web.Request, found: Found, body: Any) -> web.Response:
    """https://docs.github.com/en/rest/git/refs#update-a-reference and #delete-a-reference; a missing one is 422."""
    if not await _known(proxy, found["repo"], found["name"]):
        return answers.refuse(422, "Reference does not exist")
    if request.method == "DELETE":
        await _close_from(proxy, found["repo"], found["name"].removeprefix("heads/"))
    return _followed(await proxy.forward(request, json.dumps(body).encode() if request.method == "PATCH" else b""))


async def _close_from(proxy: Proxy, repo: str, branch: str) -> None:
    """GitHub closes the open pull requests of a branch that is deleted.

    https://docs.github.com/en/repositories/configuring-branches-and-merges-in-your-repository/managing-branches-in-your-repository/deleting-and-restoring-branches-in-a-pull-request
    """
    for pull in await proxy.upstream.call("GET", f"/repos/{repo}/pulls?state=open&per_page=100") or []:
        if pull["head"]["ref"] == branch:
            await proxy.reader.overlay.shown(repo, pull)  # its head stays what it was
            await proxy.upstream.call("PATCH", f"/repos/{repo}/pulls/{pull['number']}", {"state": "closed"})


async def _known(proxy: Proxy, repo: str, name: str) -> bool:
    answer = await proxy.upstream.call("GET", f"/repos/{repo}/git/ref/{name}")
    return bool(answer and "object" in answer)


def wants_diff(request: web.Request) -> bool:
    """https://docs.github.com/en/rest/using-the-rest-api/getting-started-with-the-rest-api#media-types."""
    return any(kind in request.headers.get("Accept", "") for kind in DIFF_TYPES)


async def compare(proxy: Proxy, request: web.Request, found: Found, body: Any) -> web.Response | None:
    """https://docs.github.com/en/rest/commits/commits#compare-two-commits as a diff where one is asked for."""
    return await diff(proxy, found["repo"], found["span"]) if wants_diff(request) else None


async def diff(proxy: Proxy, repo: str, span: str) -> web.Response:
    """The unified diff of a comparison `base...head`."""
    compared = await proxy.upstream.call("GET", f"/repos/{repo}/compare/{span}")
    if compared is None:
        return answers.refuse(404, "Not Found")
    fork = await proxy.reader.overlay.tree(repo, compared["merge_base_commit"]["sha"])
    head = await proxy.reader.overlay.tree(repo, span.partition("...")[2])
    text = "".join(_file_diff(entry, fork, head) for entry in compared["files"])
    return web.Response(text=text, content_type="application/vnd.github.diff", charset="utf-8")


def _file_diff(entry: dict[str, Any], fork: dict[str, Any], head: dict[str, Any]) -> str:
    """One file, as git prints it: https://git-scm.com/docs/diff-format#generate_patch_text_with_p."""
    path, old = entry["filename"], entry.get("previous_filename", entry["filename"])
    before, after = fork.get(old), head.get(path)
    lines = [f"diff --git a/{old} b/{path}"]
    if before is None and after is not None:
        lines.append(f"new file mode {after['mode']}")
    if after is None and before is not None:
        lines.append(f"deleted file mode {before['mode']}")
    mode = f" {after['mode']}" if before and after and before["mode"] == after["mode"] else ""
    lines.append(f"index {(before or {}).get('sha', '0' * 40)[:7]}..{(after or {}).get('sha', '0' * 40)[:7]}{mode}")
    if entry.get("patch"):
        lines.append(f"--- a/{old}" if before else "--- /dev/null")
        lines.append(f"+++ b/{path}" if after else "+++ /dev/null")
        lines.append(entry["patch"].rstrip("\n"))
    return "\n".join(lines) + "\n"


async def pull_span(proxy: Proxy, repo: str, pull: dict[str, Any]) -> str:
    """What a pull request compares: with its base as it is while open, as it was at the merge afterwards."""
    base = pull["base"]["ref"] if pull["state"] == "open" else pull["base"]["sha"]
    return f"{base}...{pull['head']['sha']}"


async def pull_files(proxy: Proxy, request: web.Request, found: Found, body: Any) -> web.Response:
    """https://docs.github.com/en/rest/pulls/pulls#list-pull-requests-files, of the head as it is now."""
    pull = await proxy.reader.overlay.pull(found["repo"], found["number"])
    if pull is None:
        return answers.refuse(404, "Not Found")
    span = await pull_span(proxy, found["repo"], pull)
    compared = await proxy.upstream.call("GET", f"/repos/{found['repo']}/compare/{span}")
    return answers.page(request, proxy.upstream.public_url, (compared or {}).get("files", []))
