"""What was posted: read up to a bound, and taken apart without trusting any of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qs

from perdure.core.values import plain_json

if TYPE_CHECKING:
    from starlette.requests import Request

LARGEST: Final = 1_000_000
"""Bytes of a body."""
SECONDS: Final = 30.0
"""How long a body may take to come."""
FIELDS: Final = 10
"""Fields of a form."""


class Refused(Exception):
    """A request that is not carried out: the status, and what to say."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Given(NamedTuple):
    """An answer as it was posted."""

    approved: bool
    by: str
    note: str


async def read(request: Request) -> bytes:
    """The body.

    Raises:
        Refused: it is too large, or does not come.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and len(announced) < 20 and int(announced) > LARGEST:
        raise Refused(413, "the body is larger than 1 MB")
    body = bytearray()
    try:
        async with asyncio.timeout(SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > LARGEST:
                    raise Refused(413, "the body is larger than 1 MB")
    except TimeoutError:
        raise Refused(408, "the body does not come") from None
    return bytes(body)


def as_json(body: bytes) -> Any:
    """The value that a body of JSON holds.

    Raises:
        Refused: it is no JSON, or empty: a probe, or a body that was lost on the way.
    """
    if not body.strip():
        raise Refused(422, "the body is empty: post JSON, null for nothing")
    try:
        return plain_json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Refused(422, "the body is not JSON in UTF-8") from None


def answer(body: bytes, kind: str) -> Given:
    """The answer to an approval: a form, or JSON such as {"approved": true, "by": "Ann", "note": "fine"}.

    Args:
        body: what was posted.
        kind: its media type.

    Raises:
        Refused: it is no answer.
    """
    if kind == "application/json":
        said = as_json(body)
        if not isinstance(said, dict) or not isinstance(said.get("approved"), bool):
            raise Refused(422, 'the answer does not fit: {"approved": true or false, "by": text, "note": text}')
        approved, by, note = said["approved"], said.get("by", ""), said.get("note", "")
    elif kind == "application/x-www-form-urlencoded":
        fields = _form(body)
        if fields.get("decision") not in ("approve", "reject"):
            raise Refused(422, "the form says neither approve nor reject")
        approved, by, note = fields["decision"] == "approve", fields.get("by", ""), fields.get("note", "")
    else:
        raise Refused(415, "the answer is neither a form nor JSON")
    if not isinstance(by, str) or not isinstance(note, str):
        raise Refused(422, "by and note are texts")
    return Given(approved, by.strip(), note.strip())


def _form(body: bytes) -> dict[str, str]:
    try:
        fields = parse_qs(
            body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=FIELDS
        )
    except ValueError:
        raise Refused(422, "the body is no form") from None
    if any(len(values) != 1 for values in fields.values()):
        raise Refused(422, "a field of the form stands there twice")
    return {name: value for name, (value,) in fields.items()}
