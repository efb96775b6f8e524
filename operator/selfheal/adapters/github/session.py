"""Requests to GitHub through PyGithub, off the event loop.

PyGithub keeps URL and verb of a request in its connection, so one client must not serve two
threads: every thread of the small pools has a client of its own. Reads share three threads. Writes
have one, so that they are made one after another with a pause, as
https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api asks.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import github
import urllib3

from selfheal.adapters.github import credentials
from selfheal.adapters.github import errors as translation
from selfheal.domain import errors

T = TypeVar("T")

_READERS = 3
_PAGE = 100  # the most that GitHub gives a page


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pace:
    """Limits of time, in seconds."""

    between_requests: float = 0.0
    between_writes: float = 0.0
    request_timeout: int = 10
    read_deadline: float = 30.0
    write_deadline: float = 10.0


def pace_of(hostname: str) -> Pace:
    """Return the pauses that GitHub asks of integrations on servers that it runs itself.

    One's own Enterprise Server has no rate limits by default:
    https://docs.github.com/en/enterprise-server@latest/rest/using-the-rest-api/rate-limits-for-the-rest-api
    """
    if f".{hostname}".endswith((".github.com", ".ghe.com")):
        return Pace(between_requests=0.1, between_writes=1.0)
    return Pace()


class Call:
    """One call of the port: lets writes begin only until its deadline."""

    def __init__(self) -> None:
        """Begin open."""
        self._lock = threading.Lock()
        self._stopped = False
        self._wrote = False

    def begin_write(self) -> None:
        """Note that a write is sent now; Transient when the call's time is over."""
        with self._lock:
            if self._stopped:
                raise errors.Transient("no time left to write to GitHub", system=translation.SYSTEM)
            self._wrote = True

    def stop(self) -> bool:
        """Let no further write begin; return whether one was sent."""
        with self._lock:
            self._stopped = True
            return self._wrote


