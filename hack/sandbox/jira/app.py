"""The application: which path is served by which version, with which credentials."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from hack.sandbox.jira import control, page, seed
from hack.sandbox.jira import routes_dc as dc
from hack.sandbox.jira import routes_desk as desk
from hack.sandbox.jira import routes_issue as issue
from hack.sandbox.jira import routes_meta as meta
from hack.sandbox.jira import routes_search as search
from hack.sandbox.jira.state import Store
from hack.sandbox.jira.web import BUCKETS, STORE, Handler, wrap

GATEWAY = "/ex/jira/{cloud}"
MAX_BODY = 4 * 1024 * 1024
BOTH: list[tuple[str, str, Handler]] = [
    ("GET", "/serverInfo", meta.server_info),
    ("GET", "/myself", meta.myself),
    ("GET", "/mypermissions", meta.my_permissions),
    ("GET", "/user", meta.user),
    ("GET", "/user/search", meta.user_search),
    ("GET", "/field", meta.fields),
    ("GET", "/issuetype", meta.issue_types),
    ("GET", "/status", meta.statuses),
    ("GET", "/status/{status}", meta.status),
    ("GET", "/priority", meta.priorities),
    ("GET", "/resolution", meta.resolutions),
    ("GET", "/project/{project}", meta.project),
    ("GET", "/project/{project}/statuses", meta.project_statuses),
    ("GET", "/issue/createmeta/{project}/issuetypes", meta.create_types),
    ("GET", "/issue/createmeta/{project}/issuetypes/{type}", meta.create_fields),
    ("POST", "/issue", issue.create),
    ("GET", "/issue/{issue}", issue.get),
    ("PUT", "/issue/{issue}", issue.edit),
    ("DELETE", "/issue/{issue}", issue.delete),
    ("PUT", "/issue/{issue}/assignee", issue.assign),
    ("GET", "/issue/{issue}/transitions", issue.transitions),
    ("POST", "/issue/{issue}/transitions", issue.transition),
    ("GET", "/issue/{issue}/comment", issue.comments),
    ("POST", "/issue/{issue}/comment", issue.comment_add),
    ("GET", "/issue/{issue}/comment/{comment}", issue.comment_get),
    ("PUT", "/issue/{issue}/comment/{comment}", issue.comment_update),
    ("DELETE", "/issue/{issue}/comment/{comment}", issue.comment_delete),
    ("GET", "/issue/{issue}/properties", issue.property_keys),
    ("GET", "/issue/{issue}/properties/{property}", issue.property_get),
    ("PUT", "/issue/{issue}/properties/{property}", issue.property_put),
    ("DELETE", "/issue/{issue}/properties/{property}", issue.property_delete),
    ("GET", "/issue/{issue}/remotelink", issue.remote_links),
    ("POST", "/issue/{issue}/remotelink", issue.remote_link_add),
    ("DELETE", "/issue/{issue}/remotelink/{link}", issue.remote_link_delete),
    ("GET", "/issueLinkType", issue.link_types),
    ("POST", "/issueLink", issue.link_add),
    ("DELETE", "/issueLink/{link}", issue.link_delete),
]
CLOUD: list[tuple[str, str, Handler]] = [
    ("POST", "/issue/bulkfetch", issue.bulk_fetch),
    ("GET", "/user/groups", meta.user_groups),
    ("GET", "/issue/{issue}/changelog", issue.changelog),
    ("GET", "/project/search", meta.project_search),
    ("GET", "/search/jql", search.search),
    ("POST", "/search/jql", search.search),
    ("POST", "/search/approximate-count", search.count),
    ("GET", "/search", search.removed),
    ("POST", "/search", search.removed),
]
DATA_CENTER: list[tuple[str, str, Handler]] = [
    ("GET", "/search", search.search_dc),
    ("POST", "/search", search.search_dc),
    ("GET", "/project", dc.projects),
    ("GET", "/project/{project}/versions", dc.nothing_of),
    ("GET", "/project/{project}/components", dc.nothing_of),
    ("GET", "/issue/{issue}/watchers", dc.watchers),
    ("GET", "/issue/{issue}/worklog", dc.worklogs),
]
DESK: list[tuple[str, str, Handler]] = [
    ("GET", "/info", desk.info),
    ("GET", "/servicedesk", desk.desks),
    ("GET", "/servicedesk/{desk}", desk.desk),
    ("GET", "/servicedesk/{desk}/requesttype", desk.request_types),
    ("POST", "/request", desk.create),
    ("GET", "/request/{issue}", desk.request),
    ("GET", "/request/{issue}/comment", desk.comments),
    ("POST", "/request/{issue}/comment", desk.comment_add),
    ("GET", "/request/{issue}/comment/{comment}", desk.comment),
]


def make_app(state_file: Path | None = None,
             clock: Callable[[], float] = time.time) -> web.Application:
    """A sandbox Jira; with a file its tickets survive a restart."""
    store = Store(clock)
    seed.fill(store)
    app = web.Application(middlewares=[control.faults_and_journal], client_max_size=MAX_BODY)
    app[STORE], app[control.STATE_FILE] = store, state_file
    app[control.FAULTS], app[control.JOURNAL] = [], collections.deque(maxlen=control.JOURNAL_LIMIT)
    app[search.TOKENS], app[BUCKETS] = {}, {}
    control.add_routes(app)
    app.router.add_get("/", page.index)
    app.router.add_get("/browse/{issue}", page.browse)
    _mount(app, "/rest/api/3", [*CLOUD, *BOTH], "3", gateway=False)
    _mount(app, GATEWAY + "/rest/api/3", [*CLOUD, *BOTH], "3", gateway=True)
    _mount(app, "/rest/api/2", [*DATA_CENTER, *BOTH], "2", gateway=False)
    _mount(app, "/rest/servicedeskapi", DESK, "3", gateway=False)
    _mount(app, GATEWAY + "/rest/servicedeskapi", DESK, "3", gateway=True)
    return app


def _mount(app: web.Application, prefix: str, routes: list[tuple[str, str, Handler]], version: str,
           gateway: bool) -> None:
    for method, path, handler in routes:
        anonymous = path == "/serverInfo" and not gateway  # "This operation can be accessed anonymously"
        app.router.add_route(method, prefix + path, wrap(handler, version, gateway, anonymous))
