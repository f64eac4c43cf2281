"""Takes credentials out of nested values, such as the arguments of an exception, before they are stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from perdure.core.redaction.names import HIDDEN, is_mixed, is_secret

Hide = Callable[[str], str]

_CLEAR: Final = frozenset({type(None), bool, int, float, complex})
_NUMBERS: Final = frozenset({int, float, complex})
_DEEPEST: Final = 300

_OPEN, _SECRETS, _SECRET = range(3)
"""Where a value lies: anywhere, under the plural of a secret name ("passwords"), or under a secret name."""


class NotRedactable(Exception):
    """The value holds a credential in a place where it cannot be taken out."""


def redact_nested(value: Any, hide: Hide, name: str = "", depth: int = 0, within: int = _OPEN) -> Any:
    """`value` without the credentials in its texts: itself if there are none, else a copy of the same types.

    Args:
        value: builtins of any depth; what else there is comes back as it is, if it shows no credential.
        hide: takes credentials out of a text.
        name: of the value; the text under a name such as "password" is hidden whatever it is. So is a number, in a
            dict.
        depth: how deep the value lies.
        within: whether it lies in a list or a dict under such a name, where texts are hidden too; for this function.

    Raises:
        NotRedactable: a credential cannot be taken out.
    """
    kind = type(value)
    if kind in _CLEAR:
        return HIDDEN if depth and kind in _NUMBERS and name and is_secret(name) else value
    if kind is str:
        return HIDDEN if value and _marked(value, name, within) else hide(value)
    if kind is bytes or kind is bytearray:
        return _bytes(value, hide, name, within)
    if depth >= _DEEPEST:
        raise NotRedactable
    within = within_of(name, within)
    if kind is dict:
        return _dict(value, hide, depth, within)
    if kind in (list, tuple, set, frozenset):
        inner = [redact_nested(each, hide, "", depth + 1, within) for each in value]
        return value if all(map(_same, inner, value)) else kind(inner)
    # Of other kinds it is only known how they look.
    shown = repr(value)
    if hide(shown) != shown:
        raise NotRedactable
    return value


def within_of(name: str, outer: int = 0) -> int:
    """What `redact_nested` is to be given as `within` for what lies in a list or a dict.

    Args:
        name: of the list or the dict.
        outer: what it lies in itself.
    """
    if not name or outer == _SECRET:
        return outer
    if is_secret(name):
        return _SECRET
    return _SECRETS if name.lower().endswith("s") and is_secret(name[:-1]) else outer


def _marked(text: str, name: str, within: int) -> bool:
    """Does where it stands say that it is secret?"""
    return within == _SECRET or (within == _SECRETS and is_mixed(text)) or bool(name and is_secret(name))


def _dict(value: dict[Any, Any], hide: Hide, depth: int, within: int) -> dict[Any, Any]:
    inner = {
        redact_nested(key, hide, "", depth + 1): redact_nested(
            each, hide, key if type(key) is str else "", depth + 1, within
        )
        for key, each in value.items()
    }
    same = len(inner) == len(value) and all(
        _same(key, mine) and _same(each, its)
        for (key, each), (mine, its) in zip(inner.items(), value.items(), strict=True)
    )
    return value if same else inner


def _bytes(value: bytes | bytearray, hide: Hide, name: str, within: int) -> bytes | bytearray:
    text = value.decode("latin-1")
    # A secret with letters beyond ASCII is known as text, and stands here as UTF-8.
    wide = value.decode("utf-8", "surrogateescape")
    if value and _marked(text, name, within):
        return type(value)(HIDDEN.encode())
    hidden = hide(wide)
    if hidden != wide:
        return type(value)(hidden.encode("utf-8", "surrogateescape"))
    hidden = hide(text)
    return value if hidden == text else type(value)(hidden.encode("latin-1"))


def _same(one: Any, other: Any) -> bool:
    return one is other or (type(one) in (str, bytes, bytearray) and one == other)
