"""A finding is silenced by a comment with its code and a reason, and by nothing less."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.check.checker import check

SCRIPT = """import requests
from perdure import step

@step
def fetch(url):
    {above}
    answer = requests.get({inside}
        url,
    ){behind}
    answer.raise_for_status()
    return answer.text
"""


def found(tmp_path: Path, above: str = "", inside: str = "", behind: str = "") -> list[tuple[int, str]]:
    script = tmp_path / "job.py"
    script.write_text(SCRIPT.format(above=above, inside=inside, behind=behind))
    return [(one.line, one.code) for one in check([script]).findings]


@pytest.mark.parametrize(
    ("above", "inside", "behind"),
    [
        ("", "  # perdure: ignore[no-timeout] the kernel has one", ""),
        ("", "", "  # perdure: ignore[no-timeout, swallowed] the kernel has one"),
        ("# perdure: ignore[no-timeout] the kernel has one", "", ""),
    ],
)
def test_a_comment_with_a_reason_is_obeyed(tmp_path: Path, above: str, inside: str, behind: str) -> None:
    """On the first or last line of the place, or alone on the line above."""
    assert found(tmp_path, above, inside, behind) == []


@pytest.mark.parametrize(
    "comment",
    [
        "# perdure: ignore[no-timeout]",
        "# perdure: ignore[no-timeout]  - ",
        "# perdure: ignore the kernel has one",
        "# perdure: ignore[no-timeuot] the kernel has one",
    ],
)
def test_a_comment_without_a_reason_or_a_known_code_is_an_error(tmp_path: Path, comment: str) -> None:
    """It silences nothing, and is reported itself."""
    assert found(tmp_path, inside=f"  {comment}") == [(7, "no-timeout"), (7, "bad-ignore")]


def test_a_comment_is_for_its_code_and_its_line(tmp_path: Path) -> None:
    """Another code, another line, or a text that looks like one changes nothing."""
    assert found(tmp_path, inside="  # perdure: ignore[swallowed] a reason") == [(7, "no-timeout")]
    assert found(tmp_path, above="'# perdure: ignore[no-timeout] in a text'") == [(7, "no-timeout")]


@pytest.mark.parametrize(
    ("comment", "left"), [("# perdure: repeatable readers bear it", 0), ("# perdure: repeatable", 1)]
)
def test_one_comment_serves_check_and_crashtest(tmp_path: Path, comment: str, left: int) -> None:
    """What is accepted to happen twice is no finding here either, if a reason is given."""
    script = tmp_path / "script.py"
    script.write_text(
        "import requests\nfrom perdure import step\n\n@step\ndef post() -> None:\n"
        f"    {comment}\n    requests.post('https://a.example', timeout=5).raise_for_status()\n"
    )
    assert [each.code for each in check([script]).findings] == ["unprotected-effect"] * left
