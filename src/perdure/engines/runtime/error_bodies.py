"""Bodies that are on the connection still when a step fails: what the server says would be lost with it.

urllib's HTTPError, requests with `stream=True` and httpx's `send(stream=True)` leave the body where it is. A handler
would read it in this life, and find nothing in a later one. So it is read when the step has failed, wherever the answer
hangs: on the error, its cause, a member of a group (docs/decisions/0124-bodies-that-were-not-read.md).
"""

from __future__ import annotations

import io
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from typing import Any, TypeVar

from perdure.core.exceptions import rebuild
from perdure.core.exceptions.http_responses import LONGEST_BODY, bounded_body

T = TypeVar("T")

PATIENCE = 2.0
"""Seconds that are waited for the rest of all bodies on one error at most."""
CUT = b"\n[... perdure could not read the rest of this body ...]"
_CLIENTS = ("urllib.error", "requests", "httpx")
_MOST = 10_000
"""Errors that are looked at."""
_MOST_ITEMS = 100
_DEEPEST = 3
_CHUNK = 4_096


def keep_bodies(error: Exception, patience: float = PATIENCE) -> None:
    """Read the bodies of the answers that hang on an error, such that they can be read as before. Never raises.

    A body that does not come, or is too long, ends with a line that says so, in this life as in every later one. Those
    of httpx's `AsyncClient` are awaited by `keep_bodies_in_loop` alone.
    """
    if bodies := _bodies_of(error):
        with suppress(Exception):  # no thread can be started, say
            reader = _Reader(bodies)
            reader.thread.join(patience)
            reader.end()


async def keep_bodies_in_loop(error: Exception, patience: float = PATIENCE) -> None:
    """The same without blocking the loop of the caller; also for bodies that are awaited."""
    bodies, awaited = _bodies_of(error), _awaited_bodies_of(error)
    if not bodies and not awaited:
        return
    import asyncio

    from perdure.engines.runtime.loop_futures import settle_future
    from perdure.engines.runtime.workflow_timers import own_timers

    loop = asyncio.get_running_loop()
    read = loop.create_future()

    def over() -> None:
        with suppress(RuntimeError):  # the loop has been closed meanwhile
            loop.call_soon_threadsafe(settle_future, read)

    reader = None
    with suppress(Exception):  # as above
        reader = _Reader(bodies, over) if bodies else None
    waiting = [asyncio.ensure_future(_await_all(awaited)), *([read] if reader is not None else [])]
    try:
        with own_timers():
            await asyncio.wait(waiting, timeout=patience)
    finally:
        if reader is not None:
            reader.end()
        for body in awaited:
            body.end()
        for each in waiting:
            each.cancel()


async def with_bodies_kept(working: Awaitable[T]) -> T:
    """What is awaited; its error has its bodies."""
    try:
        return await working
    except Exception as error:
        await keep_bodies_in_loop(error)
        raise


class _Body:
    """A body that is being read: its `chunks`, and what takes the bytes in the end."""

    def __init__(self, chunks: Any, give: Callable[[bytes], None], holder: Any = None) -> None:
        self.chunks = chunks
        self.holder = holder
        self._give = give
        self._read = b""
        self._whole = False
        self._over = False
        from threading import Lock

        self._lock = Lock()

    def add(self, chunk: bytes) -> bool:
        """Whether more of it is wanted."""
        with self._lock:
            if not self._over:
                self._read += chunk
            return not self._over and len(self._read) <= LONGEST_BODY

    def finish(self) -> None:
        self._whole = True

    def end(self) -> bool:
        """Take what came as the body; whether that is all that there was, or all that is kept."""
        with self._lock:
            self._over = True
            whole = self._whole or len(self._read) > LONGEST_BODY
        with suppress(Exception):
            self._give(bounded_body(self._read if whole else self._read + CUT))
        return whole


class _Reader:
    """Reads bodies in a thread of its own: whatever they come from, they are waited for no longer than is allowed."""

    def __init__(self, bodies: list[_Body], over: Callable[[], None] = lambda: None) -> None:
        import threading

        self._bodies = bodies
        self._over = over
        self.thread = threading.Thread(target=self._read, name="perdure-bodies", daemon=True)
        self.thread.start()

    def _read(self) -> None:
        for body in self._bodies:
            with suppress(Exception):
                for chunk in body.chunks:
                    if not body.add(chunk):
                        break
                else:
                    body.finish()
            with suppress(Exception):
                body.chunks.close()
        self._over()

    def end(self) -> None:
        """Take what came; a connection from which nothing comes is shut down."""
        for body in self._bodies:
            if not body.end() and self.thread.is_alive():
                with suppress(Exception):
                    _shut(body.holder)  # what waits for it in the thread comes to its end


