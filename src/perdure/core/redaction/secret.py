"""`Secret`: a credential that is neither stored nor printed."""

from __future__ import annotations

import weakref
from typing import Any, Generic, NoReturn, TypeVar, final

from perdure.errors import OptionError

T = TypeVar("T", str, bytes)

SHOWN = "Secret('***')"


@final
class Secret(Generic[T]):
    """A credential that is neither stored nor printed: `Secret(os.environ["API_KEY"])`.

    As an argument of a step or a workflow it is not stored, and does not count when inputs are compared: a key that is
    rotated between a failure and the re-run does not make it another call. It prints as `Secret('***')`. It cannot be
    returned from a step, pickled, or converted to JSON. As long as it exists, perdure redacts its value in all text
    that it stores, shows or sends.

    Args:
        value: the credential, as str or bytes.

    Raises:
        OptionError: the value has another type.
    """

    __slots__ = ("__weakref__", "_value")

    def __init__(self, value: T) -> None:
        if type(value) not in (str, bytes):
            raise OptionError(f"a Secret is made of a value of type {type(value).__qualname__}", "give a str or bytes")
        self._value: T = value
        number = id(self)

        def gone(_: object) -> None:
            _living.pop(number, None)

        _living[number] = weakref.ref(self, gone)

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("a Secret has no subclasses: they could store or print what it holds")

    def reveal(self) -> T:
        """The credential, as it was given."""
        return self._value

    def __repr__(self) -> str:
        return SHOWN

    def __format__(self, spec: str) -> str:
        return SHOWN

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        """Whether the other is a Secret of the same value, compared in constant time (hmac.compare_digest)."""
        if not isinstance(other, Secret):
            return NotImplemented
        from hmac import compare_digest  # here, since `import perdure` does not need it

        mine, its = self._value, other._value
        return type(mine) is type(its) and compare_digest(_bytes(mine), _bytes(its))

    def __hash__(self) -> int:
        return hash(self._value)

    def __copy__(self) -> Secret[T]:
        return self

    def __deepcopy__(self, memo: Any) -> Secret[T]:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret is never stored: pass on what it was read from, such as the name of the variable")


def living() -> list[str]:
    """The values of the Secrets that exist, as text."""
    held = [reference() for reference in list(_living.values())]
    return [_text(secret.reveal()) for secret in held if secret is not None]


_living: dict[int, weakref.ref[Secret[Any]]] = {}


def _bytes(value: str | bytes) -> bytes:
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")
