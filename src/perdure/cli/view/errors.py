"""How what goes wrong is shown: the user's own error as Python would, perdure's own as what and what to do."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import perdure
from perdure.cli.exit_codes import FAILED, USAGE
from perdure.cli.view.terminal import Printer, as_json, safe
from perdure.config import secrets
from perdure.core.exceptions import notes
from perdure.errors import PerdureError, UsageError

if TYPE_CHECKING:
    import traceback

_OURS = str(Path(perdure.__file__).parent) + os.sep
_MACHINERY = tuple(str(Path(os.__file__).parent / part) for part in ("asyncio", "threading.py", "concurrent"))


def show_error(error: PerdureError, *, json: bool = False) -> int:
    """An error of perdure's own; returns the exit code that it deserves.

    Args:
        error: which.
        json: on standard output, too, as one JSON object: {"error": {"code", "what", "hint", "notes"}}.
    """
    printer = Printer(sys.stderr)
    hide = secrets.redactor()
    if json:
        told = [hide(str(note)) for note in notes.of(error)]
        about = {"code": type(error).code, "what": hide(error.what), "hint": hide(error.hint or ""), "notes": told}
        as_json({"error": about})
    printer.line(f"error [{type(error).code}]: {hide(error.what)}", "red")
    for note in notes.of(error):
        printer.line(hide(str(note)))
    if error.hint:
        printer.line(f"what to do: {hide(error.hint)}")
    return USAGE if isinstance(error, UsageError) else FAILED


def show_traceback(error: BaseException) -> None:
    """An error of the user's script, as Python shows it, without the frames of what runs the script."""
    import traceback

    shown = "".join(_own(traceback.TracebackException.from_exception(error)).format())
    sys.stderr.write(safe(secrets.conceal(shown)))


def _own(shown: traceback.TracebackException) -> traceback.TracebackException:
    import traceback

    rest = [shown]
    while rest:
        one = rest.pop()
        one.stack = traceback.StackSummary.from_list(_user_frames(one.stack))
        # How the run stands is shown below the traceback, in more words.
        one.__notes__ = [note for note in one.__notes__ or () if not str(note).startswith("perdure: run ")]
        rest += [other for other in (one.__cause__, one.__context__) if other is not None]
        rest += one.exceptions or []
    return shown


def _user_frames(stack: traceback.StackSummary) -> list[traceback.FrameSummary]:
    """Without perdure's frames, and without those of the machinery between them."""
    kept: list[traceback.FrameSummary] = []
    inside = False
    for frame in stack:
        name = frame.filename
        if name.startswith(_OURS):
            inside = True
        elif not (inside and (name.startswith(_MACHINERY) or name.startswith("<frozen "))):
            kept.append(frame)
            inside = False
    return kept
