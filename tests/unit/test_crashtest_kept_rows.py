"""What a run leaves in the state file beside its records is compared as closely as undisturbed runs agree on it."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
from listed_runs import Listed

from conftest import replace
from perdure.crashtest.kept_rows import Kept, KeptByAll, kept_rows
from perdure.store import dead_letters, signals


def left(*details: list[str]) -> list[Kept]:
    """The rows of a run."""
    return [Kept("enqueue", "run of send", each) for each in details]


@pytest.mark.parametrize(
    ("usual", "now", "otherwise"),
    [
        ([left(["a", "x"])] * 2, left(), "is there not at all, undisturbed once"),
        ([left(["a", "x"])] * 2, left(["a", "x"], ["a", "x"]), "is there twice, undisturbed once"),
        ([left(["a", "x"])] * 2, left(["b", "x"]), "is another one than undisturbed"),
        ([left(["a", "x"]), left(["b", "x"])], left(["c", "x"]), None),
        ([left(["a", "x"]), left(["b", "x"])], left(["c", "y"]), "is another one than undisturbed"),
        ([left(["a", "x"]), left(["b", "y"])], left(["c", "z"]), None),
        ([left(["a", "x"]), left()], left(["c", "z"], ["d", "z"]), None),
    ],
)
def test_what_undisturbed_runs_agree_on_is_compared(
    usual: list[list[Kept]], now: list[Kept], otherwise: str | None
) -> None:
    """The whole of it, else what it is about, else how many there are; what they do not agree on is named."""
    reference = KeptByAll(usual)
    assert list(reference.others(now)) == ([("run of send", otherwise)] if otherwise else [])
    same = len(usual[0]) == len(usual[1])
    assert list(reference.unstable()) == ([] if same else ["how often run of send is there"])


def test_what_runs_have_left_in_a_state_file_is_listed_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signals that were sent and every dead letter, however many are read at a time; those that the test sends are its
    own."""
    listed = Listed(tmp_path / "state.db")
    store = listed.store
    own, other = listed.run("own", "running"), listed.run("other", "running")
    listed.steps(own, "a", "b", "c", status="dead")
    for event in ("paid", "asked"):
        store.journal.write((), signals.send(store, own.id, event, "", b"\xc0"))
    monkeypatch.setattr(dead_letters, "CHUNK", 2)
    turns = count()

    def all_rows(*given: object) -> object:
        assert next(turns) < 9, "it is read without end"
        return read(*given)

    read = dead_letters._all
    replace(monkeypatch, dead_letters, "_all", all_rows)
    found = kept_rows(store, [own, other], own.id, lambda event: event == "asked")
    assert [each.what for each in found] == [
        "signal 'paid'", "the dead letter of 'a'", "the dead letter of 'b'", "the dead letter of 'c'", "run of sell",
    ]  # fmt: skip
    assert len({tuple(each.details) for each in found}) == len(found)
    store.close()
