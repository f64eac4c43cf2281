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
from .victim import INSIDE, Home

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
    argv = [str(INSIDE / "faulty.py"), str(home.script)]
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


@pytest.mark.parametrize("size", [0, 1, 99, 100, 512, 4095, 4096, 8192, -8192, -4096])
def test_truncated(ground: Ground, home: Home, size: int) -> None:
    """At any length, also at the border of a page. The folder of the locks says that the file was in use."""
    home.state.with_name("state.db-locks").mkdir(exist_ok=True)
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


def spoiled(ground: Ground, home: Home, content: bytes, said: bytes) -> str:
    """What is wrong with how a run takes this content: nothing, if it is refused, or right in all that it shows.

    That a bit flips where a run or a step is looked up may make it look new: a checksum tells that a row is wrong, not
    that one is missing. So this asks for the right values, not that nothing was executed again.
    """
    shape = SHAPES["edited"]
    for name in ("state.db", "state.db-wal", "state.db-shm"):
        home.state.with_name(name).unlink(missing_ok=True)
    home.state.write_bytes(content)
    home.ledger.write_bytes(said)
    status, code = attempt(ground, home)
    if status == broken.REFUSED and code:
        return ""
    lines = ledger.read(home.ledger)
    returned = {(line.call, line.token) for line in lines if line.what == "ran"}
    invented = [line for line in lines if line.what == "seen" and (line.call, line.value[1]) not in returned]
    ends = [line.value for line in lines if line.what == "end"]
    if status != 0 or invented or ends != [ground.reference(shape).result]:
        return f"status {status} {code}, {invented}, {ends}: {home.said()[-300:]}"
    return ""


def flipped(content: bytes, at: int, bit: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]


def test_a_few_bytes_short(ground: Ground, home: Home) -> None:
    """A last page that is not whole: refused, or right since what is missing was not in use."""
    content, said = home.state.read_bytes(), home.ledger.read_bytes()
    wrong = {missing: spoiled(ground, home, content[:-missing], said) for missing in (1, 7, 64, 500, 3000)}
    assert not any(wrong.values()), wrong


def test_flipped_bits_in_a_saved_result(ground: Ground, home: Home) -> None:
    """SQLite does not notice them; the row's checksum does. With the bit mended, the run goes on."""
    tokens = [line.value[1] for line in ledger.read(home.ledger) if line.what == "seen" and line.step == "fetch"]
    expected = ground.reference(SHAPES["edited"])
    for token in tokens:
        damaged = flipped(token.encode(), 3, 0)
        home.state.write_bytes(home.state.read_bytes().replace(token.encode(), damaged))
        assert attempt(ground, home) == (broken.REFUSED, "state-corrupt"), home.said()
        assert not oracle.judge(ledger.read(home.ledger), SHAPES["edited"], expected, ended=False)
        home.state.write_bytes(home.state.read_bytes().replace(damaged, token.encode()))
    assert attempt(ground, home) == (0, ""), home.said()


def test_flipped_bits_anywhere(ground: Ground, home: Home) -> None:
    """A named error or the right answer, whichever bit it was; never a traceback, never another answer."""
    content, said = home.state.read_bytes(), home.ledger.read_bytes()
    rng = random.Random(7)
    # Half of them where something is: most of a small file is the unused rest of its pages.
    used = [at for at, byte in enumerate(content) if byte]
    places = [rng.choice(used) if n % 2 else rng.randrange(len(content)) for n in range(20)]
    wrong = {at: spoiled(ground, home, flipped(content, at, rng.randrange(8)), said) for at in places}
    assert not any(wrong.values()), {at: what for at, what in wrong.items() if what}
