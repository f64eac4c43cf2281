"""Steps for processes of their own that ask for what is their run's: a module that is loaded quickly."""

from __future__ import annotations

import perdure
from perdure import step


@step(isolate=True, retry=None)
def in_lock() -> int:
    with perdure.lock("till", if_locked="wait"):
        return 1


@step(isolate=True, retry=None)
def of_secret(password: perdure.Secret[str]) -> int:
    return len(password.reveal())


@step(retry=None)
def spends(n: int) -> int:
    perdure.spend(usd=0.01)
    return n


@step(isolate=True, retry=None)
def which_tick() -> str:
    return str(perdure.tick())


@step(isolate=True, retry=None)
def taken_back(n: int) -> str:
    return perdure.idempotency_key()


@step(undo=taken_back, retry=None)
def taken(n: int) -> int:
    return n


def square(n: int) -> int:
    """A function of this module, of which another one makes a step."""
    return n * n
