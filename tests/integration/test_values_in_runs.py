"""Values as whole scripts see them: order, types, sizes and errors on the first run and on every way to go on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import warm
from conftest import Scripts

HERE = Path(__file__).parent

ORDERED = """
    import os, sys
    from perdure import step, workflow

    @step(retry=None)
    def header(columns: list[str]) -> str:
        return ",".join(columns)

    @step(retry=None)
    def show(row: dict, **more: int) -> str:
        print("STEP", ",".join(row), ",".join(more))
        return ",".join(row)

    @step(retry=None, isolate=True)
    def alone(row: dict) -> str:
        return ",".join(row)

    @step(retry=None)
    def item(row: dict) -> str:
        if not os.path.exists("flag"):
            raise ValueError("not yet")
        print("ITEM", ",".join(row))
        return ",".join(row)

    @step(retry=None)
    def die() -> None:
        if not os.path.exists("flag"):
            os._exit(9)

    @workflow
    def w(row: dict) -> str:
        first = header(list(row))
        got = show(row, y=1, b=2), alone(row)
        batch = item.map([row])
        die()
        return f"{first} {got[0]} {got[1]} {','.join(row)}"

    if __name__ == "__main__":
        print("GOT", w({"z": 1, "y": {"c": 1, "b": 2}, "a": 3}))
"""
WANTED = "z,y,a z,y,a z,y,a z,y,a"


def test_dicts_keep_their_order_on_every_way_to_go_on(scripts: Scripts) -> None:
    """Run again, `perdure resume`, a process of its own, a dead letter driven again, and a fork."""
    script = scripts.write(ORDERED, name="ordered.py")
    assert scripts.run(script).returncode == 9
    folder = script.parent
    (folder / "flag").touch()
    redriven = perdure(folder, "dlq", "redrive", "--all")
    assert "ITEM z,y,a" in redriven.stdout, redriven.stdout + redriven.stderr
    resumed = perdure(folder, "resume", "last")
    assert WANTED in resumed.stdout, resumed.stdout + resumed.stderr
    forked = perdure(folder, "fork", "last", "--from", "show")
    assert "STEP z,y,a y,b" in forked.stdout, forked.stdout + forked.stderr
    assert WANTED in forked.stdout, forked.stdout + forked.stderr


def test_a_script_that_is_run_again_sees_no_drift_in_the_order(scripts: Scripts) -> None:
    """Nor is a call with the same content in another order another call."""
    script = scripts.write(ORDERED, name="ordered.py")
    assert scripts.run(script).returncode == 9
    (script.parent / "flag").touch()
    again = scripts.run(script)
    assert f"GOT {WANTED}" in again.stdout, again.stdout + again.stderr


def perdure(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return warm.run(
        [sys.executable, "-m", "perdure", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


CHANGED = """
    import os
    from dataclasses import dataclass
    from decimal import Decimal
    from perdure import step, workflow

    @step(retry=None)
    def plain() -> TYPE:
        with open("ledger", "a") as ledger:
            ledger.write("plain\\n")
        return 1250

    @step(retry=None)
    def die() -> None:
        if not os.path.exists("flag"):
            open("flag", "w").close()
            os._exit(9)

    @workflow
    def main() -> None:
        got = plain()
        die()
        print("GOT", repr(got))

    if __name__ == "__main__":
        main()
"""


@pytest.mark.parametrize(("now", "seen"), [("int", "GOT 1250"), ("Decimal", "schema-change"), ("str", "schema-change")])
def test_a_changed_builtin_annotation_stops_the_run_before_it_goes_on(scripts: Scripts, now: str, seen: str) -> None:
    """The step is not executed again, and its value is not handed out under another type."""
    script = scripts.write(CHANGED.replace("TYPE", "int"), name="bill.py")
    assert scripts.run(script).returncode == 9
    scripts.write(CHANGED.replace("TYPE", now), name="bill.py")
    again = scripts.run(script)
    assert seen in again.stdout + again.stderr
    assert (script.parent / "ledger").read_text() == "plain\n"


LARGE = """
    import os
    import apsw
    apsw.connection_hooks.append(lambda connection: connection.limit(apsw.SQLITE_LIMIT_LENGTH, 1_000_000))
    from perdure import step, workflow

    @step(retry=None)
    def before() -> int:
        with open("ledger", "a") as ledger:
            ledger.write("before\\n")
        return 1

    @step(retry=None)
    def export() -> bytes:
        return b"x" * (10 if os.path.exists("flag") else 2_000_000)

    @step(retry=None)
    def take(data: bytes) -> int:
        with open("ledger", "a") as ledger:
            ledger.write("take\\n")
        return len(data)

    @workflow
    def main() -> int:
        before()
        if os.environ.get("ARGUMENT"):
            return take(b"x" * 2_000_000)
        return len(export())

    if __name__ == "__main__":
        print("GOT", main())
