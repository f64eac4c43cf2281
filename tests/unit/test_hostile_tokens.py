"""A token in a state file that was crafted or damaged leads to no file but those of locks and flight records."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

from perdure.store import flight_record
from perdure.store.liveness import Liveness, file_token, lives, locks_of
from syntax import nodes

PACKAGE = Path(__file__).parents[2] / "src" / "perdure"
HOSTILE = [
    "",
    ".",
    "..",
    "../x",
    "/etc/x",
    "7-0123456789abcdeg",
    "7-0123456789abcdef\n",
    "7-0123456789abcdef/../x",
    "\0",
]


@pytest.mark.parametrize("token", HOSTILE)
def test_a_token_of_another_form(token: str, tmp_path: Path) -> None:
    """It names a file in the folder that is meant, which no process has; what it may name elsewhere stays."""
    state = tmp_path / "state.db"
    locks_of(state).mkdir()
    flight_record.folder_of(state).mkdir()
    precious = tmp_path / "x.lock"
    precious.touch()
    assert not lives(state, token)
    Liveness(state).nudge(token)
    assert flight_record.record_of(state, token).parent == flight_record.folder_of(state)
    assert "/" not in file_token(token)
    assert precious.exists()


def test_a_true_token_is_its_own_name(tmp_path: Path) -> None:
    """The lock of a living process is found."""
    presence = Liveness(tmp_path / "state.db")
    token = presence.show()
    assert file_token(token) == token
    assert lives(tmp_path / "state.db", token)
    presence.close()
    assert not lives(tmp_path / "state.db", token)


def test_a_folder_of_locks_that_is_a_link(tmp_path: Path) -> None:
    """Nothing is removed from where it leads."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "7-0123456789abcdef.lock").touch()
    locks_of(tmp_path / "state.db").symlink_to(elsewhere)
    assert not lives(tmp_path / "state.db", "7-0123456789abcdef")
    assert (elsewhere / "7-0123456789abcdef.lock").exists()


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.mkdir()])
def test_what_is_no_record_hangs_nothing(make: object, tmp_path: Path) -> None:
    """A pipe, a link to a file without an end, a folder: no record."""
    path = tmp_path / "7-0123456789abcdef.rec"
    make(path)  # type: ignore[operator]
    assert flight_record.read(path) is None
    assert not flight_record.is_watched(path)


def test_a_record_without_an_end_is_read_as_far_as_a_recorder_writes(tmp_path: Path) -> None:
    """A file of many gigabytes takes no memory."""
    path = tmp_path / "7-0123456789abcdef.rec"
    path.write_bytes(b"x")
    os.truncate(path, 1 << 36)
    assert flight_record.read(path) is None


def test_only_functions_that_check_tokens_make_names_of_them() -> None:
    """No other module puts together the name of a lock or of a record."""
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in nodes(path)
        if isinstance(node, ast.JoinedStr) and ast.unparse(node).rstrip("'\"").endswith((".lock", ".rec"))
    }
    # The watchdog's report takes its tokens from crashes.left, the doctor compares names, a recorder's is its own.
    assert found <= {
        "store/liveness.py",
        "store/flight_record.py",
        "store/flight_recorder.py",
        "alerts/watchdog/report.py",
        "operations/doctor.py",
    }
