"""What is answered: structs as JSON, without credentials and hidden characters; errors as RFC 9457 has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from perdure.config import secrets
from perdure.core.redaction.printable import printable
from perdure.errors import (
    AlreadyDecided,
    AlreadyRunning,
    NotFound,
    OptionError,
    PerdureError,
    RunError,
    RunHasEnded,
    StateBusy,
    StateError,
    UsageError,
)

if TYPE_CHECKING:
    from starlette.responses import Response

STATUS: Final[tuple[tuple[type[PerdureError], int], ...]] = (
    (NotFound, 404),
    (AlreadyRunning, 409),
    (AlreadyDecided, 409),
    (RunHasEnded, 409),
    (StateBusy, 503),
    (StateError, 500),
    (OptionError, 422),
    (UsageError, 422),
    (RunError, 409),
)
"""The first that fits; else 500."""

LONGEST: Final = 65_536
"""Characters of one text."""


class Problem(msgspec.Struct, frozen=True):
    """An error (RFC 9457). `code`: of docs/errors.md or this server; `title`: what happened; `hint`: what to do."""

    status: int
    code: str
    title: str
    hint: str = ""


def problem(status: int, code: str, title: str, hint: str = "") -> Response:
    """An error as it is answered."""
    return _answer(Problem(status, code, title, hint), status, "application/problem+json")


def failure(error: PerdureError) -> Response:
    """An error of perdure's as it is answered."""
    status = next((status for kind, status in STATUS if isinstance(error, kind)), 500)
    return problem(status, type(error).code, error.what, error.hint)


def answer(value: Any, status: int = 200) -> Response:
    """A struct as it is answered."""
    return _answer(value, status, "application/json")


def _answer(value: Any, status: int, kind: str) -> Response:
    from starlette.responses import Response

    return Response(msgspec.json.encode(clean(value)), status, media_type=kind)


def clean(value: Any, longest: int | None = LONGEST) -> Any:
    """The same as builtins, without credentials, and with texts in which nothing is hidden from a reader.

    Args:
        value: what is answered.
        longest: characters of one text; None for all.
    """
    hide = secrets.redactor()

    def each(one: Any) -> Any:
        if isinstance(one, str):
            return (
                one
                if len(one) < 8 and one.isalnum()
                else printable(hide(one if longest is None else _cut(one, longest)))
            )
        if isinstance(one, dict):
            return {key if type(key) is not str else printable(key): each(inner) for key, inner in one.items()}
        return [each(inner) for inner in one] if isinstance(one, list) else one

    return each(msgspec.to_builtins(value))


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]} ... {len(text) - longest:,} characters more"
