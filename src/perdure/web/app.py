"""The routes: the page's own files, the API, and the events that keep the page up to date."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import unquote

import msgspec

from perdure.errors import PerdureError
from perdure.http.bodies import Refused, read
from perdure.operations.keyed_requests import Answer, KeyedRequests
from perdure.web.answers import answer, failure, problem
from perdure.web.endpoints import PREFIX, Desk, Endpoint, asked, bounded
from perdure.web.guard import SESSION, App, Guard, Hosts
from perdure.web.live import Live
from perdure.web.openapi import document
from perdure.web.packing import PAGE, assets, packed
from perdure.web.session import Session

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

VIEWS: Final = re.compile(
    r"/|/(runs|dead|services|schedules|waits|alerts|doctor|deeds|search)|/runs/[^/]{1,512}|/dead/\d{1,16}|/jobs/[0-9a-f]{16}"
)
"""The addresses of the page's views; all of them are the same shell."""

KINDS: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}

_log: Final = logging.getLogger("perdure")


def endpoints_of(desk: Desk) -> tuple[Endpoint, ...]:
    """The addresses that there are; those that act only where something may be changed."""
    from perdure.web import api_acting, api_reading

    return api_reading.ENDPOINTS if desk.read_only else (*api_reading.ENDPOINTS, *api_acting.ENDPOINTS)


def make_app(desk: Desk, session: Session, hosts: Hosts, root: str = "") -> App:
    """The application that serves a state file.

    Args:
        desk: the state file, and what may be done.
        session: who may use it.
        hosts: the names that it goes by.
        root: the path below which a proxy serves it, without a `/` at its end; requests may come with it or without.
    """
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import Response, StreamingResponse
    from starlette.routing import Route

    from perdure.web import downloads

    files = assets()
    shown = (PAGE / "shell.html").read_bytes().replace(b'="/assets/', b'="' + root.encode() + b"/assets/")
    endpoints = endpoints_of(desk)
    description = document(endpoints)
    live = Live(desk.location.path)
    requests = KeyedRequests(desk.location)

    async def shell(request: Request) -> Response:
        if VIEWS.fullmatch(request.url.path) is None:
            return problem(404, "not-found", "there is nothing here")
        return Response(shown, media_type=KINDS[".html"])

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in files:
            return problem(404, "not-found", "there is nothing here")
        kind, content = KINDS[Path(name).suffix], files[name]
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return Response(content, media_type=kind)
        return Response(packed(content), media_type=kind, headers={"content-encoding": "gzip"})

    async def sign_in(request: Request) -> Response:
        if session.is_limited:
            return problem(429, "too-many-failures", "too many wrong codes in the last minute", "wait a minute")
        try:
            given = msgspec.json.decode(await read(request), type=_Code)
        except Refused as refused:
            return problem(refused.status, "bad-request", refused.text)
        except (msgspec.DecodeError, UnicodeError):
            return problem(400, "bad-request", "the body holds no code", 'post {"code": "..."}')
        token = session.exchange(given.code)
        if token is None:
            return problem(401, "bad-code", "the code was used before, or is too old", "open a new link: perdure ui")
        return Response(msgspec.json.encode({"token": token}), media_type="application/json")

    async def described(request: Request) -> Response:
        return Response(msgspec.json.encode(description), media_type="application/json")

    async def exported(request: Request) -> Response:
        try:
            query = asked(downloads.ExportQuery, dict(request.query_params.multi_items()))
        except msgspec.ValidationError as error:
            return problem(400, "bad-query", f"the query does not fit: {error}", "see /api/v1/openapi.json")
        return await run_in_threadpool(_made, lambda: downloads.export(desk, query))

    async def value(request: Request) -> Response:
        names = _names(request)
        what: Literal["input", "result"] = "input" if request.url.path.endswith("/input") else "result"
        return await run_in_threadpool(_made, lambda: downloads.value_of(desk, names["run"], names["seq"], what))

    async def metrics(request: Request) -> Response:
        return await run_in_threadpool(_made, lambda: downloads.metrics(desk))

    async def events(request: Request) -> Response:
        return StreamingResponse(live.events(request.query_params.get("run")), media_type="text/event-stream")

    async def missing(request: Request, error: Exception) -> Response:
        return problem(404, "not-found", "there is nothing here")

    async def refused_method(request: Request, error: Exception) -> Response:
        return problem(405, "bad-method", "the address does not take that method")

    async def broken(request: Request, error: Exception) -> Response:
        return problem(500, "internal", "the server failed", "see its log")

    app = Starlette(
        routes=[
            Route(SESSION, sign_in, methods=["POST"]),
            Route(f"{PREFIX}/openapi.json", described, methods=["GET"]),
            Route(f"{PREFIX}/events", events, methods=["GET"]),
            Route(f"{PREFIX}/export", exported, methods=["GET"]),
            *(
                Route(f"{PREFIX}/runs/{{run}}/steps/{{seq}}/{what}", value, methods=["GET"])
                for what in ("input", "result")
            ),
            Route("/metrics", metrics, methods=["GET"]),
            *(
                Route(
                    f"{PREFIX}{one.path}",
                    _Answers(desk, one) if one.method == "GET" else _Acts(desk, one, requests),
                    methods=[one.method],
                )
                for one in endpoints
            ),
            Route("/assets/{name}", asset, methods=["GET"]),
            Route("/{rest:path}", shell, methods=["GET"]),
        ],
        exception_handlers={404: missing, 405: refused_method, 500: broken},
    )
    app.router.redirect_slashes = False
    return _Segments(Guard(app, hosts, session, VIEWS), root)


