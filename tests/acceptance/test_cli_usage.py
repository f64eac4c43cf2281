"""A command line that does not fit: what is wrong in the words of the help page, the page to read, and exit code 2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perdure.cli import main

SCRIPT = """
from perdure import workflow

@workflow
def bill(month: str, *, limit: int) -> str:
    return month
"""


@pytest.mark.parametrize(
    ("line", "wrong", "page"),
    [
        ("show", "RUN is missing", "perdure show"),
        ("dlq edit", "LETTER is missing", "perdure dlq edit"),
        ("breaker reset", "NAME is missing", "perdure breaker reset"),
        ("fork last", "--from is missing", "perdure fork"),
        ("fork last --from", "--from needs a value", "perdure fork"),
        ("prune --older -1d", "--older needs a value, and -1d begins as an option does", "perdure prune"),
        ("show a b c", "more is given than it takes: b c", "perdure show"),
        ("ps --limit x", 'unable to convert "x" into int', "perdure ps"),
        ("breaker nonsense", 'Unknown command "nonsense"', "perdure breaker"),
        ("nonsense", 'Unknown command "nonsense"', "perdure"),
        ("run", "no script is named", "perdure run"),
        ("run --json", "no script is named", "perdure run"),
        ("run bill.py", "MONTH is missing", "perdure run bill.py"),
        ("run bill.py may --limit 3 --nope", "Unknown option: --nope", "perdure run bill.py"),
        ("run bill.py may --limit x", 'unable to convert "x" into int', "perdure run bill.py"),
    ],
)
def test_what_is_wrong_and_the_page_that_says_how_it_goes(
    line: str, wrong: str, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """No name is used that the page does not have, and its command can be copied."""
    (tmp_path / "bill.py").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    assert main(line.split()) == 2
    said = capsys.readouterr().err
    assert wrong in said
    assert f"see `{page} --help`" in said
    assert main([*page.split()[1:], "--help"]) == 0


@pytest.mark.parametrize("line", ["", "dlq", "schedule"])
def test_a_page_that_nobody_has_asked_for_is_no_success(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A script whose variable with the command is empty goes on only after what was done."""
    assert main(line.split()) == 2
    assert "Usage: perdure" in capsys.readouterr().out
    assert main([*line.split(), "--help"]) == 0
