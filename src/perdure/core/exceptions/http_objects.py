"""The objects of HTTP clients that hang on an exception, taken apart into plain values and built again.

Handlers decide by `exc.request.url`, `exc.response.headers`, `exc.read()`. Once the exception was read back, those are
objects of the client's own class again: made by its constructor, of what was kept. Which classes there are is written
in `http_parts`; what was saved chooses among them, and nothing is imported
(docs/decisions/0115-objects-of-http-clients.md).
"""

from __future__ import annotations

import sys
from types import FunctionType
from typing import Any, Final

from perdure.core.exceptions.http_parts import KINDS, Fields, Hide
from perdure.core.exceptions.recorded_objects import RecordedObject

LONGEST: Final = 400_000
"""Bytes that are kept of one such object: bodies of the response and the request, headers, and redirects."""
_WRAPPER = ("file", "name", "delete", "_closer")
"""What urllib's HTTPError holds of its `fp` a second time."""


def label_of(cls: type) -> str | None:
    """The label of a class whose instances are taken apart here; None for every other class."""
    return next((label for label in KINDS if _class(label) is cls), None)


def taken(label: str, value: Any, hide: Hide) -> Fields:
    """What an instance of the class of that label is made of: plain values, and other such instances."""
    return KINDS[label][0](value, hide)


def is_label(label: str) -> bool:
    """Whether `made` takes the label."""
    return label in KINDS


def made(label: str, fields: Fields) -> Any:
    """The instance that `taken` took apart; what stands in for it where its class is not loaded, or refuses the parts.

    Args:
        label: of its class.
        fields: as they were saved; damaged ones do no harm.
    """
    _, make, stand_in = KINDS[label]
    for one in (make, stand_in):
        try:
            if one is stand_in or _class(label) is not None:
                return one(_class(label), fields)
        except Exception:  # noqa: BLE001, S112  a version of the library that takes other parts; or damaged data
            continue
    return RecordedObject(fields, label.rpartition(":")[2])


def without_wrapper(exc: Exception, attributes: Fields) -> Fields:
    """The attributes of an exception, without what urllib's HTTPError is given by `complete`."""
    if not _is_of_urllib(exc):
        return attributes
    return {
        name: value
        for name, value in attributes.items()
        # Methods of its file, which are kept at hand once they were used.
        if name not in _WRAPPER and not (type(value) is FunctionType and hasattr(value, "_closer"))
    }


def complete(exc: Exception) -> None:
    """Make urllib's HTTPError readable as the file that it is; does nothing to other exceptions."""
    file = vars(exc).get("fp") if _is_of_urllib(exc) else None
    if type(file) is _class("io:BytesIO"):
        _class_at("urllib.response", "addbase").__init__(exc, file)
    elif file is not None:  # a stand-in, which says of what is read that it was not kept
        vars(exc)["file"] = file


def _is_of_urllib(exc: Exception) -> bool:
    cls = _class_at("urllib.error", "HTTPError")
    return cls is not None and isinstance(exc, cls)


def _class(label: str) -> Any:
    module, _, name = label.partition(":")
    return _class_at(module, name)


def _class_at(module: str, name: str) -> Any:
    """The class of that name in a module that is loaded, read past a module's `__getattr__`."""
    found = vars(sys.modules[module]).get(name) if module in sys.modules else None
    return found if isinstance(found, type) else None
