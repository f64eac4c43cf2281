"""Whatever is changed in a state file, by one bit or in one column: a named error or the right values, and no hang."""

from __future__ import annotations

import contextlib
import io
import random
import re
import shutil
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Scripts
from perdure.cli import main
from perdure.config.script_loader import load_script
from perdure.engines.local import engine as local
from perdure.errors import PerdureError

SCRIPT = """
import os
from perdure import lock, step, workflow

EXECUTED = []

@step(retry=None)
def price(i: int) -> str:
    EXECUTED.append(i)
    return f"price of {i}"

@step(retry=None)
def picky(i: int) -> str:
    if i == 3:
        raise ValueError("three")
    return f"picked {i}"

@step(retry=None)
def slow(i: int) -> int:
    if os.environ.get("DIE"):
        os.kill(os.getpid(), 9)
    return i

@workflow
def part(i: int) -> str:
    return price(100 + i)

@workflow(lock="till")
def whole(n: int) -> list:
    out = [price(i) for i in range(n)]
    batch = picky.map(range(5))
    out += [part(1), str(batch.dead)[:0]]
    try:
        picky(3)
    except ValueError:
        out.append("handled")
    out.append(slow(7))
    return out

if __name__ == "__main__":
    whole.with_options(id="x")(6)
"""
RIGHT = [*(f"price of {i}" for i in range(6)), "price of 101", "", "handled", 7]
COMMANDS = (["ps", "--all"], ["show", "x"], ["why", "last"], ["dlq", "ls"], ["doctor"])
SECONDS = 30
"""After so long a command hangs."""


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the state of a run that was killed twice, and nothing in its journal."""
    folder = tmp_path_factory.mktemp("left")
    scripts = Scripts(folder)
    path = scripts.write(SCRIPT, "s.py")
    for _ in range(2):
        scripts.start(path, PERDURE_STATE=str(folder / "state.db"), DIE="1").communicate()
    connection = sqlite3.connect(folder / "state.db")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return folder


class Hangs(BaseException):
    """It does not come to an end."""


@contextlib.contextmanager
def ends() -> Iterator[None]:
    """See that what is inside comes to an end, also inside of SQLite, which looks at signals now and then."""

    def ring(*_: object) -> None:
        raise Hangs

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def one_bit(path: Path, chance: random.Random) -> str:
    content = bytearray(path.read_bytes())
    used = [at for at, byte in enumerate(content) if byte]  # most of a small file is free
    at, bit = chance.choice(used), chance.randrange(8)
    content[at] ^= 1 << bit
    path.write_bytes(content)
    return f"bit {bit} of byte {at}"


def one_column(path: Path, chance: random.Random) -> str:
    """A row gets another value in one column, which its table takes: SQLite's own checks are off."""
    connection = sqlite3.connect(path)
    connection.text_factory = bytes
    connection.execute("PRAGMA ignore_check_constraints = ON")
    tables = [name.decode() for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    table = chance.choice([name for name in tables if not name.startswith("sqlite_")])
    columns = [
        (str(row[1], "utf-8"), str(row[2], "utf-8")) for row in connection.execute(f"PRAGMA table_info({table})")
    ]
    keys = [str(row[1], "utf-8") for row in connection.execute(f"PRAGMA table_info({table})") if row[5]]
    rows = connection.execute(f"SELECT {', '.join(keys)} FROM {table}").fetchall()
    if not rows:
        connection.close()
        return one_column(path, chance)
    column, kind = chance.choice(columns)
    others = [value for (value,) in connection.execute(f"SELECT {column} FROM {table}")]
    value = chance.choice([*others, *VALUES[kind]])
    row = chance.choice(rows)
    same = " AND ".join(f"CAST({key} AS BLOB) = CAST(? AS BLOB)" for key in keys)
    text = "CAST(? AS TEXT)" if kind == "TEXT" and value is not None else "?"
    try:
        connection.execute(f"UPDATE {table} SET {column} = {text} WHERE {same}", (value, *row))
        connection.commit()
    except sqlite3.IntegrityError:  # of a type that the column does not take, or a number that is another's
        connection.close()
        return one_column(path, chance)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return f"{table}.{column} of {row} = {value!r}"


VALUES: dict[str, list[Any]] = {
    "TEXT": [b"", b"x", b"\xff\xfe", b"done", b"running", b"failed", b"/etc/passwd", b"\x00"],
    "BLOB": [b"", b"\xc1", bytes(16), b"\x93\x01", None],
    "INTEGER": [0, 1, 2, 3, -1, 2**31, 2**63 - 1, -(2**63), None],
    "REAL": [0.0, -1.0, 1e300, float("inf"), float("-inf"), None],
}


def look(state: Path, command: list[str]) -> str:
    """What a command comes to: the code of a named error, or nothing. Anything else is raised."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), ends():
        code = main([*command, "--state", str(state)])
    assert code in (0, 1) or "[not-found]" in said.getvalue(), (command, code, said.getvalue())
    return "".join(re.findall(r"\[(state-[a-z]+|not-found)\]", said.getvalue())[:1])


def go_on(state: Path, module: Any) -> str:
    """Run the script again: its result is right, or the error has a name."""
    module.EXECUTED.clear()
    try:
        with ends():
            result = module.whole.with_options(id="x")(6)
    except PerdureError as error:
        return type(error).code
    assert result == RIGHT, result
    return f"executed again: {len(module.EXECUTED)}" if module.EXECUTED else ""


def campaign(
    left: Path, folder: Path, seed: int, most: int, mutate: Callable[[Path, random.Random], str]
) -> Counter[str]:
    """So many mutations; returns how often what came out."""
    module = load_script(left / "s.py")
    seen: Counter[str] = Counter()
    for number in range(most):
        home = folder / "home"
        shutil.copytree(left, home)
        state = home / "state.db"
        about = mutate(state, random.Random(f"{seed} {number}"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PERDURE_STATE", str(state))
            patch.setenv("PERDURE_ALERTS", "")
            patch.setenv("PERDURE_QUIET", "1")
            try:
                named = [look(state, command) for command in COMMANDS]
                outcome = go_on(state, module)
            except BaseException as error:
                error.add_note(f"mutation {number} of seed {seed}: {about}")
                raise
            finally:
                local.close_all()
        seen[outcome or "right"] += 1
        seen["named by a command"] += any(named)
        missing = about.startswith("step.run of")  # a checksum says that a row is wrong, not that one is missing
        if outcome.startswith("executed again") and mutate is one_column and not missing:
            raise AssertionError(f"mutation {number} of seed {seed}: {about}: {outcome}")
        shutil.rmtree(home)
    return seen


@pytest.mark.parametrize("mutate", [one_bit, one_column])
def test_a_mutation_is_named_or_harmless(left: Path, tmp_path: Path, mutate: Any) -> None:
    """By every command that looks at it and by the script that goes on; no call gets the result of another."""
    seen = campaign(left, tmp_path, 1, 16, mutate)
    assert seen["state-corrupt"] > 3
    assert seen["right"] > 0


@pytest.mark.long
@pytest.mark.parametrize("mutate", [one_bit, one_column])
def test_thousands_of_mutations(left: Path, tmp_path: Path, mutate: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The same for longer."""
    seen = campaign(left, tmp_path, 2, 1500, mutate)
    with capsys.disabled():
        print(dict(seen))


def test_the_state_as_it_was_left_is_right(left: Path, tmp_path: Path) -> None:
    """The control: nothing is wrong before anything is changed, and nothing is executed again."""
    seen = campaign(left, tmp_path, 1, 1, lambda path, chance: "nothing")
    assert seen == Counter({"right": 1, "named by a command": 0})
