"""The ASGI app. What it does follows from a token in the address alone: it lists nothing, and knows nobody.

    GET, HEAD  /approve/TOKEN   shows what is asked; decides nothing, however often it is fetched
    POST       /approve/TOKEN   decides, once
    POST       /signal/TOKEN    sends the signal that the token names, once, with the JSON that is posted

Everything else is 404 without a word; other methods are 405.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from perdure.errors import (
    AlreadyDecided,
    BadToken,
    EngineError,
    LinkExpired,
    NotFound,
    NotStorable,
    OptionError,
    PerdureError,
    RunHasEnded,
    StateError,
)

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from perdure.http.linked_runs import LinkedRuns

_log: Final = logging.getLogger("perdure")

_STATUS: Final[tuple[tuple[type[PerdureError], int], ...]] = (
    (BadToken, 401),
    (LinkExpired, 410),
    (AlreadyDecided, 410),
    (RunHasEnded, 410),
    (NotFound, 404),
    (NotStorable, 422),
    (StateError, 503),
    (EngineError, 503),
)


def app(state: str | Path | None = None, *, engine: str | None = None) -> Starlette:
    """An ASGI application that answers approvals and takes signals, for the links that runs give out.

    Mount it in an application of your own, behind TLS, at the address that PERDURE_PUBLIC_URL names:
    `api.mount("/perdure", perdure.http.app())`. `perdure worker --http` serves it by itself.

    Args:
        state: the state file of the runs; None: as the settings say.
        engine: the address of the cluster of the runs; None: as the settings say.

    Raises:
        OptionError: starlette is not installed, or both a state file and a cluster are named.
    """
    if find_spec("starlette") is None:
        raise OptionError(
            "perdure.http.app needs the package starlette, which is not installed", 'pip install "perdure[web]"'
        )
    from starlette.applications import Starlette
    from starlette.routing import Route

    links = _Links(_place(state, engine))
    methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"]
    return Starlette(
        routes=[
            Route("/approve/{token}", links.approve, methods=methods),
            Route("/signal/{token}", links.signal, methods=methods),
            # Below the path of a proxy that passes it on.
            Route("/{below:path}/approve/{token}", links.approve, methods=methods),
            Route("/{below:path}/signal/{token}", links.signal, methods=methods),
            Route("/{rest:path}", links.nothing, methods=methods),
        ]
    )


def _place(state: str | Path | None, engine: str | None) -> LinkedRuns:
    from perdure.config import settings
    from perdure.engines.features import Feature
    from perdure.engines.selection import capabilities_at
    from perdure.http.linked_runs import OfCluster, OfStateFile

    url = settings.LOCAL if state is not None and engine is None else settings.engine_url("", engine)
    if capabilities_at(url).supports(Feature.STATE_FILE):
        return OfStateFile(Path(state).absolute() if state is not None else settings.state_path(""))
    if state is not None:
        raise OptionError("perdure.http.app is given a state file and a cluster", "give one of the two")
    return OfCluster(url)


class _Links:
    """The handlers; `runs` are those that the links are about."""

    def __init__(self, runs: LinkedRuns) -> None:
        self._runs = runs

    async def approve(self, request: Request) -> Response:
        """Show what is asked, or decide."""
        if request.method in ("GET", "HEAD"):
            return await _answered(request, self._show)
        if request.method == "POST":
            return await _answered(request, self._decide)
        return _plain(request, 405, "this address is looked at (GET) or answered (POST)", {"Allow": "GET, HEAD, POST"})

    async def signal(self, request: Request) -> Response:
        """Send the signal of a token."""
        if request.method == "POST":
            return await _answered(request, self._send)
        return _plain(request, 405, "a signal is sent with POST", {"Allow": "POST"})

    async def nothing(self, request: Request) -> Response:
        """There is nothing here."""
        return _plain(request, 404, "there is nothing here")

    async def _show(self, request: Request) -> Response:
        import asyncio

        from perdure.http import pages

        standing = await asyncio.to_thread(self._runs.standing, request.path_params["token"])
        if standing.is_open:
            return _html(200, pages.question(standing))
        if standing.answer is not None:
            return _plain(request, 410, f"It was {standing.answer.text()}.", title=standing.question.title)
        return _plain(request, 410, "The run does not wait for this any more.", title=standing.question.title)

    async def _decide(self, request: Request) -> Response:
        import asyncio

        from perdure.http import bodies

        token = request.path_params["token"]
        await asyncio.to_thread(self._runs.link, token, "approval")  # before the body: a stranger's is not read
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        given = bodies.answer(await bodies.read(request), kind)
        said = await asyncio.to_thread(self._runs.answer, token, given)
        return _plain(request, 200, f"It is {said.text()}.", title="Thank you", json={"outcome": said.text()})

    async def _send(self, request: Request) -> Response:
        import asyncio

        from perdure.http import bodies

        token = request.path_params["token"]
        await asyncio.to_thread(self._runs.link, token, "signal")
        body = await bodies.read(request)
        outcome = await asyncio.to_thread(self._runs.send, token, bodies.as_json(body))
        return _plain(request, 200, f"the signal is {outcome}", json={"outcome": outcome})


# -- answers ----------------------------------------------------------------------------------------------------------


async def _answered(request: Request, handle: Any) -> Response:
    """What the handler gives, or the status of what it raises; nothing of the token or the body is logged."""
    from perdure.http.bodies import Refused

    try:
        response: Response = await handle(request)
        return response
    except Refused as refused:
        return _plain(request, refused.status, refused.text)
    except PerdureError as error:
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
        if status >= 500:
            _log.warning("a link cannot be served: %s", error.what)
            text = "the state of the run cannot be used at this moment" if status == 503 else "this cannot be done"
            return _plain(request, status, text, {"Retry-After": "5"} if status == 503 else {})
        return _plain(request, status, error.what)


def _plain(
    request: Request,
    status: int,
    text: str,
    headers: dict[str, str] | None = None,
    *,
    title: str = "",
    json: dict[str, Any] | None = None,
) -> Response:
    """A sentence: as a page for a browser, else as JSON."""
    from starlette.responses import JSONResponse

    from perdure.config.secrets import conceal

    if "text/html" in request.headers.get("accept", ""):
        from perdure.http import pages

        return _html(status, pages.message(title or text, text if title else ""), headers)
    return JSONResponse(json or {"error": conceal(text)}, status, {**_headers(), **(headers or {})})


def _html(status: int, page: str, headers: dict[str, str] | None = None) -> Response:
    from starlette.responses import HTMLResponse

    return HTMLResponse(page, status, {**_headers(), **(headers or {})})


def _headers() -> dict[str, str]:
    from perdure.http.pages import STYLE_HASH

    return {
        "Cache-Control": "no-store",
        "Content-Security-Policy": (
            f"default-src 'none'; style-src '{STYLE_HASH}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        ),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "X-Robots-Tag": "noindex",
    }
