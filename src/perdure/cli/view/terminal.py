"""Text for a terminal or a file: safe to print, aligned, cut where a terminal ends."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
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


def wants_colour(stream: TextIO) -> bool:
    """Whether colours are wanted there: NO_COLOR says no and FORCE_COLOR yes (no-color.org, force-color.org)."""
    if os.environ.get("NO_COLOR"):
        return False
    return is_terminal(stream) or os.environ.get("FORCE_COLOR", "0") not in ("", "0")


def width_of(stream: TextIO) -> int | None:
    """How many characters a line of a terminal has, 40 at least; None for a file or a pipe."""
    if not is_terminal(stream):
        return None
    return max(os.get_terminal_size(stream.fileno()).columns, 40)


class Printer:
    """Prints lines, in colour where that is wanted.

    Args:
        stream: where to; standard output by default.
        like: a stream whose width and colours are taken, if what is printed comes to be shown there.
    """

    def __init__(self, stream: TextIO | None = None, like: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        self.width = width_of(like or self.stream)
        self._colour = wants_colour(like or self.stream)

    @property
    def terminal(self) -> bool:
        """Is it for a terminal?"""
        return self.width is not None

    def styled(self, text: str, style: str) -> str:
        """The text in that style, if colours are wanted."""
        return f"\033[{STYLES[style]}m{text}\033[0m" if style and self._colour else text

    def line(self, text: str = "", style: str = "") -> None:
        """One line or several, whole."""
        self.stream.write(self.styled(safe(text), style) + "\n")

    def wrapped(self, first: str, text: str, style: str = "", indent: int | None = None) -> None:
        """A text that is never cut: what does not fit beside `first` goes on in lines of its own, indented like it.

        Args:
            first: what stands at the left of the first line.
            text: the text, whose line breaks do not count.
            style: of all lines.
            indent: of the lines that follow, in characters; by default the length of `first`.
        """
        text, indent = one_line(text), len(first) if indent is None else indent
        if self.width is not None and len(first) + len(text) > self.width:
            room = max(self.width - 1, indent + 20)
            text = textwrap.fill(
                text, room, initial_indent=first, subsequent_indent=" " * indent, break_on_hyphens=False
            )
            first = ""
        self.stream.write("".join(self.styled(line, style) + "\n" for line in (first + text).split("\n")))

    def table(
        self,
        headings: Sequence[str],
        rows: Sequence[Sequence[str]],
        styles: Sequence[str] = (),
        *,
        notes: Sequence[str | None] = (),
        spare: Sequence[int] = (),
    ) -> None:
        """Rows in columns; only a terminal cuts the last one.

        Args:
            headings: one for each column.
            rows: the cells.
            styles: one for each row.
            notes: a text below each row, which is never cut.
            spare: the numbers of columns that are left out where a terminal has no room, the first first.
        """
        cells = [[one_line(cell) for cell in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
        kept = list(range(len(headings)))
        for column in spare:
            if self.width is None or sum(widths[each] + 2 for each in kept[:-1]) + min(widths[-1], 12) <= self.width:
                break
            kept.remove(column)
        widths = [widths[each] for each in kept]
        self.stream.write(self.styled(self._aligned([headings[each] for each in kept], widths), "bold") + "\n")
        for number, row in enumerate(cells):
            style = styles[number] if styles else ""
            self.stream.write(self.styled(self._aligned([row[each] for each in kept], widths), style) + "\n")
            if notes and (note := notes[number]):
                self.wrapped("    ", note, style)

    def _aligned(self, row: Sequence[str], widths: Sequence[int]) -> str:
        text = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        return self.cut(text)

    def cut(self, text: str) -> str:
        """A line that fits on the terminal; a file gets all of it."""
        width = self.width
        return text if width is None or len(text) <= width else f"{text[: width - 3]}..."


def date(moment: datetime | None) -> str:
    """A date in the time zone of this location, to the second."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else "-"


def ago(moment: datetime | None, now: datetime) -> str:
    """How long ago that was, or when it will be: "3 min ago", "in 2 h"."""
    if moment is None:
        return "-"
    seconds = (now - moment).total_seconds()
    if abs(seconds) < 1:
        return "now"
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if abs(seconds) >= unit:
            text = f"{int(abs(seconds) // unit)} {name}"
            return f"{text} ago" if seconds > 0 else f"in {text}"
    return "now"


def stream_listing(name: str, values: Iterable[Any]) -> None:
    """What a command lists, as `as_json` writes an object with that one field, each value as soon as it is there."""
    sys.stdout.write(json_text(f'{{"{name}":'))
    _stream(values)
    sys.stdout.write("}\n")


def _stream(values: Iterable[Any]) -> None:
    before = "["
    for value in values:
        sys.stdout.write(before + value_json(value))
        before = ","
    sys.stdout.write("[]" if before == "[" else "]")


def stream_struct(value: msgspec.Struct, field: str, items: Iterable[Any]) -> None:
    """A struct as one line of JSON, as `as_json` writes it; the list in that field is written item by item."""
    before = "{"
    for name in value.__struct_fields__:
        sys.stdout.write(json_text(f'{before}"{name}":'))
        before = ","
        if name == field:
            _stream(items)
        else:
            sys.stdout.write(value_json(getattr(value, name)))
    sys.stdout.write("}\n")


def as_json(value: msgspec.Struct | Mapping[str, Any]) -> None:
    """The answer of a command: one object in one line, in which nothing is raw that a terminal would act on.

    An error is the field `error`, and what a command lists a field, so that whatever comes is told apart by its fields
    (docs/reference.md).
    """
    sys.stdout.write(value_json(value) + "\n")


def value_json(value: Any) -> str:
    """Any value as JSON, in the same way; a path as text."""
    return json_text(msgspec.json.encode(value, enc_hook=os.fspath))
