"""Futures of an event loop that somebody may give up at any moment: a handler of SIGINT runs between any two lines."""

from __future__ import annotations

from asyncio import Future, InvalidStateError
from contextlib import suppress
from typing import Any


def settle_future(future: Future[Any], value: object = None, error: BaseException | None = None) -> None:
    """Let whoever waits for it go on, if somebody still does.

    Args:
        future: of a loop, on its thread.
        value: its result.
        error: what is raised instead.
    """
    with suppress(InvalidStateError):
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
