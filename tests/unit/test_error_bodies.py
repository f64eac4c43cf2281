"""A body that is on the connection when a step fails is the same in each life, wherever the answer hangs."""

from __future__ import annotations

import asyncio
import http.client
import io
import socket
import threading
import urllib.error

import httpx
import pytest
from raised_errors import again, raised

from perdure.engines.runtime.error_bodies import PATIENCE, keep_bodies, keep_bodies_in_loop

URL = "http://api.test/orders"
BODY = b'{"error": "poison"}'
CUT = b"[... perdure could not read the rest of this body ...]"
AT_ONCE = 0.01
"""Seconds of patience with a body of which it is known that it does not come."""


@pytest.fixture
def connection():
    """What sends an answer of http.client: the bytes of a body, of which more may be announced than come.

    The socket that it sends from is the first one of its `opened`.
    """
    opened = []

    def answer(body: bytes = BODY, announced: int | None = None) -> http.client.HTTPResponse:
        here, there = socket.socketpair()
        response = http.client.HTTPResponse(here)
        head = f"HTTP/1.1 409 Conflict\r\nContent-Length: {len(body) if announced is None else announced}\r\n\r\n"
        threading.Thread(target=there.sendall, args=(head.encode() + body,), daemon=True).start()
        opened[:] = there, response, here
        response.begin()
        return response

    answer.opened = opened
    yield answer
    for each in opened:
        each.close()


def of_urllib(answer: http.client.HTTPResponse) -> Exception:
    return urllib.error.HTTPError(URL, 409, "Conflict", answer.headers, answer)


def of_requests(answer: http.client.HTTPResponse) -> Exception:
    requests, urllib3 = pytest.importorskip("requests"), pytest.importorskip("urllib3")
    response = requests.Response()
    response.status_code, response.url = 409, URL
    response.request = requests.Request("GET", URL).prepare()
    response.raw = urllib3.HTTPResponse(answer, answer.headers.items(), preload_content=False)
    return raised(response.raise_for_status)


class Stream(httpx.SyncByteStream):
    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self._answer = answer

    def __iter__(self):
        while chunk := self._answer.read1(1_000):
            yield chunk


class AwaitedStream(httpx.AsyncByteStream):
    def __init__(self, *chunks: bytes, stuck: bool = False) -> None:
        self._chunks = chunks
        self._stuck = stuck

    async def __aiter__(self):
        for chunk in self._chunks:
            yield chunk
        if self._stuck:
            await asyncio.get_running_loop().create_future()


def of_httpx(answer: http.client.HTTPResponse) -> Exception:
    return with_stream(Stream(answer))


def with_stream(stream) -> Exception:
    return raised(httpx.Response(409, stream=stream, request=httpx.Request("GET", URL)).raise_for_status)


CLIENTS = [of_urllib, of_requests, of_httpx]


class ApiError(Exception):
    pass


def plain(exc):
    return exc


def as_cause(exc):
    def fail():
        raise ApiError("refused") from exc

    return raised(fail)


def as_context(exc):
    def fail():
        try:
            raise exc
        except Exception:
            raise ApiError("refused")  # noqa: B904  by the context alone

    return raised(fail)


def in_a_group(exc):
    return ExceptionGroup("several", [ValueError("x"), ExceptionGroup("inner", [as_cause(exc)])])


def as_attribute(exc):
    outer = ApiError("refused")
    outer.inner = exc
    return outer


def as_argument(exc):
    return ApiError("refused", exc)


def of_its_cause(exc):
    """The answer itself, on an error of the user's own."""
    outer = ApiError("refused")
    outer.response = getattr(exc, "response", exc)
    return outer


PLACES = {
    plain: lambda exc: exc,
    as_cause: lambda exc: exc.__cause__,
    as_context: lambda exc: exc.__context__,
    in_a_group: lambda exc: exc.exceptions[1].exceptions[0].__cause__,
    as_attribute: lambda exc: exc.inner,
    as_argument: lambda exc: exc.args[1],
    of_its_cause: lambda exc: exc.response,
}


def body(exc) -> bytes:
    """As a handler reads it."""
    if isinstance(exc, urllib.error.HTTPError):
        return exc.read()
    return getattr(exc, "response", exc).content


