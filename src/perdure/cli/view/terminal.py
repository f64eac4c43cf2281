"""Text for a terminal or a file: safe to print, aligned, cut where a terminal ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TextIO

import msgspec

from perdure.core.redaction.printable import json_text, printable

STYLES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "cyan": "36",
}


def safe(text: str) -> str:
    """Text that may have come from anywhere: what a terminal would act on is escaped, line breaks and tabs are kept."""
    return printable(text)


def one_line(text: str) -> str:
    """The same without line breaks."""
    return text if text.isprintable() else safe(" ".join(text.split()))


def count(number: int, noun: str) -> str:
    """A number of things: "1 step", "2 steps"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def is_terminal(stream: TextIO) -> bool:
    """Whether this stream is a terminal that can move a cursor."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


class Printer:
    """Prints lines, in colour where that is wanted.

    Args:
        stream: where to; standard output by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        self.terminal = is_terminal(self.stream)
        self._colour = self.terminal and not os.environ.get("NO_COLOR")

    def styled(self, text: str, style: str) -> str:
        """The text in that style, if colours are wanted."""
        return f"\033[{STYLES[style]}m{text}\033[0m" if style and self._colour else text

    def line(self, text: str = "", style: str = "") -> None:
        """One line or several, whole."""
        self.stream.write(self.styled(safe(text), style) + "\n")

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str] = ()) -> None:
        """Rows in columns; only a terminal cuts the last one.

        Args:
            headings: one for each column.
            rows: the cells.
            styles: one for each row.
        """
        cells = [[one_line(cell) for cell in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
        self.stream.write(self.styled(self._aligned(headings, widths), "bold") + "\n")
        for number, row in enumerate(cells):
            style = styles[number] if styles else ""
            self.stream.write(self.styled(self._aligned(row, widths), style) + "\n")

    def _aligned(self, row: Sequence[str], widths: Sequence[int]) -> str:
        text = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        return self.cut(text)

    def cut(self, text: str) -> str:
        """A line that fits on the terminal; a file gets all of it."""
        if not self.terminal:
            return text
        width = max(os.get_terminal_size(self.stream.fileno()).columns, 40)
        return text if len(text) <= width else f"{text[: width - 3]}..."


def date(moment: datetime | None) -> str:
    """A date in the time zone of this location, to the second."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else "-"


def as_json(value: Any) -> None:
    """A struct, or a list of them, as one line of JSON in which nothing is raw that a terminal would act on."""
    sys.stdout.write(json_text(msgspec.json.encode(value)) + "\n")
