"""Which tests try a mutant follows from what they execute; one that waits is told from one that has no processor."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proof import measured, mutant_trials
from proof.measured import Measured
from proof.mutant_trials import ended

FILE = "tests/unit/test_which_tests_try_a_mutant.py"
MODULE, OTHER = "perdure/core/cron.py", "perdure/store/runs.py"


def test_half_of_the_tests_are_about_the_module_and_the_rest_execute_the_fewest_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They begin with those that execute the fewest lines; what was kept of other sources is not read."""
    monkeypatch.setattr(measured, "kept", lambda: tmp_path)
    lines = {"all of it": (9, 0), "most of it": (8, 2), "little": (1, 1), "less": (1, 0), "much else": (2, 40)}
    executed: dict[str, dict[int, set[str]]] = {MODULE: {}, OTHER: {}}
    for name, counts in lines.items():
        for module, count in zip((MODULE, OTHER), counts, strict=True):
            for line in range(1, count + 1):
                executed[module].setdefault(line, set()).add(f"{FILE}::{name}")
    Measured([FILE], {}, executed).keep()
    tests = measured.Tests([FILE])

    def of(line: int, number: int) -> list[str]:
        return [name.partition("::")[2] for name in tests.of(MODULE, line, number)]

    assert of(1, 9) == ["less", "little", "all of it", "most of it", "much else"]
    assert of(1, 4) == ["less", "little", "all of it", "most of it"]
    assert of(2, 2) == ["all of it", "most of it"]
    assert of(10, 9) == tests.of("perdure/core/none.py", 1, 9) == []


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="looks at processes by /proc")
@pytest.mark.parametrize("waits", [True, False], ids=["waits", "computes"])
def test_a_process_that_waits_for_what_does_not_come_is_told_from_a_slow_one(
    waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much else the machine has to do: what counts is whether it sleeps."""
    monkeypatch.setattr(mutant_trials, "LOOK", 0.01)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if waits:
                os.read(reader, 1)
            for _ in range(4_000_000):
                pass
        finally:
            os._exit(7)
    status = ended(pid, lambda: "test", idle=0.05)
    os.close(reader)
    os.close(writer)
    assert status == (None if waits else 7 << 8)
