"""The ticket as a page for people: escaped, no scripts, no credentials needed (it is a sandbox)."""

from __future__ import annotations

import html

from aiohttp import web

from hack.sandbox.jira import adf, render
from hack.sandbox.jira.state import Issue, Store
from hack.sandbox.jira.web import STORE

STYLE = ("body{font:15px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem}"
         "table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.2rem .5rem;"
         "text-align:left;vertical-align:top}.lozenge{background:#deebff;padding:.1rem .5rem}"
         "article,aside{border:1px solid #ddd;padding:.3rem 1rem;margin:.6rem 0}"
         "pre{background:#f4f5f7;padding:.5rem;overflow:auto;white-space:pre-wrap}")


def _name(store: Store, account_id: str | None) -> str:
    who = store.account(account_id)
    if who is None:
        return "nobody"
    return html.escape(who.display) + (" (bot)" if who.kind == "app" else "")


def _page(title: str, body: str) -> web.Response:
    text = (f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}'
            f"</title><style>{STYLE}</style></head><body>{body}</body></html>")
    return web.Response(text=text, content_type="text/html", headers={
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"})


async def browse(request: web.Request) -> web.Response:
    """GET /browse/KEY."""
    store, key = request.app[STORE], request.match_info["issue"].upper()
    issue = next((i for i in store.issues.values() if i.key == key), None)
    if issue is None:
        raise web.HTTPNotFound
    return _page(f"{issue.key} {issue.summary}", _issue(store, issue))


def _issue(store: Store, issue: Issue) -> str:
    facts = {"Priority": issue.priority, "Resolution": issue.resolution or "Unresolved",
             "Labels": ", ".join(sorted(issue.labels)) or "none",
             "Created": render.when(issue.created), "Updated": render.when(issue.updated)}
    rows = "".join(f"<tr><th>{k}</th><td>{html.escape(v)}</td></tr>" for k, v in facts.items())
    people = f"<tr><th>Reporter</th><td>{_name(store, issue.reporter)}</td></tr>"
    return (f'<p><a href="/">All tickets</a></p><h1>{issue.key} {html.escape(issue.summary)}</h1>'
            f'<p><span class="lozenge">{html.escape(issue.status)}</span></p>'
            f"<table>{rows}{people}</table><h2>Description</h2>{adf.to_html(issue.description)}"
            f"<h2>Comments</h2>{_comments(store, issue)}<h2>History</h2>{_history(store, issue)}")


def _comments(store: Store, issue: Issue) -> str:
    return "".join(
        f"<article><p><b>{_name(store, c['author'])}</b> {render.when(c['created'])}"
        f"{'' if render.public(c) else ' (internal)'}</p>{adf.to_html(c['body'])}</article>"
        for c in issue.comments) or "<p>None.</p>"


def _history(store: Store, issue: Issue) -> str:
    rows = "".join(
        f"<tr><td>{render.when(h['created'])}</td><td>{_name(store, h['author'])}</td>"
        f"<td>{html.escape(i['field'])}</td><td>{html.escape(str(i['fromString'] or ''))}</td>"
        f"<td>{html.escape(str(i['toString'] or ''))}</td></tr>"
        for h in issue.history for i in h["items"])
    return f"<table><tr><th>When</th><th>Who</th><th>What</th><th>From</th><th>To</th></tr>{rows}</table>"


async def index(request: web.Request) -> web.Response:
    """GET /: the list of tickets."""
    store = request.app[STORE]
    rows = "".join(
        f'<tr><td><a href="/browse/{i.key}">{i.key}</a></td><td>{html.escape(i.summary)}</td>'
        f"<td>{html.escape(i.status)}</td></tr>" for i in store.issues.values())
    return _page("Sandbox Jira", f"<h1>Sandbox Jira</h1><table>{rows}</table>")
