"""Shows a run while it goes on: live on a terminal, plain lines with the time elsewhere. All of it on stderr."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from perdure.cli.view.errors import show_error
from perdure.cli.view.progress_lines import ProgressLines
from perdure.cli.view.stdin_proxy import StdinProxy
from perdure.cli.view.stream_proxy import StreamProxy
from perdure.cli.view.terminal import is_terminal, safe
from perdure.config import settings
from perdure.engines.events import Observer
from perdure.engines.observers.fanout import FanOut
from perdure.errors import PerdureError

if TYPE_CHECKING:
    from rich.console import RenderableType


REDRAWN = 0.12
"""Seconds."""


class Watch(Protocol):
    """Something that shows a run; `lines` counts what has happened."""

    lines: ProgressLines
    quiet: bool

    @property
    def observer(self) -> Observer:
        """What the engine notifies."""

    @contextmanager
    def showing(self) -> Iterator[None]:
        """While a run goes on."""


@contextmanager
def watching(log_json: bool = False, quiet: bool = False) -> Iterator[Watch]:
    """What fits where stderr goes; to be begun before the script is loaded, which may set up its logging then.

    Args:
        log_json: stderr is for lines of JSON and for nothing else.
        quiet: nothing is shown of a run that goes well.
    """
    if quiet and not log_json:
        yield SilentWatch(quiet=True)
        return
    if log_json or settings.log_json():
        with logged() as watch:
            yield watch
        return
    if not is_terminal(sys.stderr):
        yield PlainWatch()
        return
    stdout, stderr = sys.stdout, sys.stderr
    # What goes into a file or a pipe goes as it is.
    proxies = [StreamProxy(stderr)]
    sys.stderr = proxies[0]
    if is_terminal(stdout):
        proxies.append(StreamProxy(stdout))
        sys.stdout = proxies[1]
    watch = LiveWatch(proxies)
    stdin = sys.stdin
    if stdin is not None and is_terminal(stdin):
        sys.stdin = StdinProxy(stdin, watch.away)
    try:
        yield watch
    finally:
        if isinstance(sys.stdin, StdinProxy):
            sys.stdin.close()
        sys.stdin, sys.stdout, sys.stderr = stdin, stdout, stderr


@contextmanager
def logged() -> Iterator[Watch]:
    """Standard error is for lines of JSON and for nothing else."""
    from perdure.engines.observers import json_logs
    from perdure.engines.observers.json_stderr import JsonLines

    stderr = sys.stderr
    json_logs.as_json(stderr)
    sys.stderr = lines = JsonLines(stderr)
    try:
        yield SilentWatch(quiet=False)
    except PerdureError as error:
        raise SystemExit(show_error(error)) from error  # shown while stderr still is lines of JSON
    finally:
        lines.end()
        sys.stderr = stderr


class SilentWatch:
    """Counts what happens, and shows nothing of it: the log does, or, of a quiet run, what is said at its end."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.lines = ProgressLines(lambda text, style: None)

    @property
    def observer(self) -> Observer:
        """What the engine notifies."""
        return self.lines

    @contextmanager
    def showing(self) -> Iterator[None]:
        """While a run goes on."""
        yield


class PlainWatch:
    """For a pipe, a file, cron: each line with the time of day."""

    quiet = False

    def __init__(self) -> None:
        self.lines = ProgressLines(self._say)

    @property
    def observer(self) -> Observer:
        """What the engine notifies."""
        return self.lines

    def _say(self, text: str, style: str) -> None:
        sys.stderr.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {safe(text)}\n")
        sys.stderr.flush()

    @contextmanager
    def showing(self) -> Iterator[None]:
        """While a run goes on."""
        yield


class LiveWatch:
    """For a terminal: what is finished scrolls up, what is running is redrawn below it, by a thread of its own.

    Args:
        proxies: the standard streams that end on the same terminal; the first is stderr.
    """

    quiet = False

    def __init__(self, proxies: list[StreamProxy]) -> None:
        from rich.console import Console
        from rich.live import Live

        from perdure.cli.view.running_steps import Board

        self.lines = ProgressLines(self._say)
        self.board = Board()
        self._proxies = proxies
        self._console = Console(file=proxies[0].stream, highlight=False)
        self._live = Live(
            self.board,
            console=self._console,
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._waiting: deque[RenderableType] = deque()
        self._over = threading.Event()
        self._drawing = threading.RLock()
        self._is_drawn = False

    @property
    def observer(self) -> Observer:
        """What the engine notifies."""
        return FanOut(self.board, self.lines)

    def _say(self, text: str, style: str) -> None:
        from rich.text import Text

        self._waiting.append(Text(safe(text), style))

    def _printed(self, lines: str) -> None:
        from rich.text import Text

        self._waiting.append(Text.from_ansi(lines))

    @contextmanager
    def showing(self) -> Iterator[None]:
        """While a run goes on."""
        drawer = threading.Thread(target=self._draw, name="perdure-view", daemon=True)
        self._put_up()
        drawer.start()
        try:
            yield
        finally:
            self._over.set()
            drawer.join()
            self._take_down()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Nothing is drawn meanwhile, and what is printed goes straight to the terminal."""
        with self._drawing:
            was_drawn = self._is_drawn
            if was_drawn:
                self._draw_once()
                self._take_down()
        try:
            yield
        finally:
            if was_drawn:
                self._put_up()

    def _put_up(self) -> None:
        with self._drawing:
            for proxy in self._proxies:
                proxy.begin(self._printed)
            self._live.start()
            self._is_drawn = True

    def _take_down(self) -> None:
        with self._drawing:
            self._is_drawn = False
            self._live.stop()
            for proxy in self._proxies:
                proxy.end()

    def _draw(self) -> None:
        while not self._over.wait(REDRAWN):
            self._draw_once()
        self._draw_once()

    def _draw_once(self) -> None:
        from rich.console import Group

        try:
            with self._drawing:
                if not self._is_drawn:
                    return
                lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
                if lines:
                    self._console.print(Group(*lines), soft_wrap=True)
                self._live.refresh()
        except OSError:  # the terminal is gone; the run is not
            self._waiting.clear()
