"""What a run leaves in the state file beside its records is compared as closely as undisturbed runs agree on it."""

from __future__ import annotations

import pytest

from perdure.crashtest.kept_rows import Kept, KeptByAll


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
