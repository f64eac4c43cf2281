"""A script, and what people do to scripts between a crash and the next try.

Each edit is caught before any effect, or harmless: what the edited script calls has been done, by the first life or by
the second, and nothing that was completed was executed again. What a script did is in a ledger outside of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import runpy
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SCRIPT = '''
import json, os, signal, sys
from perdure import Retry, step, workflow


def note(*what):
    """Into the ledger; the process dies at the call that it was told."""
    with open(os.environ["LEDGER"], "a") as ledger:
        ledger.write(json.dumps(what) + "\\n")
    with open(os.environ["LEDGER"]) as ledger:
        if len(ledger.readlines()) == int(os.environ.get("DIES_AT", 0)):
            os.kill(os.getpid(), signal.SIGKILL)


@step
def fetch(day):
    note("fetch", day)
    return [f"{day}-{n}" for n in range(3)]


@step
def price(order, currency="EUR"):
    note("price", order, currency)
    return len(order)


@step
def charge(order, amount):
    note("charge", order, amount)
    return f"charged {order}"


@step
def stamp(order):
    note("stamp", order)
    return f"stamp {order}"


@step(retry=None)
def flaky(n):
    note("flaky", n)
    raise ValueError("flaky")


@step
def mail(to, text):
    note("mail", to, text)
    return to


@workflow
def part(n):
    return charge(f"part {n}", n)


@step
def close(day):
    note("close", day)
    return "closed"


@workflow
def month(day):
    orders = fetch(day)
    prices = [price(order) for order in orders]
    charged = [charge(order, amount) for order, amount in zip(orders, prices)]
    stamps = stamp.map(orders, concurrency=1).results
    parts = part(7)
    try:
        flaky(1)
    except ValueError:
        mail("boss", "it was flaky")
    mail("ann", "done")
    mail("ann", "done")
    end = close(day)
    return [charged, stamps, parts, end]


if __name__ == "__main__":
    print("RESULT", json.dumps(month("monday")))
'''
CALLS = 16
"""Lines of the ledger when nothing is edited."""


class Edit(NamedTuple):
    """What is done to the script: texts that become others. `body`: what a completed step returns is kept, so that the
    result is another one than the edited script would have from the beginning. `plain` is no step any more, and so is
    executed whenever it is called.
    """

    name: str
    changes: tuple[tuple[str, str], ...]
    body: bool = False
    plain: str = "flaky"


def _edit(name: str, *changes: str, body: bool = False, plain: str = "flaky") -> Edit:
    return Edit(name, tuple(zip(changes[::2], changes[1::2], strict=True)), body, plain)


CHARGES = "    charged = [charge(order, amount) for order, amount in zip(orders, prices)]\n"
PRICES = "    prices = [price(order) for order in orders]\n"
STAMPS = "    stamps = stamp.map(orders, concurrency=1).results\n"
PART = "    parts = part(7)\n"
TRY = '    try:\n        flaky(1)\n    except ValueError:\n        mail("boss", "it was flaky")\n'
END = "    end = close(day)\n"
OUTSIDE = '    parts = charge("part 7", 7)\n'
MOVED_OUT = f"{PART}{OUTSIDE}"
EDITS = (
    _edit("nothing", "\n\n\n", "\n\n\n\n"),
    _edit("a comment", "    orders = fetch(day)\n", "    # the orders\n    orders = fetch(day)\n"),
    _edit("other names of variables", "orders", "items", "amount)", "cost)", "order, amount in", "order, cost in"),
    _edit("annotations", "def fetch(day):", "def fetch(day: str) -> list:", "def month(day):", "def month(day: str):"),
    _edit("a step put in front", "    orders = fetch(day)\n", '    mail("bob", "begin")\n    orders = fetch(day)\n'),
    _edit("a step put into the middle", PART, f'    mail("bob", "half")\n{PART}'),
    _edit("a step put at the end", "    end = close(day)\n", '    end = close(day)\n    mail("bob", "end")\n'),
    _edit(
        "a step put into a loop",
        PRICES,
        '    prices = []\n    for order in orders:\n        prices.append(price(order))\n        mail("bob", order)\n',
    ),
    _edit(
        "a step left out at the front",
        PRICES,
        "    prices = [8] * 3\n",
        "zip(orders, prices)",
        "zip(orders, [8, 8, 8])",
    ),
    _edit("a step left out in the middle", PART, "    parts = None\n"),
    _edit("a map left out", STAMPS, "    stamps = []\n"),
    _edit("a failing step left out", TRY, ""),
    _edit(
        "one of two that are alike left out",
        '    mail("ann", "done")\n    mail("ann", "done")\n',
        '    mail("ann", "done")\n',
    ),
    _edit(
        "a third that is alike", '    mail("ann", "done")\n    mail("ann", "done")\n', '    mail("ann", "done")\n' * 3
    ),
    _edit("two steps exchanged", STAMPS + PART, PART + STAMPS),
    _edit(
        "loops joined",
        PRICES + CHARGES,
        "    prices, charged = [], []\n    for order in orders:\n"
        "        prices.append(price(order))\n        charged.append(charge(order, prices[-1]))\n",
    ),
    _edit("a loop backwards", "for order in orders]\n    charged", "for order in reversed(orders)]\n    charged"),
    _edit("a loop sorted", "in zip(orders, prices)]", "in sorted(zip(orders, prices))]"),
    _edit("a loop over fewer", "in zip(orders, prices)]", "in list(zip(orders, prices))[:2]]"),
    _edit("a loop over more", "in zip(orders, prices)]", 'in [*zip(orders, prices), ("extra", 1)]]'),
    _edit("a map over fewer", "stamp.map(orders,", "stamp.map(orders[1:],"),
    _edit("a map over more", "stamp.map(orders,", 'stamp.map([*orders, "extra"],'),
    _edit("a map backwards", "stamp.map(orders,", "stamp.map(orders[::-1],"),
    _edit("a map of more at a time", "concurrency=1", "concurrency=3"),
    _edit("a map instead of a loop", PRICES, "    prices = price.map(orders, concurrency=1).results\n"),
    _edit("a loop instead of a map", STAMPS, "    stamps = [stamp(order) for order in orders]\n"),
    _edit("another constant", "charge(order, amount) for", "charge(order, amount + 1) for"),
    _edit("another text", '    mail("ann", "done")\n', '    mail("ann", "ready")\n'),
    _edit("another text of what was handled", '"it was flaky"', '"it failed"'),
    _edit("another type", "charge(order, amount) for", "charge(order, float(amount)) for"),
    _edit("arguments exchanged", "charge(order, amount) for", "charge(amount, order) for"),
    _edit("a keyword", "charge(order, amount) for", "charge(order, amount=amount) for"),
    _edit("a default said", "[price(order) for", '[price(order, "EUR") for'),
    _edit("another default", 'currency="EUR"', 'currency="USD"', body=True),
    _edit("one more parameter", "def charge(order, amount):", "def charge(order, amount, tip=0):"),
    _edit(
        "one parameter less",
        'def price(order, currency="EUR"):',
        "def price(order):",
        "order, currency)",
        'order, "EUR")',
    ),
    _edit(
        "a parameter renamed",
        "def charge(order, amount):",
        "def charge(order, total):",
        "order, amount)\n    return",
        "order, total)\n    return",
    ),
    _edit(
        "a step renamed",
        "def charge(",
        "def bill(",
        "charge(order, amount) for",
        "bill(order, amount) for",
        'return charge(f"part',
        'return bill(f"part',
    ),
    _edit("a step renamed by an option", "@step\ndef stamp", '@step(name="seal")\ndef stamp'),
    _edit(
        "another function under a step's name",
        "def stamp(order):",
        "def other(order):\n    return order\n\n\n@step\ndef stamp(order):",
        "@step\ndef other",
        "def other",
    ),
    _edit("the workflow inside renamed", "def part(", "def piece(", "parts = part(7)", "parts = piece(7)"),
    _edit("the workflow inside called with another", "part(7)", "part(8)"),
    _edit("the workflow inside without its own", '    return charge(f"part {n}", n)\n', "    return n\n", body=True),
    _edit("the workflow inside made plain", "@workflow\ndef part", "def part"),
    _edit("a step made plain", "@step\ndef mail", "def mail", plain="mail"),
    _edit(
        "a plain function made a step",
        "@step\ndef fetch",
        "@step\ndef today():\n    return 1\n\n\n@step\ndef fetch",
        "    orders = fetch",
        "    today()\n    orders = fetch",
    ),
    _edit("another body", 'return f"charged {order}"', 'return f"charged: {order}"', body=True),
    _edit("another result of what is looped over", "range(3)", "range(4)", body=True),
    _edit("another result type", "    return len(order)\n", "    return str(len(order))\n", body=True),
    _edit("a handled error not handled", TRY, "    flaky(1)\n"),
    _edit("another error handled", "except ValueError", "except KeyError"),
    _edit("what failed is repaired", '    raise ValueError("flaky")\n', '    return "steady"\n', body=True),
    _edit("more attempts", "@step(retry=None)\ndef flaky", "@step(retry=Retry(attempts=2, delay=0.001))\ndef flaky"),
    _edit("an option of a step", "@step\ndef charge", '@step(timeout="1h")\ndef charge'),
    _edit("the workflow's input", 'month("monday")', 'month("tuesday")'),
    _edit(
        "a step moved into a workflow inside",
        "    end = close(day)\n",
        "    end = ending(day)\n",
        "@workflow\ndef month",
        "@workflow\ndef ending(day):\n    mail('ann', 'done')\n    return close(day)\n\n\n@workflow\ndef month",
        '    mail("ann", "done")\n    mail("ann", "done")\n',
        '    mail("ann", "done")\n',
    ),
    _edit(
        "a call moved out of the workflow inside", '    return charge(f"part {n}", n)', "    return n", PART, MOVED_OUT
    ),
    _edit("the workflow inside left out, its call kept", PART, OUTSIDE),
    _edit(
        "a loop moved into a workflow inside",
        CHARGES,
        "    charged = all_of(orders, prices)\n",
        "@workflow\ndef part",
        f"@workflow\ndef all_of(orders, prices):\n{CHARGES}    return charged\n\n\n@workflow\ndef part",
    ),
    _edit(
        "a map moved into a workflow inside",
        STAMPS,
        "    stamps = stamped(orders)\n",
        "@workflow\ndef part",
        f"@workflow\ndef stamped(orders):\n{STAMPS}    return stamps\n\n\n@workflow\ndef part",
    ),
    _edit(
        "a step moved into the workflow inside that is there",
        "    return charge(f",
        '    mail("ann", "done")\n    return charge(f',
        '    mail("ann", "done")\n    mail("ann", "done")\n',
        '    mail("ann", "done")\n',
        PART,
        "",
        END,
        PART + END,
        body=True,
    ),
    _edit(
        "a call moved from one workflow inside to another",
        "@workflow\ndef part(n):\n",
        '@workflow\ndef bill(n):\n    return charge(f"part {n}", n)\n\n\n'
        "@workflow\ndef part(n):\n    return n\n\n\ndef was(n):\n",
        PART,
        "    parts = part(7)\n    parts = bill(7)\n",
    ),
    _edit(
        "the workflow inside moved into another",
        PART,
        "    parts = around()\n",
        "@workflow\ndef month",
        f"@workflow\ndef around():\n{PART}    return parts\n\n\n@workflow\ndef month",
    ),
    _edit("one more input of the workflow inside", "def part(n):", "def part(n, k=0):", "part(7)", "part(7, 1)"),
    _edit(
        "an error for which the script is guilty",
        "    parts = part(7)\n",
        "    parts = part(8 - 1, )\n    assert parts\n",
    ),
)


class Verdict(NamedTuple):
    """How an edit went: "caught" (and by which error), "harmless", or "wrong" (and why)."""

    how: str
    why: str


class Bench:
    """A folder in which the script lives, dies, is edited and lives again.

    Args:
        folder: an empty one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fresh: dict[str, tuple[Counter[str], str, int]] = {}

    def trial(self, edit: Edit, dies_at: int) -> Verdict:
        """The script dies in the call of that number, and is edited."""
        text = edited(edit)
        done, _, status, said = self._lives(SCRIPT, "tried", dies_at)
        if status != -9:
            raise AssertionError(f"it did not die: {status} {said}")
        *completed, in_flight = done
        after, result, status, said = self._lives(text, "tried", 0, anew=False)
        after = after[len(done) :]
        if "with other arguments; go on with it: perdure resume" in said:
            return Verdict("harmless", "another run")
        wanted, right, _ = self._from_the_beginning(edit, text)
        before = Counter(completed)
        if status != 0:
            code = re.search(r"\[([a-z-]+)\]", said)
            if result or (not code and "ValueError: flaky" not in said and "TypeError" not in said):
                return Verdict("wrong", f"ends with {status}: {said[-300:]}")
            if code and code[1] not in ("steps-failed",) and after:
                return Verdict("wrong", f"{code[1]} after {after}")
            again = self._again(edit, before, Counter(after), wanted, in_flight)
            return (
                Verdict("wrong", f"executed again: {again}")
                if again
                else Verdict("caught", code[1] if code else "its own")
            )
        if again := self._again(edit, before, Counter(after), wanted, in_flight):
            return Verdict("wrong", f"executed again: {again}; it says {said[-300:]}")
        if not edit.body:
            missing = wanted - before - Counter(after) - Counter([in_flight])
            if missing:
                return Verdict("wrong", f"not done: {sorted(missing)}")
            if result != right:
                return Verdict("wrong", f"the result is {result}, and would be {right}")
        return Verdict("harmless", "")

    def _again(
        self, edit: Edit, before: Counter[str], after: Counter[str], wanted: Counter[str], in_flight: str
    ) -> list[str]:
        """What was completed, is still called, and was executed once more than the edited script calls it.

        A failure that the script no longer handles is no end: the step is tried again.
        """
        return sorted(
            call
            for call in after
            if before[call]
            and not call.startswith(f'["{edit.plain}"')
            and before[call] + after[call] > max(wanted[call], before[call]) + (call == in_flight)
        )

    def _from_the_beginning(self, edit: Edit, text: str) -> tuple[Counter[str], str, int]:
        if edit.name not in self._fresh:
            lines, result, status, _ = self._lives(text, "fresh", 0)
            self._fresh[edit.name] = Counter(lines), result, status
        return self._fresh[edit.name]

    def _lives(self, text: str, name: str, dies_at: int, *, anew: bool = True) -> tuple[list[str], str, int, str]:
        """One process: the ledger, the result, the status and what it said."""
        home = self._folder / name
        home.mkdir(exist_ok=True)
        script, ledger, state, said = (home / each for each in ("script.py", "ledger", "state.db", "said"))
        if anew:
            for path in home.iterdir():
                if path.is_file():
                    path.unlink()
        script.write_text(text, encoding="utf-8")
        environment = {
            "PERDURE_STATE": str(state),
            "LEDGER": str(ledger),
            "DIES_AT": str(dies_at),
            "PERDURE_ALERTS": "",
        }
        pid = os.fork()
        if pid == 0:
            _execute(script, said, environment)
        _, status = os.waitpid(pid, 0)
        text = said.read_text(encoding="utf-8")
        lines = ledger.read_text(encoding="utf-8").splitlines() if ledger.exists() else []
        result = next((line for line in text.splitlines() if line.startswith("RESULT")), "")
        return lines, result, os.waitstatus_to_exitcode(status), text


def edited(edit: Edit) -> str:
    """The script after the edit.

    Raises:
        AssertionError: a text that is to be changed is not there.
    """
    text = SCRIPT
    for old, new in edit.changes:
        assert old in text, f"{edit.name}: {old!r} is not in the script"
        text = text.replace(old, new)
    compile(text, edit.name, "exec")
    return text


def _execute(script: Path, said: Path, environment: dict[str, str]) -> None:
    """In a child: what the script says goes to a file."""
    status = 1
    with contextlib.suppress(BaseException):
        descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.environ.update(environment)
        os.chdir(script.parent)
        sys.argv = [str(script)]
        try:
            runpy.run_path(str(script), run_name="__main__")
            status = 0
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def trials(places: Iterator[int] | None = None) -> Iterator[tuple[Edit, int]]:
    """Every edit, at each of these places of death."""
    for place in places or range(1, CALLS + 1):
        for edit in EDITS:
            yield edit, place


def line(edit: Edit, place: int, verdict: Verdict) -> str:
    """A broken promise, as a figure shows it."""
    return json.dumps({"edit": edit.name, "dies at": place, "why": verdict.why})
