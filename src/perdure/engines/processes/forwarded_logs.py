"""What processes of attempts log and write to standard error, where the one that orders writes lines of JSON.

There, nothing but such lines may come, without credentials: records go to the process that has ordered the attempt,
whose handlers write them, and what belongs to no attempt becomes a line of JSON here.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from perdure.engines.interface import StepContext, here
from perdure.engines.observers import json_logs
from perdure.engines.runtime import captured_lines

if TYPE_CHECKING:
    import logging

    from perdure.engines.observers.json_stderr import JsonLines

RECORDS = 1
STDERR = 2
"""What is forwarded: records alone, or what is written to standard error too."""

_lines: list[JsonLines] = []


def wanted() -> int:
    """What processes that make attempts for this one have to forward; 0: nothing."""
    if "logging" not in sys.modules or not json_logs.is_json():
        return 0
    from perdure.engines.observers.json_stderr import JsonLines

    return STDERR if isinstance(sys.stderr, JsonLines) else RECORDS


def set_up(what: int) -> None:
    """Forward that; to be called before the script is loaded, whose `logging.basicConfig` then does nothing, as it does
    in the process that orders."""
    if not what or json_logs.is_json():
        return
    import logging

    stderr = sys.stderr
    json_logs.as_json(stderr)
    for handler in logging.root.handlers:
        formatter: object = handler.formatter
        if isinstance(formatter, json_logs.JsonFormatter):
            _forward(handler)
    captured_lines.wrap()
    if what == STDERR:
        from perdure.engines.observers.json_stderr import JsonLines

        sys.stderr = JsonLines(stderr)
        _lines.append(sys.stderr)


def end_line() -> None:
    """What was written to standard error without the end of its line is a line."""
    for each in _lines:
        each.end()


def _forward(handler: logging.Handler) -> None:
    write = handler.emit

    def emit(record: logging.LogRecord) -> None:
        context = here.get()
        if type(context) is StepContext and context.orderer is not None:
            setattr(record, captured_lines.FORWARDED, True)
            context.orderer.log(record, captured_lines.text_of(record))
        else:
            write(record)

    handler.emit = emit  # type: ignore[method-assign]
