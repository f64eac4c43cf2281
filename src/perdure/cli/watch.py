"""Shows a run while it goes on: live on a terminal, plain lines with the time elsewhere. All of it on stderr."""

from __future__ import annotations

import sys
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from perdure.cli.narrator import Narrator
from perdure.cli.text import is_terminal, safe
from perdure.core.effects import Outcome
from perdure.core.spec import Call
from perdure.engines.local.observer import Observer

if TYPE_CHECKING:
    from perdure.cli.board import Board

REFRESHES = 8
"""A second."""


class Watch(Protocol):
    """Something that shows a run, from `__enter__` to `__exit__`; `observer` is what the engine tells."""

    narrator: Narrator

    @property
    def observer(self) -> Observer:
        """What the engine tells."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def watch() -> Watch:
    """What fits where stderr goes."""
    return LiveWatch() if is_terminal(sys.stderr) else PlainWatch()


class PlainWatch:
    """For a pipe, a file, cron: each line with the time of day."""

    def __init__(self) -> None:
        self.narrator = Narrator(self._say)

    @property
    def observer(self) -> Observer:
        """What the engine tells."""
        return self.narrator

    def _say(self, text: str, style: str) -> None:
        sys.stderr.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {safe(text)}\n")
        sys.stderr.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to clean up."""


class LiveWatch:
    """For a terminal: what is finished scrolls up, what is running is redrawn below it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        from perdure.cli.board import Board

        self.narrator = Narrator(self._say)
        self.board = Board()
        console = Console(stderr=True, highlight=False)
        # What the script prints must not run through the picture; into a file or a pipe it goes as it is.
        self._live = Live(
            self.board,
            console=console,
            transient=True,
            refresh_per_second=REFRESHES,
            redirect_stdout=is_terminal(sys.stdout),
        )

    @property
    def observer(self) -> Observer:
        """What the engine tells."""
        return _Both(self.narrator, self.board)

    def _say(self, text: str, style: str) -> None:
        self._live.console.print(safe(text), style=style, markup=False, highlight=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


class _Both:
    """Tells the narrator and the board."""

    def __init__(self, narrator: Narrator, board: Board) -> None:
        self._narrator = narrator
        self._board = board
        self.run_began = narrator.run_began
        self.run_ended = narrator.run_ended
        self.replayed = narrator.replayed

    def began(self, run_id: str, call: Call, attempt: int) -> None:
        self._board.began(call, attempt)

    def ended(self, run_id: str, call: Call, attempt: int, outcome: Outcome) -> None:
        self._board.ended(call, outcome)
        self._narrator.ended(run_id, call, attempt, outcome)

    def waiting(self, run_id: str, call: Call, attempt: int, seconds: float, error: Exception) -> None:
        self._board.waiting(call, attempt, seconds, error)
        self._narrator.waiting(run_id, call, attempt, seconds, error)

    def batch(self, run_id: str, name: str, done: int, dead: int, skipped: int, total: int | None) -> None:
        self._board.batch(run_id, name, (done, dead, skipped, total))
        self._narrator.batch(run_id, name, done, dead, skipped, total)

    def progress(self, run_id: str, call: Call, done: float, total: float | None, note: str) -> None:
        self._board.progress(call, done, total, note)
