"""`perdure reject`."""

from __future__ import annotations

from perdure.cli.commands.approve import By, Note, Title, print_answer
from perdure.cli.shared_parameters import ANYWHERE, Json, Reference, Where


def reject(
    run: Reference, /, *, note: Note = "", by: By = "", title: Title = "", json: Json = False, where: Where = ANYWHERE
) -> int:
    """Carry out `perdure reject`; returns the exit code."""
    return print_answer(where, run, False, note=note, by=by, title=title, json=json)
