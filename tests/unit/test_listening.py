"""Servers of ours whose every answer would be late."""

from __future__ import annotations

import asyncio
import socket

from perdure.http.listening import listening


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
