"""Standard input while a picture is drawn on the terminal: a question and what is typed are not drawn over."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TextIO


class StdinProxy(io.TextIOBase):
    """Stands in for standard input. While a script reads from it, the picture is away.

    Args:
        stream: standard input.
        away: takes the picture away, and shows what was printed without the end of a line, such as a question.
    """

    def __init__(self, stream: TextIO, away: Callable[[], AbstractContextManager[None]]) -> None:
        self.stream = stream
        self._away = away
        self._descriptor = -1

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """As the stream's."""
        return self.stream.encoding

    def readline(self, size: int = -1) -> str:  # type: ignore[override]
        """Read a line."""
        with self._away():
            return self.stream.readline(size)

    def read(self, size: int | None = -1) -> str:
        """Read text."""
        with self._away():
            return self.stream.read(-1 if size is None else size)

    def readlines(self, hint: int | None = -1) -> list[str]:  # type: ignore[override]
        """Read all lines."""
        with self._away():
            return self.stream.readlines(-1 if hint is None else hint)

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]
        return iter(self.readline, "")

    def isatty(self) -> bool:
        """As the stream."""
        return self.stream.isatty()

    def fileno(self) -> int:
        """A copy of the stream's: by its own, `input` would write the question to the terminal past all of this."""
        if self._descriptor < 0:
            self._descriptor = os.dup(self.stream.fileno())
        return self._descriptor

    def readable(self) -> bool:
        """It is."""
        return True

    def writelines(self, lines: Iterable[str]) -> None:  # type: ignore[override]
        """Refused."""
        raise io.UnsupportedOperation("not writable")

    def close(self) -> None:
        """Nothing but the copy: the stream is not ours to close."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
