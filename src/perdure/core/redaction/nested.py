"""Takes credentials out of nested values, such as the arguments of an exception, before they are stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from perdure.core.redaction.names import is_secret
from perdure.core.redaction.text import HIDDEN

Hide = Callable[[str], str]

_CLEAR: Final = frozenset({type(None), bool, int, float, complex})
_DEEPEST: Final = 300


class NotRedactable(Exception):
    """The value holds a credential in a place where it cannot be taken out."""


def redact_nested(value: Any, hide: Hide, name: str = "", depth: int = 0) -> Any:
    """`value` without the credentials in its texts: itself if there are none, else a copy of the same types.

    Args:
        value: builtins of any depth; what else there is comes back as it is, if it shows no credential.
        hide: takes credentials out of a text.
        name: of the value; the text under a name such as "password" is hidden whatever it is.
        depth: how deep the value lies.

    Raises:
        NotRedactable: a credential cannot be taken out.
    """
    kind = type(value)
    if kind in _CLEAR:
        return value
    if kind is str:
        return HIDDEN if value and name and is_secret(name) else hide(value)
    if kind is bytes or kind is bytearray:
        return _bytes(value, hide, name)
    if depth >= _DEEPEST:
        raise NotRedactable
    if kind is dict:
        return _dict(value, hide, depth)
    if kind in (list, tuple, set, frozenset):
        inner = [redact_nested(each, hide, name, depth + 1) for each in value]
        return value if all(map(_same, inner, value)) else kind(inner)
    # Of other kinds it is only known how they look.
    shown = repr(value)
    if hide(shown) != shown:
        raise NotRedactable
    return value


def _dict(value: dict[Any, Any], hide: Hide, depth: int) -> dict[Any, Any]:
    inner = {
        redact_nested(key, hide, "", depth + 1): redact_nested(each, hide, key if type(key) is str else "", depth + 1)
        for key, each in value.items()
    }
    same = len(inner) == len(value) and all(
        _same(key, mine) and _same(each, its)
        for (key, each), (mine, its) in zip(inner.items(), value.items(), strict=True)
    )
    return value if same else inner


def _bytes(value: bytes | bytearray, hide: Hide, name: str) -> bytes | bytearray:
    text = value.decode("latin-1")
    # A secret with letters beyond ASCII is known as text, and stands here as UTF-8.
    wide = value.decode("utf-8", "surrogateescape")
    if value and name and is_secret(name):
        return type(value)(HIDDEN.encode())
    hidden = hide(wide)
    if hidden != wide:
        return type(value)(hidden.encode("utf-8", "surrogateescape"))
    hidden = hide(text)
    return value if hidden == text else type(value)(hidden.encode("latin-1"))


def _same(one: Any, other: Any) -> bool:
    return one is other or (type(one) in (str, bytes, bytearray) and one == other)
