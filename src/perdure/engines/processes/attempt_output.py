"""What an attempt in another process says while it is under way, where it was ordered: its lines, how far it is."""

from __future__ import annotations

import msgspec

from perdure.engines.interface import StepContext, here
from perdure.engines.processes.messages import Logged, Note, Printed, Progressed, Published, Unsaved
from perdure.engines.runtime import captured_lines, unsaved

_decode = msgspec.msgpack.Decoder(Note).decode


def hear(body: memoryview) -> None:
    """Do with a note what would have been done if the attempt were made here.

    Raises:
        StateError: what is published cannot be written.
    """
    note, context = _decode(body), here.get()
    match note:
        case Printed():
            captured_lines.keep(note.level, note.logger, note.text)
        case Logged():
            _log(note)
        case Progressed() if isinstance(context, StepContext) and context.scope is not None:
            total = None if note.total is None else _plain(note.total)
            context.scope.progress(context.call, _plain(note.done), total, note.note)
        case Unsaved() if isinstance(context, StepContext):
            unsaved.nested_elsewhere(context.scope, note.step, note.around, note.line)
        case Published() if isinstance(context, StepContext):
            publish = getattr(context.scope, "publish", None)
            if publish is not None:
                publish(note.name, note.value, soon=note.soon)


def levels() -> list[tuple[str, int]]:
    """The levels that loggers have here, by name; "" is the root."""
    import sys

    if "logging" not in sys.modules:
        return []
    import logging

    known = list(logging.Logger.manager.loggerDict.items())
    named = [(name, one.level) for name, one in known if isinstance(one, logging.Logger) and one.level]
    return [("", logging.root.level), *named]


def _log(note: Logged) -> None:
    """Log it here, by the levels and handlers of this process; what wraps logging keeps it."""
    import logging

    captured_lines.wrap()
    logger = logging.getLogger(note.logger)
    if not logger.isEnabledFor(note.level):
        return
    record = logger.makeRecord(note.logger, note.level, note.path, note.line, "%s", (note.text,), None, note.function)
    record.created = note.created
    logger.handle(record)


def _plain(number: float) -> float:
    return int(number) if number.is_integer() else number
