"""Standard error as lines of JSON: what perdure logs, what the script logs, and what is printed there."""

from __future__ import annotations

import io
import threading
from typing import TextIO


class JsonLines(io.TextIOBase):
    """Stands in for standard error: what is written becomes a record, a write that ends a line at a time.

    Args:
        stream: where the lines go.
    """

    def __init__(self, stream: TextIO) -> None:
        import logging

        self.stream = stream
        self._rest = ""
        self._lock = threading.Lock()
        self._log = logging.getLogger("stderr")

    def write(self, text: str) -> int:
        """Print text."""
        with self._lock:
            whole, newline, rest = (self._rest + text).rpartition("\n")
            self._rest = rest
        if newline and whole.strip():
            self._log.info("%s", whole)
        return len(text)

    def end(self) -> None:
        """Nothing more is written: what was no whole line yet becomes one."""
        if self._rest:
            self.write("\n")

    def flush(self) -> None:
        """Every line was flushed as it was written."""

    def fileno(self) -> int:
        """As the stream's."""
        return self.stream.fileno()

    def writable(self) -> bool:
        """It is."""
        return True

    def close(self) -> None:
        """Nothing: the stream is not ours to close."""
