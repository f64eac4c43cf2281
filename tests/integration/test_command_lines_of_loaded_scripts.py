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


@pytest.mark.parametrize("currency", ["sys.argv[1] if len(sys.argv) > 1 else 'EUR'", "PARSER.parse_args().currency"])
@pytest.mark.parametrize("command", [("resume", "last"), ("resume", "--all")])
def test_a_command_gives_a_script_the_command_line_of_its_run(place: Place, currency: str, command: list[str]) -> None:
    """At its top and in its steps; one line says so, and `show` shows it."""
    text = AT_TOP.format(currency=currency).replace("CURRENCY =", f"{PARSER}\nCURRENCY =", 1)
    place.write(text, "shop.py")
    place.python("shop.py", "USD", status=1)
    place.write("", "fixed")
    assert "\narguments USD\n" in place.perdure("show", "last", status=0)
    out = place.perdure(*command, status=0)
    assert "1 USD ['USD']" in out
    assert "line 5 of shop.py looks for command-line arguments, and finds those of the run: USD" in out


def test_a_relative_path_that_names_another_file_elsewhere_is_told(place: Place) -> None:
    """By the command that goes on with the run in another folder, and by `show` there; not if there is none."""
    place.write(AT_TOP.format(currency="sys.argv[-1]"), "shop.py")
    (place.folder / "day").mkdir()
    elsewhere, state = Place(place.folder / "day"), str(place.folder / ".perdure" / "state.db")
    for arguments, told in ((["day/out.txt", "USD"], True), (["USD", "2026-01-01"], False)):
        place.python("shop.py", *arguments, status=1)
        shown = elsewhere.perdure("show", "last", status=0, PERDURE_STATE=state)
        assert (f"given in  {place.folder}" in shown) is told
        place.write("", "day/fixed")
        out = elsewhere.perdure("resume", "last", status=0, PERDURE_STATE=state)
        assert (f"the run was begun in {place.folder}, with a relative path" in out) is told


PARSER = "PARSER = argparse.ArgumentParser(); PARSER.add_argument('currency')"


def test_a_text_that_python_is_given_has_a_command_line_too(place: Place) -> None:
    """By `-c` or on standard input; what it imports is loaded with that."""
    place.write(AT_TOP.format(currency="sys.argv[-1]"), "shop.py")
    place.python("-c", "import shop; shop.main(1)", "USD", status=1)
    place.write("", "fixed")
    assert "1 USD ['USD']" in place.perdure("resume", "last", status=0)


def test_the_script_that_goes_on_with_a_run_gives_it_its_own_command_line(place: Place) -> None:
    """Of two the last one counts: it was typed when what came of the first one was known. None is one, too."""
    place.write(GUARDED, "shop.py")
    place.python("shop.py", "--slow", status=1)
    place.python("shop.py", "--fast", status=1)
    assert "\narguments --fast\n" in place.perdure("show", "last", status=0)
    place.python("shop.py", status=1)
    assert "\narguments " not in place.perdure("show", "last", status=0)


GUARDED = """
import os, sys
from perdure import step, workflow
@step(retry=None)
def price(n):
    if not os.path.exists("fixed"): raise PermissionError("no")
    return f"seen {sys.argv[1:]}"
@workflow
def main(n=1): return price(n)
if __name__ == "__main__": print(main(int(sys.argv[1]) if sys.argv[1:2] and sys.argv[1].isdigit() else 1))
"""


def test_a_credential_is_not_kept_and_a_script_that_needs_it_is_not_loaded(place: Place) -> None:
    """It is in no file of the state; who asks for arguments gets no others in their place."""
    text = AT_TOP.format(currency="sys.argv[-1] + str(len(sys.argv))")
    place.write(text, "shop.py")
    place.python("shop.py", "--api-key", "s3cr3t-canary", "--db=postgres://me:s3cr3t-canary@h/d", "USD", status=1)
    place.write("", "fixed")
    assert "arguments --api-key *** --db=postgres://me:***@h/d USD" in place.perdure("show", "last", status=0)
    out = place.perdure("resume", "last", status=2)
    assert "line 4 of shop.py looks for command-line arguments, and those of the run have a credential" in out
    files = [file for file in (place.folder / ".perdure").rglob("*") if file.is_file()]
    assert [file for file in files if b"s3cr3t-canary" in file.read_bytes()] == []
    assert "1 USD5 " in place.python("shop.py", "--api-key", "x", "--db=", "USD", status=0)


