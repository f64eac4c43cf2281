"""What is kept with a run besides its records: a text, stored as a warning whose class says what the note is about."""

from __future__ import annotations

from collections.abc import Sequence

UNSAVED = "RuntimeWarning"
"""The class of a note about a call that went by the records."""
UNLIKE = "UserWarning"
"""The class of a note about a result that is not what is declared."""

DONE_FIRST = b"done first"
"""What the note is about that a run was done before it could be asked to end."""

SHOWN = 5
"""Calls that a line names."""


class Remark(Warning):
    """A note of anything else that a person is to know of the run: nothing is to be mended in the script for it."""


def left_behind(run: str, calls: Sequence[tuple[int, str]]) -> str:
    """That a run is done which had completed calls before that it has not made this time: an error handler's, say.

    Args:
        run: its id.
        calls: number and step of each.
    """
    named = ", ".join(f"{name} (#{seq})" for seq, name in calls[:SHOWN])
    more = f", and {len(calls) - SHOWN:,} more" if len(calls) > SHOWN else ""
    one = len(calls) == 1
    steps = "a step that an earlier try had" if one else f"{len(calls):,} steps that earlier tries had"
    return (
        f"run {run} is done, and did not come to {steps} completed: {named}{more}; "
        f"what {'that has' if one else 'they have'} done is not undone"
    )