class Api:
    """GitHub as one call sees it, on one thread. Paths begin with ``/`` and follow the base URL."""

    def __init__(self, client: github.Github, call: Call) -> None:
        """Serve one call by one client."""
        self._client, self._call = client, call

    def get(self, path: str, /, **params: Any) -> Any:
        """Read; NotFound on 404."""
        try:
            return self._client.requester.requestJsonAndCheck("GET", path, parameters=params)[1]
        except Exception as exc:
            raise translation.translate(exc, writing=False) from exc

    def pages(
        self, path: str, /, *, limit: int = 1000, key: str = "", **params: Any
    ) -> Iterator[Any]:
        """Read a list page by page, at most ``limit`` items; ``key`` names the list."""
        for page in range(1, -(-limit // _PAGE) + 1):
            answer = self.get(path, per_page=min(limit, _PAGE), page=page, **params)
            items = answer[key] if key else answer
            yield from items
            if len(items) < _PAGE:
                return

    def graphql(self, query: str) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
        """Read by GraphQL; return data and errors, of which single nodes may have some."""
        requester = self._client.requester
        try:
            headers, answer = requester.requestJsonAndCheck(
                "POST", requester.graphql_url, input={"query": query, "variables": {}}
            )
            data, faults = answer.get("data") or {}, answer.get("errors") or []
            limited = [fault for fault in faults if fault.get("type") == "RATE_LIMITED"]
            if limited:
                raise translation.from_graphql(limited[0], headers)
            if not data:
                text = translation.answer_text(faults[0] if faults else answer)
                raise errors.Transient(f"GraphQL read failed: {text}", system=translation.SYSTEM)
        except Exception as exc:
            raise translation.translate(exc, writing=False) from exc
        return data, faults

    def mutate(self, query: str, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        """Write once by GraphQL; ``RefusedError`` where GitHub refuses it, Forbidden without right.

        Errors: https://docs.github.com/en/graphql/guides/using-graphql-clients#handling-errors
        """
        self._call.begin_write()
        requester = self._client.requester
        try:
            headers, answer = requester.requestJsonAndCheck(
                "POST", requester.graphql_url, input={"query": query, "variables": variables}
            )
        except Exception as exc:
            raise translation.translate(exc, writing=True) from exc
        faults = answer.get("errors") or []
        if faults:
            raise translation.from_graphql(faults[0], headers)
        data: Mapping[str, Any] = answer["data"]
        return data

    def send(self, verb: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Write once; ``RefusedError`` on 405 and 422, NotFound on 404."""
        self._call.begin_write()
        try:
            return self._client.requester.requestJsonAndCheck(verb, path, input=body)[1]
        except Exception as exc:
            raise translation.translate(exc, writing=True) from exc

    def domain(self) -> str:
        """Return the host that people see: github.com for api.github.com."""
        return str(self._client.requester.hostname).removeprefix("api.")

    def permissions(self) -> Mapping[str, str] | None:
        """Return the rights of an App's token, known after a request; None for other tokens."""
        auth = self._client.requester.auth
        return (auth.granted or {}) if isinstance(auth, credentials.InstallationAuth) else None


def quote(name: str) -> str:
    """Return a branch or path for use within a URL path."""
    return urllib.parse.quote(name, safe="/")


def quote_all(name: str) -> str:
    """Return a name for use as one segment of a URL path, slashes included."""
    return urllib.parse.quote(name, safe="")


class Session:
    """Runs calls on the pools; connects with the first one."""

    def __init__(self, base_url: str, make_auth: credentials.MakeAuth, pace: Pace) -> None:
        """Keep what is needed to make clients."""
        self._base_url, self._make_auth, self._pace = base_url, make_auth, pace
        self._clients = threading.local()
        self._all_clients: list[github.Github] = []
        pool = concurrent.futures.ThreadPoolExecutor
        self._readers = pool(_READERS, thread_name_prefix="github-read")
        self._writer = pool(1, thread_name_prefix="github-write")

    async def read(self, work: Callable[[Api], T]) -> T:
        """Run reads; may be repeated."""
        return await self._run(self._readers, self._pace.read_deadline, work)

    async def write(self, work: Callable[[Api], T]) -> T:
        """Run one write, with the reads it needs; UnknownOutcome when cut off after sending."""
        return await self._run(self._writer, self._pace.write_deadline, work)

    async def _run(
        self, pool: concurrent.futures.Executor, seconds: float, work: Callable[[Api], T]
    ) -> T:
        call = Call()
        future = asyncio.get_running_loop().run_in_executor(pool, self._work, call, work)
        try:
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError as exc:
            message = f"no answer from GitHub within {seconds:g} s"
            kind = errors.UnknownOutcome if call.stop() else errors.Transient
            raise kind(message, system=translation.SYSTEM) from exc
        finally:
            call.stop()  # also when cancelled: the thread then begins no further write

    def _work(self, call: Call, work: Callable[[Api], T]) -> T:
        try:
            return work(Api(self._client(), call))
        except translation.RefusedError as exc:
            raise errors.HandOver("ContentRefused", f"GitHub refuses it: {exc.text}") from exc
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as exc:
            raise translation.unusable(exc, writing=call.stop()) from exc

    def _client(self) -> github.Github:
        client: github.Github | None = getattr(self._clients, "client", None)
        if client is None:
            client = self._connect()
            self._clients.client = client
            self._all_clients.append(client)
        return client

    def _connect(self) -> github.Github:
        writes = threading.current_thread().name.startswith("github-write")
        return github.Github(
            auth=self._make_auth(),
            base_url=self._base_url,
            timeout=self._pace.request_timeout,
            user_agent="selfheal-operator",
            api_version="2022-11-28",
            lazy=True,
            retry=_retry(),
            seconds_between_requests=self._pace.between_requests,
            # GraphQL reads are POSTs, which PyGithub takes for writes: no pause for readers.
            seconds_between_writes=self._pace.between_writes if writes else 0.0,
        )

    def close(self) -> None:
        """Let threads and connections go; calls under way end by themselves."""
        self._readers.shutdown(wait=False, cancel_futures=True)
        self._writer.shutdown(wait=False, cancel_futures=True)
        for client in self._all_clients:
            client.close()


def _retry() -> urllib3.Retry:
    """Return the retries of one request: reads only, on passing faults of the server.

    Not ``GithubRetry``: it sleeps as long as a rate limit says, up to an hour, in our thread. Here
    the limit comes out as RateLimited and the wait is kept in the incident's status.
    """
    return urllib3.Retry(
        total=2,
        connect=0,
        other=0,
        backoff_factor=0.2,
        status_forcelist=(500, 502, 504),
        allowed_methods={"GET"},
        respect_retry_after_header=False,
        raise_on_status=False,
    )
