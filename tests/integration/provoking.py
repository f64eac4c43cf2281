"""Runs whose steps end as they are told, one life after the other."""

from __future__ import annotations

import email.message
import urllib.error
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import perdure
from conftest import Machine
from perdure import Retry, step, workflow

QUICK = Retry(attempts=4, delay=0, jitter=0)


def answer(status: int, **headers: str) -> urllib.error.HTTPError:
    """An HTTP error as urllib raises it."""
    message = email.message.Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return urllib.error.HTTPError("http://api.test/", status, "no", message, None)


@dataclass
class Raises:
    """Raises each of these exceptions, one a call, and returns what is left at the end."""

    left: list[Any]

    def __call__(self) -> Any:
        one = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        if isinstance(one, BaseException):
            raise one
        return one


def runs(*outcomes: Any, lives: int = 1, keyed: bool = False, retry: Retry | None = QUICK, first: Any = None) -> Any:
    """A run of one step that comes to these outcomes, in so many lives; `first` is what an earlier call returns."""

    def provoke(machine: Machine) -> None:
        act = Raises(list(outcomes))

        @step(name="call", retry=retry)
        def call(number: int) -> Any:
            if keyed:
                perdure.idempotency_key()
            return first if number == 0 and first is not None else act()

        @workflow(name="flow")
        def flow() -> Any:
            if first is not None:
                call(0)
            return call(1)

        for _ in range(lives):
            attempt(flow)
            machine.boot()

    return provoke


def attempt(flow: Callable[..., Any], *args: Any) -> None:
    """Call it, whatever comes of it."""
    with suppress(BaseException):
        flow(*args)
