"""Servers of ours whose every answer would be late."""

from __future__ import annotations

import asyncio
import socket
import threading
from email.utils import parsedate_to_datetime
from typing import Any

from perdure.http.listening import listening, server, stop
from waiting import PATIENCE, until


async def accepted() -> bool:
    """Does a connection that asyncio accepts from it send what it has at once?"""
    told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told.set_result(bool(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)))
        writer.close()

    listener = listening("127.0.0.1", 0, 1)
    async with await asyncio.start_server(connected, sock=listener):
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        try:
            return await told
        finally:
            await reader.read()
            writer.close()
            await writer.wait_closed()


def test_no_answer_waits_for_an_acknowledgement() -> None:
    """Nagle's algorithm is off: head and body of an answer go out as they are written."""
    assert asyncio.run(accepted())


async def answer(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("nobody asks")


def test_a_server_that_is_stopped_ends_at_once() -> None:
    """It does nothing while nobody asks; told by another thread that it is to end, it does."""
    with listening("127.0.0.1", 0, 1) as listener:
        served = server(answer, 1)
        thread = threading.Thread(target=served.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        until(lambda: served.started, "the start")
        stop(served)
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_the_date_of_an_answer_is_that_of_the_answer() -> None:
    """Not that of the last moment at which the server was awake; what else all answers say stays."""
    state = server(answer, 1).server_state
    state.default_headers = [(b"date", b"long ago"), (b"x-kept", b"1")]
    (date, value), *others = state.default_headers
    assert (date, others) == (b"date", [(b"x-kept", b"1")])
    assert parsedate_to_datetime(value.decode()).tzinfo is not None
