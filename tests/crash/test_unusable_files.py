"""State files that cannot be used: refused whole, with a named error and a hint, and left as they were."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from . import broken, ledger, oracle
from .cases import Ground
from .kill import Kill
from .shape import FOLDER, SHAPES
from .victim import HERE, Home

BEFORE, AFTER = (FOLDER / f"{edition}.py" for edition in SHAPES["edited"].editions)


@pytest.fixture(scope="module")
def saved(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home whose state file holds a run that failed half way, closed in good order."""
    home = Home(tmp_path_factory.mktemp("saved"))
    home.install(BEFORE)
    assert ground.nursery.live(home, 0, Kill()).status == 1, home.said()
    assert home.state.exists()
    assert not home.state.with_name("state.db-wal").exists(), "the last connection checkpoints"
    return home


@pytest.fixture
def home(saved: Home, tmp_path: Path) -> Home:
    """A copy of it, with the mended script installed."""
    home = Home(tmp_path / "home")
    home.install(AFTER)
    shutil.copy(saved.state, home.state)
    shutil.copy(saved.ledger, home.ledger)
    return home


def attempt(ground: Ground, home: Home) -> tuple[int, str]:
    """Run the script on whatever lies there: the exit status, and the code of the named error if it had a hint."""
    before = len(ledger.read(home.ledger))
    argv = [str(HERE / "faulty.py"), str(home.script)]
    death = ground.nursery.live(home, 1, Kill(), argv=argv)
    codes = [line.code for line in ledger.read(home.ledger)[before:] if line.what == "refused" and line.value]
    return death.status, "".join(codes)


def refused(ground: Ground, home: Home, code: str) -> None:
    """It is refused with this error, nothing was executed, and the file is the same to the byte."""
    content = home.state.read_bytes()
    executed = [line for line in ledger.read(home.ledger) if line.what == "ran"]
    assert attempt(ground, home) == (broken.REFUSED, code), home.said()
    assert home.state.read_bytes() == content
    assert [line for line in ledger.read(home.ledger) if line.what == "ran"] == executed


def test_the_saved_file_itself_is_accepted(ground: Ground, home: Home) -> None:
    """The control of all tests below: with the file as it is, the run goes on to its end."""
    assert attempt(ground, home) == (0, ""), home.said()


@pytest.mark.parametrize("size", [0, 1, 99, 100, 512, 4095, 4096, 8192, -4096, -1])
def test_truncated(ground: Ground, home: Home, size: int) -> None:
    """At any length, also at the border of a page."""
    content = home.state.read_bytes()
    home.state.write_bytes(content[:size])
    content = home.state.read_bytes()
    status, code = attempt(ground, home)
    assert status == broken.REFUSED, home.said()
    assert code in ("state-corrupt", "state-foreign")
    assert home.state.read_bytes() == content


def _garbage(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(20_000))


def _text(path: Path) -> None:
    path.write_text("amount,currency\n1,EUR\n" * 300)


def _foreign(path: Path) -> None:
    path.unlink()
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE photo (name TEXT); INSERT INTO photo VALUES ('cat')").fetchall()
    connection.close()


def _newer(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 9999)
    connection.close()


@pytest.mark.parametrize(
    ("spoil", "code"),
    [(_garbage, "state-foreign"), (_text, "state-foreign"), (_foreign, "state-foreign"), (_newer, "state-newer")],
)
def test_of_somebody_else(ground: Ground, home: Home, spoil: Callable[[Path], None], code: str) -> None:
    """Noise, a text file, another program's database, a file of a later version."""
    spoil(home.state)
    refused(ground, home, code)


def test_a_folder_in_its_place(ground: Ground, home: Home) -> None:
    """Whatever lies at the path, the answer is a named error."""
    home.state.unlink()
    home.state.mkdir()
    assert attempt(ground, home)[0] == broken.REFUSED, home.said()


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """The folder and all in it cannot be written; permissions do not stop root, so for root it is mounted that way."""
    if os.geteuid() != 0:
        folder.chmod(0o500)
        for file in folder.iterdir():
            file.chmod(0o400)
        yield
        folder.chmod(0o700)
        return
    bind = [["mount", "--bind", str(folder), str(folder)], ["mount", "-o", "remount,ro,bind", str(folder)]]
    if sys.platform != "linux" or any(
        subprocess.run(step, capture_output=True, check=False).returncode for step in bind
    ):
        pytest.skip("root, and mounting is not permitted: nothing here is read-only")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("present", [True, False])
def test_read_only(ground: Ground, home: Home, tmp_path: Path, present: bool) -> None:
    """A file that cannot be written, and a folder in which none can be made."""
    folder = tmp_path / "frozen"
    folder.mkdir()
    if present:
        shutil.copy(home.state, folder / "state.db")
    home.state = folder / "state.db"
    with read_only(folder):
        assert attempt(ground, home) == (broken.REFUSED, "state-read-only"), home.said()


def test_flipped_bits_in_a_saved_result(ground: Ground, home: Home) -> None:
    """SQLite does not notice them; the row's checksum does. Each result that the script saw is damaged in turn."""
    tokens = [line.value[1] for line in ledger.read(home.ledger) if line.what == "seen" and line.step == "fetch"]
    content = home.state.read_bytes()
    for token in tokens:
        at = content.index(token.encode())
        home.state.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        refused(ground, home, "state-corrupt")


def test_flipped_bits_anywhere(ground: Ground, home: Home) -> None:
    """A named error or the right answer, whichever bit it was; never a traceback, never another answer."""
    shape = SHAPES["edited"]
    expected = ground.reference(shape)
    content = home.state.read_bytes()
    said = home.ledger.read_bytes()
    rng = random.Random(7)
    wrong = []
    for _ in range(120):
        at, bit = rng.randrange(len(content)), rng.randrange(8)
        home.state.write_bytes(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])
        home.ledger.write_bytes(said)
        status, code = attempt(ground, home)
        for name in ("state.db-wal", "state.db-shm"):
            home.state.with_name(name).unlink(missing_ok=True)
        violations = oracle.judge(ledger.read(home.ledger), shape, expected, ended=status == 0)
        if status not in (0, broken.REFUSED) or (status == broken.REFUSED and not code) or violations:
            wrong.append((at, bit, status, code, [str(violation) for violation in violations[:2]]))
    assert not wrong, home.said()