"""


def test_a_result_that_is_too_large_for_a_record_is_named_and_the_run_goes_on_later(scripts: Scripts) -> None:
    """No I/O error: the step, the size, the way out; what was saved is saved."""
    script = scripts.write(LARGE, name="large.py")
    failed = scripts.run(script)
    assert "step 'export' returned 2 MB" in failed.stderr
    assert "[not-storable]" in failed.stderr
    assert "return its path" in failed.stderr
    (script.parent / "flag").touch()
    assert "GOT 10" in scripts.run(script).stdout
    assert (script.parent / "ledger").read_text() == "before\n"


def test_an_argument_that_is_too_large_is_refused_before_the_step_runs(
    scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work is not done for nothing."""
    script = scripts.write(LARGE, name="large.py")
    monkeypatch.setenv("ARGUMENT", "1")
    failed = scripts.run(script)
    assert "step 'take' is called with 2 MB of arguments" in failed.stderr
    assert (script.parent / "ledger").read_text() == "before\n"


NEVER = """
    from perdure import step, workflow

    @step
    def hours() -> "Connection":
        print("WORKS")

    class Connection: ...

    @workflow
    def main() -> None:
        hours()

    @workflow
    def gives() -> Connection:
        print("WORKS")

    if __name__ == "__main__":
        for fn in (main, gives):
            try:
                fn()
            except Exception as error:
                print(type(error).__name__, error)
"""


def test_a_step_whose_result_can_never_be_stored_is_not_called(scripts: Scripts) -> None:
    """Nor is a workflow."""
    done = scripts.run(scripts.write(NEVER, name="never.py"))
    assert done.stdout.count("UnstorableType") == 2, done.stdout + done.stderr
    assert "WORKS" not in done.stdout


def test_errors_of_well_known_libraries_behave_in_another_process_as_where_they_were_raised(tmp_path: Path) -> None:
    """For every class of the MRO, in text, arguments and plain attributes; of those libraries that are installed."""
    script, saved = str(HERE / "library_errors.py"), str(tmp_path / "saved.json")
    run = [sys.executable, "-W", "ignore", script]
    warm.run([*run, "save", saved], check=True, timeout=120)
    read = warm.run([*run, "read", saved], check=True, timeout=120, capture_output=True, text=True)
    assert read.stdout.strip() == "", read.stdout
    count, _, _, *_ = read.stderr.split()
    assert int(count) >= 40, read.stderr


DRIVER = """
    class DriverError(Exception):
        sqlstate = None

    class Unique(DriverError):
        sqlstate = "23505"

        @property
        def constraint(self):
            return self.args[0].partition(" ")[2]
"""

LAZY = """
    import os
    from perdure import step, workflow

    @step(retry=None, OPTIONS)
    def insert() -> None:
        from driver import Unique
        raise Unique("duplicate uq_email")

    @step(retry=None)
    def note(what: str) -> None:
        print("NOTE", what)

    @step(retry=None)
    def die() -> None:
        if not os.path.exists("flag"):
            open("flag", "w").close()
            os._exit(9)

    @workflow
    def main() -> None:
        try:
            insert()
        except Exception as error:
            note(f"{getattr(error, 'sqlstate', 'unknown')} {getattr(error, 'constraint', 'unknown')}")
        die()
        print("DONE")

    if __name__ == "__main__":
        main()
"""


@pytest.mark.parametrize("options", ["", "isolate=True"])
def test_a_handler_reads_an_error_of_a_library_that_only_the_step_imports(scripts: Scripts, options: str) -> None:
    """In the life in which it was raised, in which it came from another process, and in a later one."""
    scripts.write(DRIVER, name="driver.py")
    script = scripts.write(LAZY.replace("OPTIONS", options), name="lazy.py")
    first = scripts.run(script)
    assert first.returncode == 9, first.stderr
    assert "NOTE 23505 uq_email" in first.stdout
    again = scripts.run(script)
    assert again.stdout.splitlines() == ["DONE"], again.stdout + again.stderr


