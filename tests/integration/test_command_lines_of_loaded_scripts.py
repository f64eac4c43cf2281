"""A script that is loaded by perdure sees its own command line, or none: never that of one of perdure's programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.integration.script_places import Place

from conftest import Machine, Trouble
from perdure import step, workflow
from perdure.errors import Drift


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A folder of its own."""
    return Place(tmp_path)


SEEN = """
import json, sys
from perdure import step, workflow
from perdure.engines.processes import template
template._copies = None if "copies" in sys.argv else False
AT_TOP = sys.argv[1:]
@step(retry=None)
def seen(n): return [AT_TOP == sys.argv[1:], len(AT_TOP), AT_TOP[-1], sys.argv[0], __debug__]
@step(retry=None, isolate=True)
def seen_alone(n): return [AT_TOP == sys.argv[1:], len(AT_TOP), AT_TOP[-1], sys.argv[0], __debug__]
@workflow
def main(count):
    return [seen(1), *seen.map([2, 3], processes=2).results, seen_alone(4)]
if __name__ == "__main__":
    print(json.dumps(main(len(AT_TOP))))
"""


@pytest.mark.parametrize("how", ["copies", "programs"])
def test_processes_of_steps_have_the_command_line_of_the_script(place: Place, how: str) -> None:
    """Whole, however long it is and whatever is in it; and the options of the interpreter: `-O` is no other program."""
    place.write(SEEN, "seen.py")
    rest = [f"{n:0100}" for n in range(4000)] if how == "copies" else []
    out = place.python("-O", "seen.py", how, *rest, "--währung=U S'D", status=0)
    line = next(line for line in out.splitlines() if line.startswith("[["))
    assert json.loads(line) == [[True, len(rest) + 2, "--währung=U S'D", "seen.py", False]] * 4


AT_TOP = """
import argparse, os, sys
from perdure import step, workflow
CURRENCY = {currency}
@step(retry=None)
def price(n):
    if not os.path.exists("fixed"): raise PermissionError("no")
    return f"{{n}} {{CURRENCY}} {{sys.argv[1:]}}"
@workflow
def main(currency): return price(1)
if __name__ == "__main__": print(main(CURRENCY))
"""


def test_a_command_that_loads_a_script_is_not_its_command_line(place: Place) -> None:
    """The script finds no arguments, at its top and in its steps, and one line says so."""
    place.write(AT_TOP.format(currency='sys.argv[1] if len(sys.argv) > 1 else "EUR"'), "shop.py")
    place.python("shop.py", "USD", status=1)
    place.write("", "fixed")
    out = place.perdure("resume", "last", status=0)
    assert "1 EUR []" in out
    assert [line for line in out.splitlines() if "line 4 of shop.py looks for command-line arguments" in line]


def test_a_script_that_cannot_be_loaded_without_its_command_line_says_what_to_do(place: Place) -> None:
    """The error is of the script, at its line, and names what to do; the run is as it was."""
    text = AT_TOP.format(currency="PARSER.parse_args().currency")
    text = text.replace(
        "CURRENCY =", 'PARSER = argparse.ArgumentParser(); PARSER.add_argument("currency")\nCURRENCY =', 1
    )
    place.write(text, "shop.py")
    place.python("shop.py", "USD", status=1)
    place.write("", "fixed")
    out = place.perdure("resume", "last", status=2)
    assert "line 5 of shop.py looks for command-line arguments" in out
    assert 'below `if __name__ == "__main__":`' in out
    assert "unrecognized" not in out
    assert "1 USD" in place.python("shop.py", "USD", status=0)


def test_a_drift_does_not_say_that_nothing_was_executed_if_something_was(machine: Machine) -> None:
    """Steps of other names are executed before the drift is seen: the error names where they are shown."""

    @step(retry=None)
    def mail_of_drift(to: str) -> None:
        machine.ran.append(to)

    @step(retry=None)
    def charge_of_drift(order: int) -> None:
        machine.ran.append(order)
        if len(machine.ran) == 2:
            raise Trouble

    edited: list[bool] = []

    @workflow(name="drift_after_work")
    def wf() -> None:
        if not edited:
            mail_of_drift("ann")
        charge_of_drift(1)
        mail_of_drift("bob")

    with pytest.raises(Trouble):
        wf()
    edited.append(True)
    with pytest.raises(Drift) as found:
        wf()
    assert machine.ran == ["ann", 1, 1]
    assert "it is not executed again" in str(found.value)
    assert "nothing was executed" not in str(found.value)
    assert "what was executed before it came to this call is saved:  perdure show drift_after_work-" in str(found.value)
