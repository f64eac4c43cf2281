"""Faults of the program: errors that its own code raises for every item, whatever the item is.

A dead letter is an item that is set aside so that the others go on. If the program is wrong, no item can succeed, and
setting all of them aside helps nobody.
"""

from __future__ import annotations

import sys
from typing import Literal

from perdure.errors import ArgumentChanged, NotStorable, OptionError, TooLarge, UsageError

Suspicion = Literal["none", "possible", "certain"]

_ALWAYS = (NameError,)
_OFTEN = (TypeError, AttributeError, ImportError, NotImplementedError, RecursionError)
INSTALLED = ("/site-packages/", "/dist-packages/")
"""In the paths of files that are not the program's own."""


def suspicion(error: Exception) -> Suspicion:
    """How surely the program, and not the item, is the cause of what a step has failed with.

    - "certain": the result or an argument is of a kind that cannot be stored, a name does not exist, or perdure is used
      where or as it cannot be.
    - "possible": a TypeError, AttributeError, ImportError or the like that the program's own code raises. An odd item
      does that too, so whether others succeed decides.
    - "none": everything else; what a library raises about its arguments is about the item.
    """
    if isinstance(error, NotStorable | ArgumentChanged):
        return "none" if isinstance(error, TooLarge) else "certain"
    if type(error) in (UsageError, OptionError):
        return "certain"
    if isinstance(error, _ALWAYS):
        return "certain" if _raised_in_own_code(error) else "none"
    if type(error) in (*_OFTEN, ModuleNotFoundError) and _raised_in_own_code(error):
        return "possible"
    return "none"


def _raised_in_own_code(error: Exception) -> bool:
    """Is the line that raised it one of the program, rather than of a library?"""
    trace = error.__traceback__
    if trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    frame = trace.tb_frame
    if str(frame.f_globals.get("__name__")).partition(".")[0] in sys.stdlib_module_names:
        return isinstance(error, ImportError)  # the import statement is above the import system's own frames
    file = frame.f_code.co_filename.replace("\\", "/")
    return not any(part in file for part in INSTALLED)
