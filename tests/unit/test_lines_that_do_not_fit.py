"""Files beside the state file on a disk that is full for a moment: what is written afterwards is read."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import msgspec
import pytest

from conftest import Machine, Trouble
from perdure import step, workflow
from perdure.core.execution.spending import Amounts
from perdure.errors import StateIO
from perdure.store import attempt_logs, dead_letters, parking, spending
from perdure.store.attempt_logs import LogFile, LogLine
from perdure.store.dead_letter_file import LetterFile
from perdure.store.runs import Store
from perdure.store.spend_file import Noted, SpendFile


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file becomes larger than so many bytes: a write that does not fit is done in part, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def spent(file: SpendFile, tokens: int, name: str = "ask") -> Noted:
    noted = Noted(file, next(file.serials), 1, name, b"k" * 16, 0, 1, "1:1 1:2", in_record=False)
    noted.note(0, tokens)
    return noted


def taken_over(path: Path) -> tuple[list[Path], dict[str, int]]:
    """What the next process counts of those that died: their files, and the tokens of each step."""
    store = Store(path)
    try:

        def operation(connection: apsw.Connection) -> tuple[list[Path], dict[str, int]]:
            files = spending.take_over(connection, path, "own")
            of = spending.of_calls(connection, 1, path)
            assert spending.of_family(connection, 1, path) == sum(of.values(), Amounts())
            return files, {name: amounts.tokens for (name, _, _), amounts in of.items()}

        found: tuple[list[Path], dict[str, int]] = store.journal.write((), operation)
        return found
    finally:
        store.close()


def test_what_is_spent_after_a_write_that_did_not_fit_is_counted(tmp_path: Path) -> None:
    """The call whose place did not fit fails with a named error; that of the next one is read."""
    state = tmp_path / "state.db"
    file = SpendFile(state)
    file.belongs_to("dead")
    spent(file, 5, "first")
    with room_for(60), pytest.raises(StateIO, match="what a step spends cannot be written"):
        spent(file, 7, "x" * 100)
    spent(file, 9, "third")
    assert taken_over(state)[1] == {"first": 5, "third": 9}


def test_what_is_counted_already_is_not_counted_again(tmp_path: Path) -> None:
    """Amounts of one attempt are not added up, nor is a file that is read twice."""
    state = tmp_path / "state.db"
    file = SpendFile(state)
    file.belongs_to("dead")
    spent(file, 3).note(0, 5)
    (path,) = (tmp_path / "state.db-spend").iterdir()
    assert taken_over(state) == ([path], {"ask": 8})
    assert taken_over(state) == ([path], {"ask": 8})


def test_what_a_living_process_spends_is_its_own(tmp_path: Path) -> None:
    """Its file is left alone; one that cannot be read says nothing."""
    state = tmp_path / "state.db"
    file = SpendFile(state)
    file.belongs_to("own")
    spent(file, 3)
    os.symlink(tmp_path / "state.db-spend" / "own", tmp_path / "state.db-spend" / "link")
    files, found = taken_over(state)
    assert [path.name for path in files] == ["link"]
    assert found == {}


def line(text: str, run: str = "r-1", at: float = 5.0) -> LogLine:
    return LogLine(at, run, "ask", b"k", 0, 1, "", "stdout", text)


def test_lines_of_attempts_that_did_not_fit_are_lost_alone(tmp_path: Path) -> None:
    """What is logged before and afterwards is there."""
    state = tmp_path / "state.db"
    file = LogFile(state, "token")
    assert file.add(line("first")) > 0
    with room_for(70):
        assert file.add(line("x" * 100)) == 0
    assert file.add(line("third")) > 0
    assert [found.text for found in attempt_logs.lines_of(state, "r-1")] == ["first", "third"]


def test_lines_are_found_by_run_text_and_time(tmp_path: Path) -> None:
    """Of files that end earlier, or begin later, nothing is looked at; a torn end is left out."""
    state = tmp_path / "state.db"
    file = LogFile(state, "token")
    for one in (line("a 1"), line("b 1", run="r-2"), line("a 2", at=6.0)):
        file.add(one)
    file.close()
    (path,) = attempt_logs.folder_of(state).iterdir()
    os.utime(path, (10.0, 10.0))

    def texts(run: str = "r-1", **options: object) -> list[str]:
        return [found.text for found in attempt_logs.lines_of(state, run, **options)]  # type: ignore[arg-type]

    assert texts() == ["a 1", "a 2"]
    assert texts("r-2") == ["b 1"]
    assert texts(holding=b"a 2") == ["a 2"]
    assert texts(since=10.0, until=5.0) == ["a 1", "a 2"]
    assert texts(since=10.1) == texts(until=4.9) == texts("r-3") == texts(holding=b"a 3") == []
    file.add(line("a 3"))
    last = sorted(attempt_logs.folder_of(state).iterdir())[-1]
    assert last != path, "a file that was closed is not written to again"
    last.write_bytes(last.read_bytes()[:-1])
    (attempt_logs.folder_of(state) / "torn.log").write_bytes(b"\3\0\0\0r-1")
    (attempt_logs.folder_of(state) / "other").write_bytes(b"r-1")
    assert texts() == ["a 1", "a 2"]


def test_the_oldest_lines_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is followed by the next when it is full, and all together have a size that they do not exceed."""
    state = tmp_path / "state.db"
    file = LogFile(state, "token")
    size = file.add(line("n 0"))
    monkeypatch.setattr(attempt_logs, "PART", size - 1)
    monkeypatch.setattr(attempt_logs, "ALL", 3 * size - 1)
    for number in range(1, 5):
        for at, path in enumerate(sorted(attempt_logs.folder_of(state).iterdir())):
            os.utime(path, (at, at))
        file.add(line(f"n {number}"))
    assert [found.text for found in attempt_logs.lines_of(state, "r-1")] == ["n 2", "n 3", "n 4"]


def test_letters_that_do_not_fit_are_exported_once_there_is_room(machine: Machine) -> None:
    """The line that was torn is closed, and not taken for one; a link in the place of the file is not followed."""

    @step(name="unfit", retry=None)
    def unfit(n: int) -> None:
        raise Trouble(f"no {n}")

    @workflow(name="unfit_letters")
    def unfit_letters() -> int:
        return len(unfit.map([1, 2]).dead)

    assert unfit_letters() == 2
    store, out = machine.engine.store, machine.folder / "letters"
    found = list(dead_letters.find(store, dead_letters.Filter()))
    store.journal.write((), lambda at: [parking.put(at, one, exported=0) for one in found] and None)
    with room_for(300), pytest.raises(OSError, match="no space is left"):
        LetterFile(out, store).catch_up()
    assert out.stat().st_size == 300
    assert LetterFile(out, store).catch_up() == 2
    torn, *lines, end = out.read_bytes().split(b"\n")
    assert (len(torn), end) == (300, b"")
    assert sorted(msgspec.json.decode(line)["inputs"] for line in lines) == [[1], [2]]
    link = machine.folder / "link"
    link.symlink_to(out)
    with pytest.raises(OSError, match="it is a link, to"):
        LetterFile(link, store).catch_up()
