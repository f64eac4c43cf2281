"""What the state files in this folder are of: every kind of record that there is.

Steps append to a ledger outside of the state file what they do. With DYING set, `pack` kills its process; without
MENDED, the bank is closed.
"""

from __future__ import annotations

import os
import signal
import sys

import perdure
from perdure import Retry, defer, step, workflow

TWICE = Retry(attempts=2, delay="1ms", jitter=0)


def note(line: str) -> None:
    """Append a line to the ledger, in one write."""
    descriptor = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


@step(retry=None)
def close(what: str) -> None:
    """A clean-up."""
    note(f"close {what}")


@step(retry=TWICE)
def refund(receipt: str) -> None:
    """A clean-up that fails as long as the bank is closed."""
    note(f"refund {receipt}")
    if receipt.endswith("stuck") and "MENDED" not in os.environ:
        raise ConnectionError("the bank is closed")


@step(retry=TWICE, undo=refund)
def charge(what: str) -> str:
    """A step that can be undone."""
    note(f"charge {what}")
    return f"receipt {what}"


@step(name="undo:note")
def undo_note(what: str) -> str:
    """A step whose name looks like a clean-up's."""
    note(f"undo:note {what}")
    return what


@step(name="defer:note")
def defer_note(what: str) -> str:
    """The same."""
    note(f"defer:note {what}")
    return what


@step(retry=None)
def pack(what: str) -> str:
    """The step that the process dies in."""
    note(f"pack {what}")
    if "DYING" in os.environ:
        os.kill(os.getpid(), signal.SIGKILL)
    return what


@step(retry=TWICE)
def send(number: int) -> int:
    """An item that fails as long as the bank is closed."""
    note(f"send {number}")
    if number % 2 and "MENDED" not in os.environ:
        raise ConnectionError(f"{number} is refused")
    return number


@workflow
def invoice(day: str) -> str:
    """A child."""
    return charge(f"invoice {day}")


@workflow
def finished(day: str) -> str:
    """A run that ends well."""
    perdure.now()
    perdure.random()
    defer(close, f"finished {day}")
    return invoice(day) + perdure.uuid().hex[:0]


@workflow
def failed(day: str) -> None:
    """A run that fails, with a clean-up that fails too."""
    charge(f"{day}")
    charge(f"{day} stuck")
    undo_note(day)
    raise ValueError("no luck")


@workflow
def killed(day: str) -> str:
    """A run that is killed in its middle."""
    perdure.now()
    defer(close, f"killed {day}")
    charge(f"killed {day}")
    undo_note(day)
    defer_note(day)
    return pack(day) + invoice(day)


@workflow
def letters(count: int) -> int:
    """A run with dead letters."""
    return len(send.map(range(count)).dead)


if __name__ == "__main__":
    print({"finished": finished, "failed": failed, "killed": killed}[sys.argv[1]]("monday"))
