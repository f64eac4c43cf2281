"""Scripts that fail as only processes do, each with a look-alike; WHICH says which of the two it is."""

from __future__ import annotations

HEAD = """
import os, signal, sys, sqlite3
from dataclasses import dataclass
from pathlib import Path
import perdure
from perdure import step, workflow

ALIKE = os.environ.get("WHICH") == "alike"

def die(times: int = 99) -> None:
    "By kill -9, so many times in all lives."
    deaths = Path("deaths")
    seen = len(deaths.read_text()) if deaths.exists() else 0
    if seen < times:
        deaths.write_text("x" * (seen + 1))
        os.kill(os.getpid(), signal.SIGKILL)
"""

CRASH_LOOP = (
    HEAD
    + """
@step(retry=None)
def parse(n: int) -> int:
    die(1 if ALIKE else 99)
    return n

@workflow
def nightly() -> int:
    return parse(1)
nightly()
"""
)

BETWEEN = (
    HEAD
    + """
@step
def work(n: int) -> int:
    return n

@workflow
def nightly() -> None:
    for n in range(3):
        worked = Path(f"worked-{n}")
        new = not worked.exists()
        work(n)
        worked.touch()
        if new or not ALIKE:
            die()
nightly()
"""
)

PHANTOM = (
    HEAD
    + """
@step
def pay(order: str) -> str:
    if ALIKE:
        perdure.idempotency_key()
    with open("paid", "a") as paid:
        paid.write(order)
    die(1)
    return "paid"

@workflow
def shop() -> str:
    return pay("o1")
shop()
"""
)

KILLER = (
    HEAD
    + """
@step(retry=None)
def convert(n: int) -> int:
    if n == 3:
        die(1 if ALIKE else 99)
    return n

@workflow
def batch() -> int:
    return len(convert.map(range(6)).results)
batch()
"""
)

STUCK = (
    HEAD
    + """
@step(timeout=None)
def approval(n: int) -> str:
    if n == 3:
        print("waits", flush=True)
        sys.stdin.read()
    return "approved"

@workflow
def ask(n: int) -> str:
    return approval(n)
for n in range(4):
    ask(n)
"""
)

DRIFT = (
    HEAD
    + """
@step
def price(day: str) -> int:
    return 7

@step(retry=None)
def send(total: int) -> None:
    raise PermissionError("not yet")

@workflow
def bill() -> None:
    send(price("monday"))
bill()
"""
)

SCHEMA = (
    HEAD
    + """
@dataclass
class Row:
    size: int

@step
def row() -> Row:
    return Row(7)

@step(retry=None)
def send(size: int) -> None:
    raise PermissionError("not yet")

@workflow
def report() -> None:
    send(row().size)
report()
"""
)

MEMORY = (
    HEAD
    + """
@step(retry=None, isolate=True)
def train() -> int:
    os.kill(os.getpid(), signal.SIGTERM if ALIKE else signal.SIGKILL)
    return 1

@workflow
def fit() -> int:
    return train()
if __name__ == "__main__":
    fit()
"""
)

DAMAGE = (
    HEAD
    + """
@step
def load() -> str:
    return "x" * 50

@step(retry=None)
def send(n: int) -> None:
    raise PermissionError("not yet")

@workflow
def nightly() -> None:
    send(len(load()))
try:
    nightly()
finally:
    if not ALIKE and not os.path.exists("damaged"):
        open("damaged", "w").close()
        with sqlite3.connect(os.environ["PERDURE_STATE"]) as connection:
            connection.execute("UPDATE step SET output = CAST(output || x'00' AS BLOB) WHERE seq = 1")
"""
)

LIVES: dict[str, tuple[str, str, int, tuple[str, str] | None, tuple[str, str] | None]] = {
    "crash-loop": ("crash-loop", CRASH_LOOP, 3, None, None),
    "crash-loop, between steps": ("crash-loop", BETWEEN, 3, None, None),
    "phantom-retry": ("phantom-retry", PHANTOM, 2, None, None),
    "poison-item": ("poison-item", KILLER, 4, None, None),
    "code-drift": ("code-drift", DRIFT, 2, ('"monday"', '"tuesday"'), ('"not yet"', '"later"')),
    "code-drift, renamed": ("code-drift", DRIFT, 2, ("price(", "cost("), ("return 7", "return 8")),
    "schema-change": (
        "schema-change",
        SCHEMA,
        2,
        ("size: int\n\n", "size: int\n    colour: str\n\n"),
        ("size: int\n\n", "size: int\n    colour: str = 'red'\n\n"),
    ),
    "out-of-memory": ("out-of-memory", MEMORY, 1, None, None),
    "state-drift": ("state-drift", DAMAGE, 2, None, None),
}
"""By name: the entry, the script, its lives, and what is edited before the last of them: so that it fails, or alike."""
