"""What an address of the API is: its method and path, what is asked, what is answered, and who answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import Meta

from perdure.errors import NotFound
from perdure.operations.location import Location
from perdure.web.jobs import Jobs

PREFIX: Final = "/api/v1"

LIMIT: Final = 200
"""Of a list, at most."""

LARGEST: Final = 10**15
"""Of the numbers that are asked for: of records, and of moments and times."""

Limit = Annotated[int, Meta(ge=1, le=LIMIT)]
Names = dict[str, str]


class Desk(msgspec.Struct, frozen=True):
    """Where the answers come from.

    Attributes:
        location: the state file.
        read_only: nothing may be changed.
        jobs: the commands that were started.
    """

    location: Location
    read_only: bool
    jobs: Jobs


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing is asked besides the address."""


class Endpoint(NamedTuple):
    """An address of the API.

    Attributes:
        method: of HTTP.
        path: behind the prefix, with names in braces.
        summary: a sentence.
        query: what may be asked, in the address or (of those that act) in the body; it forbids unknown fields.
        answer: the type of what is answered.
        handle: given the desk, the names of the path and the query, answers.
    """

    method: str
    path: str
    summary: str
    query: type[msgspec.Struct]
    answer: Any
    handle: Callable[[Desk, dict[str, str], Any], Any]


def asked(query: type[msgspec.Struct], given: dict[str, str]) -> Any:
    """A query as it was asked, checked.

    Raises:
        msgspec.ValidationError: it does not fit.
    """
    return bounded(msgspec.convert(given, query, strict=False))


def bounded(given: Any) -> Any:
    """What is asked, if every number in it is one that a record may hold.

    Raises:
        msgspec.ValidationError: one is not finite, or too large.
    """
    for name in given.__struct_fields__:
        value = getattr(given, name)
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, int | float) and not abs(one) <= LARGEST:
                raise msgspec.ValidationError(f"Expected a number of at most {LARGEST:,} - at `$.{name}`")
    return given


def number(text: str, what: str) -> int:
    """A number as an address has it.

    Raises:
        NotFound: it is none.
    """
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise NotFound(f"{text!r} is the number of no {what}", "give a number")
    return int(text)
