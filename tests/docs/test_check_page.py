"""docs/check.md has every rule with a snippet that breaks it and one that does not; our own scripts break none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from perdure.check.catalogue import RULES
from perdure.check.checker import check
from perdure.check.findings import Report

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "check.md").read_text(encoding="utf-8")
HEADER = PAGE.partition("## Rules")[2].partition("```py\n")[2].partition("```")[0]
SECTIONS = {part.partition("\n")[0]: part for part in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]}
WITHOUT_SNIPPETS = {"renamed"}

PYTHON = re.compile(r"(?:<!-- file: (\S+) -->\n+)?```python\n(.*?)```", re.DOTALL)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def checked(folder: Path, text: str, with_hints: bool) -> Report:
    script = folder / "snippet.py"
    script.write_text(text, encoding="utf-8")
    return check([script], with_hints)


def test_every_rule_has_a_section_of_its_severity() -> None:
    """With what it finds and the fix, as the command prints them, in the order of the catalogue."""
    assert list(SECTIONS) == list(RULES)
    for code, rule in RULES.items():
        assert rule.fix in SECTIONS[code], code
        assert rule.finds[1:] in SECTIONS[code], code
        before = PAGE[: PAGE.index(f"### {code}\n")]
        assert re.findall(r"^## (\w+)s$", before, flags=re.MULTILINE)[-1].lower() == rule.severity, code


@pytest.mark.parametrize("code", [code for code in RULES if code not in WITHOUT_SNIPPETS])
def test_the_bad_snippet_is_found_and_the_good_one_is_not(tmp_path: Path, code: str) -> None:
    """The bad one breaks its rule, the good one none of that severity or worse."""
    bad, good = re.findall(r"```py\n(.*?)```", SECTIONS[code], flags=re.DOTALL)
    hint = RULES[code].severity == "hint"
    assert code in {one.code for one in checked(tmp_path, HEADER + bad, hint).findings}
    left = {one.code for one in checked(tmp_path, HEADER + good, hint).findings}
    assert left <= ({code for code, rule in RULES.items() if rule.severity == "hint"} - {code} if hint else set())


@pytest.mark.parametrize(
    "page", [page for page in PAGES if PYTHON.search(page.read_text())], ids=lambda page: page.name
)
def test_our_own_pages_break_no_rule(tmp_path: Path, page: Path) -> None:
    """Neither an error nor a warning in any block of code."""
    for number, (name, body) in enumerate(PYTHON.findall(page.read_text(encoding="utf-8"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / (name or "block.py")).write_text(body, encoding="utf-8")
    assert check([tmp_path]).findings == []


def test_our_own_scripts_break_no_rule() -> None:
    """The examples, the demo and what `perdure new` writes."""
    report = check([ROOT / "examples", ROOT / "src" / "perdure" / "demo", ROOT / "src" / "perdure" / "skill"])
    assert report.files > 10
    assert (report.findings, report.problems) == ([], [])


def test_the_hook_of_pre_commit_names_the_command() -> None:
    """Its entry is a command that exists."""
    hook = (ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")
    assert "id: perdure-check" in hook
    assert "entry: perdure check\n" in hook
