"""The dead letters of a state file: the oldest make room for new ones, and an export file gets a copy of each."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.config import settings
from perdure.core.execution.effects import Save
from perdure.core.records import RunRecord
from perdure.errors import HasDeadLetters, StateError
from perdure.store.group_commit import Operation
from perdure.store.parking import Parking, Terms
from perdure.store.runs import Store

if TYPE_CHECKING:
    from perdure.store.dead_letter_file import LetterFile

SHOWN = 5


def refuse(store: Store, run: RunRecord, most: int | None) -> None:
    """Make sure that a run has not too many dead letters, its child runs included, for the run to be done.

    One that was re-driven counts as long as the run has not seen its result.

    Args:
        store: the state file.
        run: its function has returned.
        most: so many are too many; None: none are.

    Raises:
        HasDeadLetters: it has so many.
    """
    if most is None:
        return
    from perdure.core import commands
    from perdure.store import listing
    from perdure.store.unseen_results import unseen

    count = listing.dead_letters(store, run.rid)
    missed = unseen(store, run) if run.parent is None else None
    if missed is not None and count + missed.count >= most:
        raise _at_the_end(
            f"run {run.id} had gone on when dead letters were re-driven: it does not contain {missed.results}, and "
            f"fail_on_dead is {most}",
            f"make again what has consumed the items: `{missed.command}`",
        )
    if count < most:
        return
    letters = "1 dead letter" if count == 1 else f"{count:,} dead letters"
    raise _at_the_end(
        f"run {run.id} has {letters}, and fail_on_dead is {most}",
        f"list them: {commands.dlq(run.id)}; once the cause is fixed, `{commands.redrive(run.id)}` runs them "
        f"again, and `{commands.resume(run.id)}` goes on with the run",
    )


def _at_the_end(what: str, hint: str) -> HasDeadLetters:
    error = HasDeadLetters(what, hint)
    error.returned = True
    return error


class DeadLetterBox:
    """The dead letters of a state file, as the runs of this process add to them.

    Args:
        store: the state file.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._files: dict[Path, LetterFile] = {}
        self._lock = threading.Lock()
        self._nowhere: object = None  # what says that they are appended to no file

    def terms(self, script: str) -> Terms:
        """The settings for letters of runs of a script."""
        return Terms(settings.dead_letters(script), settings.dead_letter_file() is not None)

    def ready(self, script: str) -> None:
        """A run begins: append what an earlier process could not.

        Raises:
            OptionError: a setting is not valid.
        """
        now = settings.as_set(script, settings.KEPT_LETTERS.variable, settings.LETTER_FILE.variable)
        if now is not None and now == self._nowhere:
            return
        settings.dead_letters(script)
        self.export()
        self._nowhere = now if settings.dead_letter_file() is None else None

    def saving(self, effect: Save, script: str, now: float) -> Operation | None:
        """The operation of the transaction that saves the rows, if it has to do more than that."""
        terms = self.terms(script) if effect.letters else Terms(settings.DEAD_LETTERS)
        return self._store.saving(effect, now, terms)

    def parked(self, parking: Parking) -> None:
        """It is committed: log which letters were evicted, and append those that are to be exported."""
        if parking.evicted:
            numbers = ", ".join(map(str, sorted(parking.evicted)[:SHOWN]))
            more = ", ..." if len(parking.evicted) > SHOWN else ""
            _warn(
                "%d dead letters had to make room for newer ones, their attempts are deleted: %s%s; see the rest with "
                "`perdure dlq ls`, or set PERDURE_DEAD_LETTERS to keep more",
                len(parking.evicted),
                numbers,
                more,
            )
        if parking.parked:
            self.export()

    def export(self) -> None:
        """Append what is due to the export file, if one is set. An error is logged."""
        path = settings.dead_letter_file()
        if path is None:
            return
        try:
            self._file(path).catch_up()
        except (OSError, StateError) as error:
            _warn("dead letters cannot be appended to %s now, and are appended later: %s", path, error)

    def _file(self, path: Path) -> LetterFile:
        from perdure.store.dead_letter_file import LetterFile

        with self._lock:
            if path not in self._files:
                self._files[path] = LetterFile(path, self._store)
            return self._files[path]


def _warn(message: str, *values: object) -> None:
    import logging

    logging.getLogger("perdure").warning(message, *values)
