"""What attempts have logged and printed is searched with the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from listed_runs import Listed

from perdure.operations import searching
from perdure.store.attempt_logs import LogFile, LogLine


def test_lines_with_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest first, of runs that are there; nothing is found by a credential that is not shown."""
    monkeypatch.setenv("SHOP_API_KEY", "hunter2-hunter2-hunter2")
    listed = Listed(tmp_path / "state.db")
    listed.run("sold")
    file = LogFile(listed.store.path, "a-process")
    for number, (run, text) in enumerate(
        (("sold", "ready"), ("sold", "paid R-7"), ("gone", "paid R-7"), ("sold", "unpaid R-7 hunter2-hunter2-hunter2"))
    ):
        file.add(LogLine(float(number), run, "pay", bytes(16), 0, 1, "INFO", "shop", text))
    file.close()
    try:
        found = searching.search(listed.store, "paid R-7")
        assert [(one.run, one.line.text.split(" R")[0]) for one in found.lines] == [
            ("sold", "unpaid"),
            ("sold", "paid"),
        ]
        assert "hunter2" not in found.lines[0].line.text
        assert searching.search(listed.store, "hunter2").lines == []
        monkeypatch.setattr(searching, "MOST", 1)
        few = searching.search(listed.store, "paid R-7")
        assert (len(few.lines), few.complete) == (1, False)
    finally:
        listed.store.close()
