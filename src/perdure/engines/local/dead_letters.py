"""What happens to dead letters besides that they are saved: older ones make room, and a file gets a copy of each."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.config import settings
from perdure.core.execution.effects import Save
from perdure.errors import StateError
from perdure.store.journal import Operation
from perdure.store.parking import Parking, Terms
from perdure.store.runs import Store

if TYPE_CHECKING:
    from perdure.store.dead_letter_file import LetterFile

SHOWN = 5


class LetterBox:
    """The dead letters of a state file, as the runs of this process add to them.

    Args:
        store: the state file.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._files: dict[Path, LetterFile] = {}
        self._lock = threading.Lock()

    def terms(self, script: str) -> Terms:
        """What holds for letters of runs of a script."""
        return Terms(settings.dead_letters(script), settings.dead_letter_file() is not None)

    def ready(self, script: str) -> None:
        """A run begins: append what an earlier process could not.

        Raises:
            OptionError: a setting is not valid.
        """
        self.terms(script)
        self.export()

    def saving(self, effect: Save, script: str, now: float) -> Operation | None:
        """What has to be done in the transaction besides writing the rows."""
        terms = self.terms(script) if effect.letters else Terms(settings.DEAD_LETTERS)
        return self._store.saving(effect, now, terms)

    def parked(self, parking: Parking) -> None:
        """It has been committed: say which letters had to go, and append those that are to be exported."""
        if parking.evicted:
            numbers = ", ".join(map(str, sorted(parking.evicted)[:SHOWN]))
            more = ", ..." if len(parking.evicted) > SHOWN else ""
            _warn(
                "%d dead letters had to make room for newer ones, and their attempts are gone: %s%s; look after the "
                "rest with `perdure dlq ls`, or keep more of them: PERDURE_DEAD_LETTERS",
                len(parking.evicted),
                numbers,
                more,
            )
        if parking.parked:
            self.export()

    def export(self) -> None:
        """Append what is due to the file that is asked for, if there is one. Never harms the run."""
        path = settings.dead_letter_file()
        if path is None:
            return
        try:
            self._file(path).catch_up()
        except (OSError, StateError) as error:
            _warn("dead letters could not be appended to %s, which is made up for later: %s", path, error)

    def _file(self, path: Path) -> LetterFile:
        from perdure.store.dead_letter_file import LetterFile

        with self._lock:
            if path not in self._files:
                self._files[path] = LetterFile(path, self._store)
            return self._files[path]


def _warn(message: str, *values: object) -> None:
    import logging

    logging.getLogger("perdure").warning(message, *values)
