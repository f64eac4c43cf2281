"""Several processes want one lock at the same moment, and are killed: never two holders."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import SEED
from .locks import contend


def test_never_two_holders(tmp_path: Path) -> None:
    """Blocks, async blocks and runs under one name, kills inside and outside: one at a time; nobody waits in vain."""
    result = contend(tmp_path, 80, SEED)
    assert not result.wrong, "\n".join(result.wrong)
    assert set(result.acquired) == {"block", "task", "run"}
    assert result.killed_inside > 3


def test_control_without_locks_there_are_two(tmp_path: Path) -> None:
    """The same contention finds it when the lock is not one."""
    result = contend(tmp_path, 40, SEED, unlocked=True)
    assert any("two holders" in wrong for wrong in result.wrong)


@pytest.mark.long
def test_never_two_holders_in_a_thousand_acquisitions(tmp_path: Path) -> None:
    """The promise, as published."""
    result = contend(tmp_path, 1000, SEED)
    assert not result.wrong, "\n".join(result.wrong)
