"""The addresses that act; where nothing may be changed they do not exist. None of them loads a user's code."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from perdure.operations import approvals, breakers
from perdure.web.endpoints import Desk, Endpoint, Nothing

Names = dict[str, str]

REMEMBERED: Final = 1_000
"""Deeds whose answers are kept, so that one which is asked for again is not done again."""


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An answer to what a run asks: a note for the workflow; a part of the title, if the run asks several things."""

    note: Annotated[str, Meta(max_length=10_000)] = ""
    title: Annotated[str, Meta(max_length=1_000)] = ""


class Changed(msgspec.Struct, frozen=True):
    """A circuit breaker, and how it is now."""

    name: str
    state: str


def approve(desk: Desk, names: Names, given: Said) -> approvals.AnswerView:
    """Say yes to what a run asks."""
    return approvals.answer(desk.location, names["run"], True, note=given.note, title=given.title)


def reject(desk: Desk, names: Names, given: Said) -> approvals.AnswerView:
    """Say no to what a run asks."""
    return approvals.answer(desk.location, names["run"], False, note=given.note, title=given.title)


def reset(desk: Desk, names: Names, given: Nothing) -> Changed:
    """Close a breaker, and end the pause of its service."""
    breakers.change_breaker(desk.location, names["name"], "reset")
    return Changed(names["name"], "closed")


def isolate(desk: Desk, names: Names, given: Nothing) -> Changed:
    """Let no call through a breaker until it is reset."""
    breakers.change_breaker(desk.location, names["name"], "isolate")
    return Changed(names["name"], "isolated")


ENDPOINTS: Final = (
    Endpoint("POST", "/runs/{run}/approve", "Say yes to what it asks", Said, approvals.AnswerView, approve),
    Endpoint("POST", "/runs/{run}/reject", "Say no to what it asks", Said, approvals.AnswerView, reject),
    Endpoint("POST", "/services/{name}/reset", "Close a breaker, and end a pause", Nothing, Changed, reset),
    Endpoint("POST", "/services/{name}/isolate", "Let no call through until it is reset", Nothing, Changed, isolate),
)


class Deeds:
    """What was done, by the key that it was asked for with: one at a time, and each once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[str, tuple[int, str, bytes]]] = OrderedDict()

    def once(self, key: str, request: str, do: Callable[[], tuple[int, str, bytes]]) -> tuple[int, str, bytes] | None:
        """The answer to a deed, which is done unless it was before.

        Args:
            key: what the client calls it.
            request: what is asked for.
            do: does it, and returns status, media type and body.

        Returns:
            The answer; None if something else was asked for under that key.
        """
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                return known[1] if known[0] == request else None
            done = do()
            if done[0] < 500:
                self._known[key] = (request, done)
                while len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
            return done