def in_both_lives(exc, found) -> bytes:
    """The body as it is read in a later life, after it was seen that it is that of this life."""
    back = again(exc)
    first = body(found(exc))
    assert body(found(back)) == first
    return first


@pytest.mark.parametrize("place", list(PLACES), ids=lambda place: place.__name__)
@pytest.mark.parametrize("make", CLIENTS, ids=lambda make: make.__name__)
def test_a_body_that_was_not_read_is_kept_wherever_the_answer_hangs(make, place, connection):
    """On the error, its cause or context, a member of a group, an attribute or an argument."""
    exc = place(make(connection()))
    keep_bodies(exc)
    assert in_both_lives(exc, PLACES[place]) == BODY


@pytest.mark.parametrize("make", CLIENTS, ids=lambda make: make.__name__)
def test_a_body_that_does_not_come_is_cut_in_each_life(make, connection):
    """It is not waited for longer than is allowed, and what is read of it is the same in this life and the next."""
    exc = make(connection(announced=1_000))
    keep_bodies(exc, AT_ONCE)
    assert in_both_lives(exc, plain).endswith(CUT)


@pytest.mark.parametrize("make", CLIENTS, ids=lambda make: make.__name__)
def test_a_body_that_is_too_long_is_cut_in_each_life(make, connection):
    """No more of it is read than is kept, and its end says so."""
    exc = make(connection(b"a" * 200_000, announced=10**9))
    keep_bodies(exc)
    kept = in_both_lives(exc, plain)
    assert (len(kept), kept[-50:]) == (100_000, b"perdure keeps the first 100,000 bytes of a body ...]"[-50:])


@pytest.mark.parametrize("make", CLIENTS, ids=lambda make: make.__name__)
def test_a_body_that_breaks_off_says_so_in_each_life(make, connection):
    """The connection ends before the body does."""
    answer = connection(announced=1_000)
    exc = make(answer)
    answer.fp.raw._sock.shutdown(socket.SHUT_RD)
    keep_bodies(exc)
    assert in_both_lives(exc, plain).startswith((BODY, b"\n" + CUT))


def test_what_was_read_of_urllibs_answer_before_is_at_its_end_in_each_life(connection):
    """A step that has logged the body leaves nothing to read."""
    exc = of_urllib(connection())
    assert exc.read() == BODY
    keep_bodies(exc)
    assert in_both_lives(exc, plain) == b""


@pytest.mark.parametrize("make", CLIENTS, ids=lambda make: make.__name__)
def test_a_loop_goes_on_while_a_body_is_read(make, connection):
    """An async step is left by the error of a client that is not: the other tasks are not held up by its server."""
    exc = make(connection(announced=len(BODY) + 1))

    async def main() -> None:
        asyncio.get_running_loop().call_soon(connection.opened[0].sendall, b"!")
        await keep_bodies_in_loop(exc)

    asyncio.run(main())
    assert in_both_lives(exc, plain) == BODY + b"!"


def test_a_body_that_does_not_come_is_cut_for_a_loop_too(connection):
    """It ends with the same line as where a thread waits."""
    exc = of_urllib(connection(announced=1_000))
    asyncio.run(keep_bodies_in_loop(exc, AT_ONCE))
    assert in_both_lives(exc, plain).endswith(CUT)


@pytest.mark.parametrize("stuck", [False, True])
def test_the_body_of_an_awaited_answer_is_kept(stuck):
    """httpx's AsyncClient gives one that is read by waiting for it."""
    exc = as_cause(with_stream(AwaitedStream(BODY[:4], BODY[4:], stuck=stuck)))
    asyncio.run(keep_bodies_in_loop(exc, AT_ONCE if stuck else PATIENCE))
    kept = in_both_lives(exc, PLACES[as_cause])
    assert kept.endswith(CUT) if stuck else kept == BODY


def test_what_is_read_from_memory_is_left_as_it_is():
    """An error that a test has made, with a body of its own."""
    file = io.BytesIO(BODY)
    exc = urllib.error.HTTPError(URL, 409, "Conflict", http.client.HTTPMessage(), file)
    text = urllib.error.HTTPError(URL, 409, "Conflict", http.client.HTTPMessage(), io.StringIO("said"))
    keep_bodies(exc)
    keep_bodies(text)
    assert exc.fp is file
    assert text.read() == "said"
