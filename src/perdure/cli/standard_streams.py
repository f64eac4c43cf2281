"""The standard streams of a command: closed ones are opened, and what cannot be written is said."""

from __future__ import annotations

import os
import sys

from perdure.errors import PerdureError


class OutputLost(PerdureError):
    """What a command prints cannot be written."""

    code = "output"


def open_closed_streams() -> None:
    """Open the null device for each standard stream that this process was started without.

    Without it the next file that is opened would be one of them, and what is printed would be written into that.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:  # the lowest number that is free is given out
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  as long as the process
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def is_of_output(error: OSError) -> bool:
    """Was it raised by writing to standard output, rather than by a file of perdure's own?"""
    try:
        sys.stdout.flush()
    except OSError:
        return True
    # A line that failed is not kept: the error is of no file that was opened by name, and was raised where is printed.
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    printing = trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("perdure.cli.")
    return printing and error.filename is None


def give_output_up() -> None:
    """What is left in the buffer of standard output does not fail again at the end of the process."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def output_lost(error: OSError) -> OutputLost:
    """The error of a command whose output cannot be written."""
    return OutputLost(
        f"standard output cannot be written ({error.strerror or error})",
        "see where it leads to, and give the command again if its output is needed; what it has done stands",
    )
