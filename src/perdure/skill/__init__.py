"""The agent skill: `perdure/` is the folder that `perdure skill install` copies to where coding agents look.

Its references are made from pages of docs/: `python tests/unit/skill_references.py` writes them. What `perdure new`
writes is its `assets/template.py`.
"""

from __future__ import annotations

from pathlib import Path

NAME = "perdure"
"""Of the folder, and in the front matter of its SKILL.md."""


def files() -> dict[str, bytes]:
    """The files of the skill, by their path in its folder, `SKILL.md` first."""
    root = Path(__file__).parent / NAME
    found = {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.suffix in (".md", ".py") and "__pycache__" not in path.parts
    }
    return dict(sorted(found.items(), key=lambda item: (item[0] != "SKILL.md", item[0])))
