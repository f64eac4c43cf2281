"""Shows something again and again, as it changes: `--watch`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from io import StringIO

from perdure.cli.view.terminal import Printer, is_terminal

SECONDS = 1.0
"""Between two looks."""


def watch(draw: Callable[[Printer], bool], wait: Callable[[float], None] = time.sleep) -> None:
    """Draw until `draw` says that nothing will change any more, or until Ctrl-C.

    On a terminal each picture takes the place of the one before, as far as it has room. A file or a pipe gets each that
    differs from the one before, and an empty line between two.

    Args:
        draw: draws once; returns whether there is more to come.
        wait: waits for so many seconds.
    """
    out, shown, going_on = sys.stdout, "", True
    terminal = is_terminal(out)
    with suppress(KeyboardInterrupt):
        while going_on:
            picture = StringIO()
            going_on = draw(Printer(picture, like=out))
            text = picture.getvalue()
            if text != shown:
                out.write(_fitting(text, last=not going_on) if terminal else f"\n{text}" if shown else text)
                out.flush()
                shown = text
            if going_on:
                wait(SECONDS)


def _fitting(text: str, *, last: bool) -> str:
    """A picture in the place of the one before; the last one is whole, since it stays."""
    lines = text.splitlines()
    rows = max(os.get_terminal_size(sys.stdout.fileno()).lines - 1, 5)
    if not last and len(lines) > rows:
        lines = [*lines[: rows - 1], f"... {len(lines) - rows + 1} more lines"]
    return "\033[H\033[2J" + "\n".join(lines) + "\n"
