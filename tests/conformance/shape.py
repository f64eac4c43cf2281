"""What the shapes share: the list of them, and the steps that most of them call."""

from __future__ import annotations

from collections.abc import Callable

from tests.conformance.bench import Bench, note

from perdure import Retry, Step, step

QUICK = Retry(attempts=3, delay="10ms", jitter=0)

Shape = Callable[[Bench], None]
SHAPES: dict[str, Shape] = {}


def shape(function: Shape) -> Shape:
    """Add a shape to the suite."""
    SHAPES[function.__name__] = function
    return function


@step(retry=None)
def do(name: str) -> str:
    note(name)
    return name


@step(retry=None)
def add(a: int, b: int = 1) -> int:
    note("add", a, b)
    return a + b


@step(retry=None)
async def ado(name: str) -> str:
    note(name)
    return name


@step(retry=None)
def fail(message: str) -> None:
    note("fail", message)
    raise KeyError(message)


@step(retry=None)
def close(what: str) -> None:
    note("close", what)


def fails_at_first() -> tuple[Step[[], str], list[bool]]:
    """A step that fails until the list holds False."""
    broken = [True]

    @step(retry=None)
    def fragile() -> str:
        note("fragile")
        if broken[0]:
            raise ConnectionError("down")
        return "up"

    return fragile, broken
