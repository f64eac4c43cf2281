"""Exceptions of all kinds that tests keep and get back."""

from __future__ import annotations

import abc
import dataclasses

from perdure.core.exceptions import capture
from perdure.core.exceptions.capture import restore, to_fault


def again(exc: Exception, main: str = "__main__") -> Exception:
    """`exc` as a resumed run gets it."""
    return restore(capture.decode(capture.encode(to_fault(exc))), main=main)


def raised(function) -> Exception:
    try:
        function()
    except Exception as exc:
        return exc
    raise AssertionError("nothing was raised")


class Declined(Exception):
    """Its constructor takes other arguments than it hands on."""

    def __init__(self, code, *, reason):
        super().__init__(f"declined: {reason}")
        self.code = code
        self.reason = reason


class OwnText(Exception):
    def __init__(self, order, connection):
        self.order = order
        self.connection = connection

    def __str__(self):
        return f"order {self.order} over {self.connection.name}"


class Connection:
    name = "tcp"


@dataclasses.dataclass(frozen=True)
class FrozenError(Exception):
    number: int


class Slotted(Exception):
    __slots__ = ("place",)

    def __init__(self, place):
        self.place = place


class Both(ValueError, OSError):
    pass


class Batch(ExceptionGroup):
    def __new__(cls, message, members, extra):
        self = super().__new__(cls, message, members)
        self.extra = extra
        return self

    def __init__(self, message, members, extra):
        super().__init__(message, members)


class AbstractError(Exception, abc.ABC):
    pass
