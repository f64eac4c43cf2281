"""What the tests of dead letters share: steps that fail while their input is in `broken`, and redrives."""

from __future__ import annotations

from typing import Any

import perdure
from conftest import Machine, Trouble
from perdure import Retry, step, workflow
from perdure.core.execution.spec import Spec
from perdure.engines.local.redrive import Redriver, Result
from perdure.store import dead_letters

keys: list[tuple[Any, str, int]] = []
broken: set[Any] = set()


def reset() -> None:
    """Every step works, and none was called: for the beginning of a test."""
    keys.clear()
    broken.clear()


def effect(what: Any) -> None:
    keys.append((what, perdure.idempotency_key(), perdure.attempt()))
    if what in broken:
        raise Trouble(f"{what} is broken")


@step(name="send", retry=Retry(attempts=2, delay=0.01, jitter=0))
def send(item: Any) -> str:
    effect(item)
    return f"sent {item}"


@step(name="asend", retry=None)
async def asend(item: Any) -> str:
    effect(item)
    return f"sent {item}"


@step(name="mail", retry=None, on_failure="dead_letter")
def mail(to: str) -> str:
    effect(to)
    return f"mailed {to}"


SPECS = {each._spec.name: each._spec for each in (send, asend, mail)}


def redrive(machine: Machine, *lids: int, specs: dict[str, Spec] = SPECS, concurrency: int = 1) -> list[Result]:
    results: list[Result] = []
    redriver = Redriver(machine.engine, lambda run, record: specs[record.name], results.append, concurrency=concurrency)
    redriver.run(lids)
    return sorted(results, key=lambda result: result.letter)


def letter_of(machine: Machine, lid: int = 1) -> Any:
    return dead_letters.get(machine.engine.store, lid)


@workflow(name="strict")
def strict() -> list[str]:
    batch = send.map([1, 2, 3])
    batch.raise_if_dead()
    return list(batch.results)
