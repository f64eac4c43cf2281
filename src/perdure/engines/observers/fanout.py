"""Several observers at once."""

from __future__ import annotations

import threading
from contextlib import suppress

from perdure.config.stderr_line import say
from perdure.engines.events import Event, Observer
from perdure.engines.observers import json_logs


class FanOut:
    """Notifies several observers, in their order. One that raises is dropped, which is said once: it harms neither the
    run nor the others.

    Args:
        observers: who is notified; `left` are those that have not been dropped.
        shows: one of them shows a person what happens, so that it need not be printed as well.
    """

    def __init__(self, *observers: Observer, shows: bool = False) -> None:
        self.given = observers
        self.shows = shows
        self.left = observers
        self._lock = threading.Lock()

    def notify(self, event: Event) -> None:
        """Hand an event on."""
        for observer in self.left:
            try:
                observer.notify(event)
            except Exception as error:  # noqa: BLE001  an observer is no reason to stop what it observes
                self._drop(observer, error)

    def _drop(self, observer: Observer, error: Exception) -> None:
        with self._lock:
            if not any(each is observer for each in self.left):
                return  # it has raised on another thread as well
            self.left = tuple(each for each in self.left if each is not observer)
        with suppress(Exception):  # what cannot be said must not harm the run either
            _say_dropped(observer, error)


def _say_dropped(observer: Observer, error: Exception) -> None:
    from perdure.core.redaction.printable import one_line
    from perdure.engines.observers.event_json import error_line

    name, what = type(observer).__name__, one_line(error_line(error))
    if json_logs.heard():
        json_logs.logger().warning("the observer %s has failed and is not notified any more: %s", name, what)
    else:
        said = f"the observer {name} has failed and is not notified any more: {what}"
        say(f"perdure: {one_line(said)}")
