"""Standard streams while a picture is drawn on the same terminal: what is printed waits for the next drawing."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import TextIO


class StreamProxy(io.TextIOBase):
    """Stands in for a stream. It hands text through until it is given a sink, and then hands on whole lines to that.

    A script that prints much is not slowed down by drawing, and its lines do not run through the picture.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._sink: Callable[[str], None] | None = None
        self._rest = ""
        self._lock = threading.Lock()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """As the stream's."""
        return self.stream.encoding

    def begin(self, sink: Callable[[str], None]) -> None:
        """From now on lines go there."""
        self._sink = sink

    def end(self) -> None:
        """From now on text goes to the stream again, beginning with what was no whole line yet."""
        with self._lock:
            self._sink = None
            rest, self._rest = self._rest, ""
        self.stream.write(rest)
        self.stream.flush()

    def write(self, text: str) -> int:
        """Print text."""
        with self._lock:
            sink = self._sink
            if sink is not None:
                whole, newline, rest = (self._rest + text).rpartition("\n")
                self._rest = rest
                if newline:
                    sink(whole)
        if sink is None:
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """What waits for the next drawing goes on waiting."""
        if self._sink is None:
            self.stream.flush()

    def isatty(self) -> bool:
        """As the stream."""
        return self.stream.isatty()

    def fileno(self) -> int:
        """As the stream's."""
        return self.stream.fileno()

    def writable(self) -> bool:
        """It is."""
        return True

    def close(self) -> None:
        """Nothing: the stream is not ours to close."""
