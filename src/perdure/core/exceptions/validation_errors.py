"""pydantic's ValidationError, which only a constructor of its own can make, taken apart and made again.

It is written in Rust. Its constructor takes what its `errors()` gives, line by line.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

_MOST = 10_000


def content_of(
    exc: Exception, pack: Callable[[str, Any], bytes | None], show: Callable[[Any], str]
) -> dict[str, Any] | None:
    """What a ValidationError is made of; None for other exceptions.

    Args:
        exc: the exception.
        pack: gives the bytes of a value, without credentials, or None if it cannot be stored.
        show: gives the repr() of such a value.
    """
    cls = _class()
    if cls is None or type(exc) is not cls:
        return None
    reduced: Any = exc.__reduce__()
    title, lines, kind, hide = reduced[1]
    return {
        "title": title,
        "kind": kind,
        "hide": hide,
        "lines": [_taken(line, pack, show) for line in lines[:_MOST]],
    }


def restore(
    content: dict[str, Any], unpack: Callable[[bytes], Any], lost: type, known: list[type[Exception]]
) -> Exception | None:
    """The ValidationError; None if pydantic is not loaded, or does not take these parts."""
    cls = _class()
    if cls is None or cls not in known:
        return None
    lines = [_made(line, unpack, lost) for line in content["lines"]]
    for each in (lines, [_plain(line) for line in lines]):
        try:
            exc: Exception = cls.from_exception_data(
                content["title"], each, input_type=content["kind"], hide_input=content["hide"]
            )
        except Exception:  # noqa: BLE001, S112  a kind of error, or a context, that this pydantic does not know
            continue
        exc.args = ()
        return exc
    return None


def _class() -> Any:
    return getattr(sys.modules.get("pydantic_core"), "ValidationError", None)


def _taken(
    line: dict[str, Any], pack: Callable[[str, Any], bytes | None], show: Callable[[Any], str]
) -> dict[str, Any]:
    given = line.get("input")
    context = line.get("ctx") or {}
    packed = {name: pack(name, str(one) if isinstance(one, Exception) else one) for name, one in context.items()}
    where = line["loc"][-1] if line["loc"] else ""
    kind = line["type"]  # a text, or an error of a validator's own
    return {
        "type": kind if isinstance(kind, str) else str(kind.type),
        "loc": list(line["loc"]),
        "msg": line["msg"],
        "input": pack(str(where), given),
        "shown": [type(given).__name__, show(given)],
        "context": {name: data for name, data in packed.items() if data is not None},
    }


def _made(line: dict[str, Any], unpack: Callable[[bytes], Any], lost: type) -> dict[str, Any]:
    kind, text = line["shown"]
    # Of an input that could not be stored, the text is kept; it is shown as of the type that it had.
    given = unpack(line["input"]) if line["input"] is not None else type(str(kind), (lost,), {})(text)
    context = {name: unpack(data) for name, data in line["context"].items()}
    if line["type"] in ("value_error", "assertion_error") and "error" in context:
        context["error"] = (ValueError if line["type"] == "value_error" else AssertionError)(context["error"])
    made = {"type": line["type"], "loc": tuple(line["loc"]), "input": given, "msg": line["msg"]}
    if context:
        made["ctx"] = context
    return made if _is_known(made) else _plain(made)


def _is_known(line: dict[str, Any]) -> bool:
    core: Any = sys.modules.get("pydantic_core")
    try:
        core.PydanticKnownError(line["type"], line.get("ctx"))
    except Exception:  # noqa: BLE001  a kind of a validator's own
        return False
    return True


def _plain(line: dict[str, Any]) -> dict[str, Any]:
    """The line with an error of pydantic's that says the same text whatever its kind."""
    core: Any = sys.modules.get("pydantic_core")
    if not isinstance(line["type"], str):
        return line
    text = line["msg"].replace("{", "{{").replace("}", "}}") if "ctx" not in line else line["msg"]
    return {**line, "type": core.PydanticCustomError(line["type"], text, line.get("ctx"))}
