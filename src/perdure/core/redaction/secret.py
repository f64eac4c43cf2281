"""A value that is neither stored nor printed."""

from __future__ import annotations

import hmac
import weakref
from typing import Any, Generic, NoReturn, TypeVar, final

from perdure.errors import OptionError

T = TypeVar("T", str, bytes)

SHOWN = "Secret('***')"


@final
class Secret(Generic[T]):
    """Wraps a credential, so that a step can be given it without its being written down anywhere.

    As an argument of a step or workflow it is left out of what is stored and out of what makes two calls the same: a
    key that is rotated between a failure and the re-run makes no other call. It prints as `Secret('***')`, cannot be
    returned from a step, pickled or made into JSON, and while it lives perdure hides its value in every text that it
    stores, shows or sends.

    Args:
        value: the credential, as str or bytes.

    Raises:
        OptionError: it is something else.
    """

    __slots__ = ("__weakref__", "_value")

    def __init__(self, value: T) -> None:
        if type(value) not in (str, bytes):
            raise OptionError(
                f"a Secret was made of a value of type {type(value).__qualname__}", "give it a str or bytes"
            )
        self._value: T = value
        number = id(self)

        def gone(_: object) -> None:
            _living.pop(number, None)

        _living[number] = weakref.ref(self, gone)

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("a Secret has no subclasses: they could store or print what it holds")

    def reveal(self) -> T:
        """The value itself."""
        return self._value

    def __repr__(self) -> str:
        return SHOWN

    def __format__(self, spec: str) -> str:
        return SHOWN

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        """Whether the other is a Secret of the same value; takes as long for a near miss as for a far one."""
        if not isinstance(other, Secret):
            return NotImplemented
        mine, its = self._value, other._value
        return type(mine) is type(its) and hmac.compare_digest(_bytes(mine), _bytes(its))

    def __hash__(self) -> int:
        return hash(self._value)

    def __copy__(self) -> Secret[T]:
        return self

    def __deepcopy__(self, memo: Any) -> Secret[T]:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret is never written down: hand on what it was read from, such as the variable's name")


def living() -> list[str]:
    """The values of the Secrets that exist, as text."""
    held = [reference() for reference in list(_living.values())]
    return [_text(secret.reveal()) for secret in held if secret is not None]


_living: dict[int, weakref.ref[Secret[Any]]] = {}


def _bytes(value: str | bytes) -> bytes:
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")