class _Segments:
    """What is asked for below a path is what is there; also that is, of a proxy that takes the path away.

    A `/` or `%` that is written `%2F` or `%25` is a part of a name, and stays written so until `_names` reads it.
    """

    def __init__(self, app: App, root: str) -> None:
        self._app = app
        self._root = root

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            parts = scope["raw_path"].decode("latin-1").split("/")
            path = "/".join(unquote(part).replace("%", "%25").replace("/", "%2F") for part in parts)
            if self._root and f"{path}/".startswith(f"{self._root}/"):
                path = path[len(self._root) :] or "/"
            scope = {**scope, "path": path}
        await self._app(scope, receive, send)


def _names(request: Request) -> dict[str, str]:
    """The names in an address. One of dots alone begins with a NUL there: browsers take it for a way up otherwise."""
    found = request.path_params.items()
    return {key: one.replace("%2F", "/").replace("%25", "%").removeprefix("\0") for key, one in found}


class _Code(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    code: str


class _Answers:
    """Answers an address of the API, in a thread."""

    def __init__(self, desk: Desk, endpoint: Endpoint) -> None:
        self._desk = desk
        self._endpoint = endpoint

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from starlette.concurrency import run_in_threadpool
        from starlette.requests import Request

        request = Request(scope, receive)
        response = await run_in_threadpool(self._response, _names(request), request.query_params.multi_items())
        await response(scope, receive, send)

    def _response(self, names: dict[str, str], given: Sequence[tuple[str, str]]) -> Response:
        if len(dict(given)) != len(given):
            return problem(400, "bad-query", "a name of the query stands there twice", "give each once")
        try:
            query = asked(self._endpoint.query, dict(given))
        except msgspec.ValidationError as error:
            return problem(400, "bad-query", f"the query does not fit: {error}", "see /api/v1/openapi.json")
        return _carried_out(lambda: self._endpoint.handle(self._desk, names, query))


class _Acts:
    """Does what an address of the API is for, in a thread, once for each key."""

    def __init__(self, desk: Desk, endpoint: Endpoint, requests: KeyedRequests) -> None:
        self._desk = desk
        self._endpoint = endpoint
        self._requests = requests

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from starlette.concurrency import run_in_threadpool
        from starlette.requests import Request

        request = Request(scope, receive)
        key = request.headers.get("idempotency-key", "")
        try:
            body = await read(request)
        except Refused as refused:
            response = problem(refused.status, "bad-request", refused.text)
        else:
            response = await run_in_threadpool(self._response, scope["path"], _names(request), key, body)
        await response(scope, receive, send)

    def _response(self, path: str, names: dict[str, str], key: str, body: bytes) -> Response:
        from starlette.responses import Response

        if not (8 <= len(key) <= 200 and key.isascii() and key.isprintable()):
            return problem(400, "no-key", "the header Idempotency-Key is missing or no key", "send a fresh random one")
        try:
            given = bounded(msgspec.json.decode(body or b"{}", type=self._endpoint.query))
        except (msgspec.DecodeError, UnicodeError) as error:
            return problem(400, "bad-request", f"the body does not fit: {error}", "see /api/v1/openapi.json")

        def do() -> Answer:
            found = _carried_out(lambda: self._endpoint.handle(self._desk, names, given))
            return Answer(found.status_code, found.media_type or "", bytes(found.body))

        def once() -> Response:
            done = self._requests.once(key, f"{self._endpoint.method} {path} {msgspec.json.encode(given).decode()}", do)
            return Response(done.body, done.status, media_type=done.media)

        return _made(once)


def _carried_out(handle: Callable[[], Any]) -> Response:
    return _made(lambda: answer(handle()))


def _made(make: Callable[[], Response]) -> Response:
    try:
        return make()
    except PerdureError as error:
        found = failure(error)
        if found.status_code >= 500:
            _log.warning("the page cannot be served: %s", error.what)
        return found
