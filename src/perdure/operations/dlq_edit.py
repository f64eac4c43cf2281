"""`perdure dlq edit` and `drop`: dead letters get another input, or are given up. (Re-driven: see redrive.py.)"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from perdure.config import secrets
from perdure.core.execution.argument_paths import Arguments
from perdure.core.execution.edited_arguments import made_again
from perdure.core.execution.spec import Spec
from perdure.core.redaction.nested import redact_nested
from perdure.engines.features import Feature
from perdure.errors import NotDecodable, OptionError, PerdureError, RunError, UsageError
from perdure.operations.dead_letters import editable_letter, find_letter
from perdure.operations.letter_input import check_version, parameters_of
from perdure.operations.location import Location, opened_for_change, pin
from perdure.operations.scripts import step_of
from perdure.store import dead_letters as letters

MANY = 1000
"""Arguments that are given names; more are numbered."""


class Editing(msgspec.Struct):
    """An input that is being edited.

    `original`, `before` and `current` are packed; the letter had `before` when it was looked at, None for the recorded
    one. `spec` is the step, if its script could be loaded, else `unchecked` says why the new input cannot be checked.
    `unasked`: of which values in it no constructor could be asked.
    """

    letter: int
    original: bytes
    before: bytes | None
    current: bytes
    arguments: Arguments
    spec: Spec | None = None
    unchecked: str = ""
    unasked: list[str] = msgspec.field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Every argument by its name, as plain data: to be edited."""
        return self.arguments.as_json()

    def shown(self) -> dict[str, Any]:
        """The same without credentials."""
        shown: dict[str, Any] = redact_nested(self.as_json(), secrets.redactor())
        return shown


def begin_edit(location: Location, reference: str, script: Path | None = None, version: str | None = None) -> Editing:
    """Open the input of a parked letter for editing.

    Args:
        location: the state file.
        reference: which letter.
        script: where its script is now, if not where it was.
        version: that of the input that was shown; None: the one that it has now.

    Raises:
        NotFound: there is no such letter.
        InputHasChanged: it was edited since.
        UsageError: it stands for a whole run, or is on a cluster.
        StateError: the file cannot be read.
    """
    location.require(Feature.CHANGE_DEAD_LETTERS, command="edit")
    pin(location)  # also for what the script looks up while it is loaded
    with opened_for_change(location) as store:
        letter, run, record = editable_letter(store, reference)
        if version is not None:
            check_version(store, letter, version)
        function = store.function(run.rid, record.kind, record.name)
        parameters = parameters_of(store, run, record)
    spec, unchecked = None, ""
    try:
        spec = step_of(run, record, location, function, script)
    except Exception as error:  # the script's own errors too
        if script is not None:
            raise
        unchecked = str(error).partition("\n")[0] or type(error).__name__
    current = record.input if letter.input is None else letter.input
    names = spec.signature.names(MANY) if spec else parameters
    arguments = Arguments(current, names, judged=spec is not None)
    return Editing(letter.lid, record.input, letter.input, current, arguments, spec, unchecked)


def end_edit(location: Location, editing: Editing) -> bool:
    """Give the letter the input that was made of it; returns whether it differs from the recorded one.

    Raises:
        OptionError: it does not fit the annotations of the step, or a class refuses it.
        RunError: the letter is not parked any more.
        InputHasChanged: it was edited since `begin_edit`.
        AlreadyRunning: it is being re-driven at this moment.
        StateError: the file cannot be written.
    """
    if editing.spec is not None:
        try:
            editing.unasked = made_again(editing.arguments, editing.current, editing.spec)
        except NotDecodable as error:
            raise OptionError(
                f"the new input cannot be given to {editing.spec.owner}: {error.what}", error.hint
            ) from None
    given = editing.arguments.packed()
    edited = given if given != editing.original else None
    with opened_for_change(location) as store:
        store.journal.write((), letters.edit(store, editing.letter, edited, editing.before, time.time()))
    return edited is not None


def take_back(location: Location, reference: str, version: str | None = None) -> int:
    """Give a letter the recorded input again; returns its number.

    Raises:
        As `end_edit`.
    """
    location.require(Feature.CHANGE_DEAD_LETTERS, command="edit")
    with opened_for_change(location) as store:
        letter = find_letter(store, reference)
        if version is not None:
            check_version(store, letter, version)
        store.journal.write((), letters.edit(store, letter.lid, None, letter.input, time.time()))
    return letter.lid


def drop(location: Location, lids: Sequence[int]) -> dict[int, PerdureError]:
    """Drop letters; their rows stay. Returns those that could not be, and why.

    Raises:
        StateError: the file cannot be written.
    """
    location.require(Feature.CHANGE_DEAD_LETTERS, command="drop")
    refused: dict[int, PerdureError] = {}
    with opened_for_change(location) as store:
        for lid in lids:
            try:
                store.journal.write((), letters.drop(store, lid, time.time()))
            except (UsageError, RunError) as error:
                refused[lid] = error
    return refused
