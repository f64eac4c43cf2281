"""The time limit of sending one alert. It holds whatever hangs: the name server, a slow answer, a library."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from perdure.errors import AlertError

SECONDS = 5.0
"""How long a channel may take for one alert (the source patterns' number)."""


class Exchange:
    """A request under way that another thread can cut off."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._close: Callable[[], Any] | None = None
        self._over = False

    def hold(self, close: Callable[[], Any]) -> None:
        """Give it the function that ends it, called at once if the time is over already, so that nothing is sent late.

        Raises:
            TimeoutError: the time is over.
        """
        with self._lock:
            self._close = close
            if not self._over:
                return
        close()
        raise TimeoutError("the time to send is over")

    def cut(self) -> None:
        """End it."""
        with self._lock:
            self._over = True
            close = self._close
        if close is not None:
            close()


def no_answer(seconds: float) -> AlertError:
    """The error that the time is over."""
    return AlertError(f"no answer within {seconds:g} s", "check whether the service can be reached from this machine")


def within(seconds: float, work: Callable[[Exchange], None]) -> None:
    """Do the work in a thread of its own, and give up on it when the time is over.

    Args:
        seconds: the limit.
        work: called with the exchange, to which it gives what can be cut off.

    Raises:
        AlertError: the time is over.
        Exception: what the work raised.
    """
    exchange = Exchange()
    raised: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            work(exchange)
        except BaseException as error:  # noqa: BLE001  handed to the caller
            raised.append(error)
        finally:
            done.set()

    try:
        threading.Thread(target=run, name="perdure alert", daemon=True).start()
    except RuntimeError:  # the interpreter is shutting down and starts no threads; sockets have timeouts of their own
        run()
    if not done.wait(seconds):
        exchange.cut()
        raise no_answer(seconds)
    if raised:
        raise raised[0]