def test_letters_of_several_command_lines_are_redriven_each_with_its_own(place: Place) -> None:
    """By one command: the script is loaded once for each, and a guarded one sees each as it is redriven."""
    for name, text in (("top.py", LETTERS.format("AT_TOP")), ("guarded.py", LETTERS.format("sys.argv[1:]"))):
        place.write(text, name)
        for currency in ("USD", "GBP", "USD"):
            place.python(name, currency, status=0)
    place.write("", "fixed")
    place.perdure("dlq", "redrive", "--all", status=0)
    assert (place.folder / "sent").read_text().splitlines() == ["['USD']"] * 4 + ["['GBP']"] * 2


LETTERS = """
import os, sys
from perdure import step, workflow
AT_TOP = sys.argv[1:] if {0!r} == "AT_TOP" else None
@step(retry=None)
def send(n):
    if not os.path.exists("fixed"): raise PermissionError("no")
    with open("sent", "a") as file: print({0}, file=file)
@workflow
def main(): send.map([1])
if __name__ == "__main__": main()
"""


def test_a_script_that_its_command_line_ends_says_what_to_do(place: Place) -> None:
    """Begun by another program, without arguments: the error is of the script, at its line; the run is as it was."""
    text = AT_TOP.format(currency="PARSER.parse_args().currency").replace("CURRENCY =", f"{PARSER}\nCURRENCY =", 1)
    place.write(text, "shop.py")
    place.python("shop.py", "USD", status=1)
    place.write("", "fixed")
    place.write(text.replace("'currency'", "'currency', choices=['EUR']"), "shop.py")
    out = place.perdure("resume", "last", status=2)
    assert "line 5 of shop.py looks for command-line arguments, finds those of the run, USD, and the script ends" in out
    out = place.perdure("run", "shop.py", "--currency", "EUR", status=2)
    assert "line 5 of shop.py looks for command-line arguments" in out
    assert 'below `if __name__ == "__main__":`' in out
    assert "unrecognized" not in out


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


SLEEPS = """
import sys
import perdure
from perdure import step, workflow
AT_TOP = {0}
@step(retry=None)
def send(n):
    with open("sent", "a") as file: print(AT_TOP, sys.argv[1:], file=file)
@workflow
def main(n):
    perdure.wait_for("go")
    send(n)
if __name__ == "__main__": main(sys.argv[-1])
"""


def test_a_worker_holds_the_runs_whose_command_line_does_not_load_the_script(place: Place) -> None:
    """Not those of others; it says so, and its exit code does."""
    place.write(SLEEPS.format("sys.argv[1:]"), "shop.py")
    for line in (["--token", "abc", "1"], ["2"]):
        place.python("shop.py", *line, PERDURE_SUSPEND_AFTER="0", status=75)
    for run in json.loads(place.perdure("ps", "--json", status=0))["runs"]:
        place.perdure("signal", run["id"], "go", status=0)
    out = place.perdure("worker", "--once", "shop.py", status=1)
    assert "runs are on hold until the script is edited: " in out
    assert "have a credential, which is not kept: --token *** 1" in out
    assert (place.folder / "sent").read_text() == "['2'] ['2']\n"


@pytest.mark.parametrize("at_top", ["sys.argv[1:]", "None"])
def test_a_worker_gives_each_run_its_command_line(place: Place, at_top: str) -> None:
    """Runs of a script that reads it as it is loaded each go on in a process that is loaded with theirs; one that was
    enqueued has none; what does not read it there sees it as it is executed."""
    place.write(SLEEPS.format(at_top), "shop.py")
    for n in ("1", "2"):
        place.python("shop.py", n, PERDURE_SUSPEND_AFTER="0", status=75)
    place.python("-c", "import shop; shop.main.enqueue('3')", status=0)
    place.perdure("worker", "--once", "shop.py", status=0)
    for run in json.loads(place.perdure("ps", "--json", status=0))["runs"]:
        place.perdure("signal", run["id"], "go", status=0)
    out = place.perdure("worker", "--once", "shop.py", status=0)
    sent = sorted((place.folder / "sent").read_text().splitlines())
    expected = [[], ["1"], ["2"]]
    assert sent == sorted(f"{line if at_top != 'None' else None} {line}" for line in expected), out
