"""An exception as data, and back: what is kept of a failure, and the exception that a resumed run raises again.

`fault` is the data, `to_fault` and `to_record` take an exception apart, `from_fault` puts one together, `rebuild` makes
the instances.

Credentials are taken out of everything that is kept of it (docs/decisions/0009-secrets.md).

`except SomeError` around a step has to behave on resume as on the first run, so the class has to be the same one. Yet
data must never name code. docs/decisions/0003-exceptions-as-data.md says how both hold: nothing is imported or looked
up in a module, only exception classes that this process has loaded anyway are considered, and none is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from perdure.core.exceptions.fault import Fault, decode, encode

if TYPE_CHECKING:
    from perdure.core.exceptions.to_fault import Hide

__all__ = ["Fault", "add_output", "decode", "encode", "hide_with", "restore", "to_fault", "to_record"]


def _by_shape() -> Hide:
    from perdure.core.redaction.text import redact  # here, since most runs never fail

    return redact


_hiding: Callable[[], Hide] = _by_shape


def hide_with(source: Callable[[], Hide]) -> None:
    """Set the function that gives the redactor of this process: what takes its secrets out of a text.

    Args:
        source: asked anew for every exception; what it gives takes a text and hides the credentials in it.
    """
    global _hiding
    _hiding = source


def to_fault(exc: Exception) -> Fault:
    """What people are shown of `exc`, without the credentials in it. Never raises, however odd the exception.

    Of texts of more than 100,000 characters the middle is left out.
    """
    from perdure.core.exceptions.to_fault import record  # here, since most runs never fail

    return record(exc, _hiding())


def to_record(exc: Exception, main: str) -> tuple[bytes, Exception]:
    """What later lives of the run are given of `exc`, without credentials, and what this life is to be given.

    That is `exc`, unless it holds more text than is kept: then it is what later lives are given. A handler that passes
    the message on, or decides by it, goes the same way in each of them.

    Args:
        exc: what a step has failed with for good.
        main: as in `restore`.
    """
    from perdure.core.exceptions.to_fault import MOST_TEXT, record  # as above

    fault = record(exc, _hiding(), MOST_TEXT)
    if fault.shortened:
        exc = restore(fault, main=main).with_traceback(exc.__traceback__)
    return encode(fault), exc


def add_output(exc: Exception) -> None:
    """Add to the notes of an exception what the command or the server that has failed says, redacted and bounded."""
    from perdure.core.exceptions import notes
    from perdure.core.exceptions.output import notes_of  # as above

    for line in notes_of(exc, _hiding()):
        if line not in notes.of(exc):
            notes.add(exc, line)


def restore(fault: Fault, *, main: str = "__main__") -> Exception:
    """An exception that behaves as the recorded one did: same class, message, arguments and attributes.

    Where its class is not loaded, it is of a new class with the recorded name, below the nearest base class that is.

    Args:
        fault: the recorded exception.
        main: the name under which the script is imported elsewhere; a class of `__main__` and one of this module are
            taken for the same.

    Raises:
        errors.NotDecodable: a packed value in the fault is damaged.
    """
    from perdure.core.exceptions.from_fault import restored  # as above

    return restored(fault, main)