async def _await_all(bodies: Iterable[_Body]) -> None:
    for body in bodies:
        with suppress(Exception):
            async for chunk in body.chunks:
                if not body.add(chunk):
                    break
            else:
                body.finish()


def _bodies_of(error: Exception) -> list[_Body]:
    """Those that a thread can read."""
    if any(name in sys.modules for name in _CLIENTS):
        with suppress(Exception):  # an object of another library may do anything: its body stays where it is
            return [body for one in _answers(error) if (body := _body_of(one)) is not None]
    return []


def _awaited_bodies_of(error: Exception) -> list[_Body]:
    if "httpx" in sys.modules:
        with suppress(Exception):  # as above
            found = (one for one in _answers(error) if _is_open(one, "AsyncByteStream"))
            return [_Body(_of_httpx_awaited(one), partial(_give_httpx, one)) for one in found]
    return []


def _answers(error: Exception) -> Iterator[Any]:
    """What may be an answer: each error that is kept of `error`, and what hangs on those."""
    todo, seen = [error], {id(error)}
    for one in todo:
        yield one
        contents = object.__getattribute__(one, "__dict__")
        values = [*rebuild.attributes(one, contents).values(), *rebuild.get(BaseException, "args", one)]
        yield from _items(values, 0)
        linked = chain(
            [one.__cause__, None if one.__suppress_context__ else one.__context__],
            one.exceptions if isinstance(one, ExceptionGroup) else (),
            values,
        )
        for each in linked:
            if isinstance(each, Exception) and id(each) not in seen and len(seen) < _MOST:
                seen.add(id(each))
                todo.append(each)


def _items(values: Iterable[Any], depth: int) -> Iterator[Any]:
    for each in islice(values, _MOST_ITEMS):
        if type(each) in (list, tuple, dict) and depth < _DEEPEST:
            yield from _items(each.values() if type(each) is dict else each, depth + 1)
        elif not isinstance(each, Exception):
            yield each


def _body_of(one: Any) -> _Body | None:
    if _is(one, "urllib.error", "HTTPError"):
        held = vars(one)
        file = held.get("fp")
        if file is None or isinstance(file, io.BytesIO | io.TextIOBase) or not hasattr(file, "read"):
            return None
        return _Body(_of_file(file), lambda data: _give_file(held, data), file)
    if _is(one, "requests", "Response"):
        held = vars(one)
        if held["_content"] is not False or held["_content_consumed"] or one.raw is None:
            return None
        return _Body(_of_requests(one), lambda data: held.update(_content=data, _content_consumed=True), one.raw)
    if _is_open(one, "SyncByteStream"):
        stream = one.extensions.get("network_stream")
        return _Body(_of_httpx(one), lambda data: _give_httpx(one, data), stream)
    return None


def _of_file(file: Any) -> Iterator[bytes]:
    try:
        read = getattr(file, "read1", file.read)
        while chunk := read(_CHUNK):
            yield chunk
    finally:
        file.close()


def _give_file(held: dict[str, Any], data: bytes) -> None:
    for name in ("read", "readline", "readlines", "readinto", "read1", "peek", "seek", "tell"):
        held.pop(name, None)  # methods of the file before, which tempfile's wrapper keeps
    held["fp"] = held["file"] = io.BytesIO(data)


def _of_requests(answer: Any) -> Iterator[bytes]:
    try:
        yield from answer.iter_content(_CHUNK)
    finally:
        answer.raw.close()


def _of_httpx(answer: Any) -> Iterator[bytes]:
    try:
        yield from answer.iter_bytes()
    finally:
        answer.close()


async def _of_httpx_awaited(answer: Any) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_bytes():
            yield chunk
    finally:
        await answer.aclose()


def _give_httpx(answer: Any, data: bytes) -> None:
    answer._content = data
    answer.is_closed = answer.is_stream_consumed = True


def _is_open(one: Any, stream: str) -> bool:
    """Whether it is an answer of httpx that can still be read, by a stream of that kind."""
    return (
        _is(one, "httpx", "Response")
        and not hasattr(one, "_content")
        and not one.is_closed
        and not one.is_stream_consumed
        and _is(one.stream, "httpx", stream)
    )


def _is(one: Any, module: str, name: str) -> bool:
    """Whether it is an instance of a class of a module that is loaded."""
    cls = vars(sys.modules[module]).get(name) if module in sys.modules else None
    return isinstance(cls, type) and isinstance(one, cls)


def _shut(holder: Any) -> None:
    """Shut down the connection that is read from, if it is found."""
    find = getattr(holder, "get_extra_info", None)
    found = find("socket") if find is not None else None
    for name in ("_fp", "fp", "raw", "_sock"):
        holder = getattr(holder, name, holder)
    import socket

    with suppress(Exception):
        socket.socket.shutdown(holder if found is None else found, socket.SHUT_RDWR)
