"""The references of the skill are what the pages say: python tests/unit/skill_references.py writes them anew."""

from __future__ import annotations

import re

import pytest
from skill_references import SKILL, SOURCES, demoted, reference

from perdure.skill import files


@pytest.mark.parametrize("name", SOURCES)
def test_a_reference_is_what_its_pages_say(name: str) -> None:
    """A page that was changed is changed in the skill as well."""
    path = SKILL / "references" / f"{name}.md"
    assert path.read_text(encoding="utf-8") == reference(name), "run: python tests/unit/skill_references.py"


def test_every_reference_has_pages_and_is_named() -> None:
    """No file lies in the skill that nothing keeps up to date, or that SKILL.md does not lead to; no link leads out."""
    names = {f"references/{name}.md" for name in SOURCES}
    assert set(files()) == {"SKILL.md", "assets/template.py", *names}
    linked = {target for text in files().values() for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text.decode())}
    assert linked == {"assets/template.py", *names}


def test_headings_move_down_and_code_stays() -> None:
    """A comment in a block of code is no heading."""
    assert demoted("# A\n\n```py\n# b\n```\n\n## C\n") == "## A\n\n```py\n# b\n```\n\n### C\n"