KEYED = """
    import os
    from perdure import step, workflow

    @step(retry=None, KEY)
    def store(row: dict[str, int]) -> int:
        with open("ledger", "a") as ledger:
            ledger.write("store\\n")
        return row["id"]

    @step(retry=None)
    def die() -> None:
        if not os.path.exists("flag"):
            open("flag", "w").close()
            os._exit(9)

    @workflow
    def main() -> None:
        got = store(ROW)
        die()
        print("GOT", got)

    if __name__ == "__main__":
        main()
"""


@pytest.mark.parametrize("key", ['key=lambda row: row["id"]', 'key=lambda row: str(row["id"])', ""])
def test_a_call_by_key_with_the_same_content_in_another_order_is_no_drift(scripts: Scripts, key: str) -> None:
    """Nor is it another call if the key itself is taken away or changed."""
    text = KEYED.replace("KEY", 'key=lambda row: row["id"]').replace("ROW", '{"id": 1, "b": 2, "a": 3}')
    script = scripts.write(text, name="keyed.py")
    assert scripts.run(script).returncode == 9
    scripts.write(KEYED.replace("KEY", key).replace("ROW", '{"a": 3, "id": 1, "b": 2}'), name="keyed.py")
    again = scripts.run(script)
    assert "GOT 1" in again.stdout, again.stdout + again.stderr
    assert (script.parent / "ledger").read_text() == "store\n"


LONG_ERRORS = """
    import asyncio, os
    from perdure import step, workflow

    class Refused(Exception):
        def __init__(self, message: str, body: dict) -> None:
            super().__init__(message)
            self.body = body

    def text(size: int) -> str:
        return ("some words " * (size // 11 + 1))[:size] + "END"

    @step(retry=None)
    def ask(size: int) -> None:
        error = Refused(text(size), {"answer": text(size // 2)})
        error.add_note(text(size // 8))
        raise error

    @step(retry=None, isolate=True)
    def ask_elsewhere(size: int) -> None:
        raise ValueError(text(size))

    @step(retry=None)
    async def ask_later(size: int) -> None:
        raise ValueError(text(size))

    @step
    def note(what: str, more: int) -> int:
        return len(what)

    @step
    def die(flag: str) -> None:
        if not os.path.exists(flag):
            open(flag, "x").close()
            os._exit(9)

    @workflow
    def w(size: int) -> list[int]:
        seen = []
        try:
            ask(size)
        except Refused as error:
            seen.append(note(str(error), len(error.args[0])))
            seen.append(note("\\n".join(each for each in error.__notes__ if "words" in each), 0))
            try:
                seen.append(note(error.body["answer"], len(error.body)))
            except AttributeError:
                seen.append(note("lost", 0))
        try:
            ask_elsewhere(size)
        except ValueError as error:
            seen.append(note(str(error), len(error.args[0])))
        die("first")
        return seen

    @workflow
    async def later(size: int) -> list[int]:
        try:
            await ask_later(size)
        except ValueError as error:
            seen = note(str(error), len(error.args[0]))
        die("second")
        return [seen]

    if __name__ == "__main__":
        print("GOT", w(SIZE), asyncio.run(later(SIZE)))
"""


@pytest.mark.parametrize(
    ("size", "seen"),
    [
        pytest.param(300_000, [300_003, 37_503, 150_003, 300_003, 300_003], id="kept-whole"),
        pytest.param(2_500_000, None, id="shortened"),
    ],
)
def test_what_a_handler_reads_of_a_very_long_error_is_the_same_in_every_life(
    scripts: Scripts, size: int, seen: list[int] | None
) -> None:
    """It passes on the message, an attribute, a note: whole up to a million characters, and shortened in the first life
    too if there are more. Neither is taken for an edit by a later life.
    """
    script = scripts.write(LONG_ERRORS.replace("SIZE", str(size)), name="long_errors.py")
    assert [scripts.run(script).returncode for _ in range(2)] == [9, 9]
    again = scripts.run(script)
    assert again.returncode == 0, again.stderr
    if seen is None:
        assert "2500003" not in again.stdout
    else:
        assert again.stdout.strip() == f"GOT {seen[:4]} {seen[4:]}"
