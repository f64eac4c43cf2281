"""Servers of ours whose every answer would be late."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

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


def test_a_server_that_is_stopped_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks once in a while whether it is to end, so that it uses nothing while nobody asks; told so by another
    thread, it does not wait for the next look."""
    monkeypatch.setattr("perdure.http.listening.TICK", 10_000.0)

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("nobody asks")

    with listening("127.0.0.1", 0, 1) as listener:
        served = server(answer, 1)
        thread = threading.Thread(target=served.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        until(lambda: served.started, "the start")
        stop(served)
        thread.join(PATIENCE)
        assert not thread.is_alive()
