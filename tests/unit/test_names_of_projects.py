"""The name of a project is the same whether its file is parsed or the name is plain to see: runs are known by it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from perdure.config.script_identity import _plain_name_in, present_path, script_identity

PLAIN = ['[project]\nname = "a b"\n', '# x\n\n[project]\nversion = "1"\nname="c-1" \n[tool.x]\nname = "no"\n']
NOT_PLAIN = [
    "",
    "[tool.poetry]\nname = 'p'\n",
    '[ project ]\nname = "a"\n',
    "[project]\nname = 'single'\n",
    '[project]\nname = "a\\u0062"\n',
    '[project]\nname = "a" # "b"\n',
    '[project]\nname = """a"""\n',
    '[project]\nversion = "1"\n[project.scripts]\nname = "b"\n',
    '[x]\ny = """\n[project]\nname = "b"\n"""\n[project]\nname = "c"\n',
    '[project]\nauthors = [\n[],\n]\nname = "d"\n',
    'project = {name = "e"}\n',
    '[project]\n"name" = "f"\n',
]


@pytest.mark.parametrize("text", PLAIN)
def test_a_plain_name_is_what_a_parser_finds(text: str) -> None:
    """As most files have it: quoted under the head of its table, without escapes."""
    assert _plain_name_in(text) == tomllib.loads(text)["project"]["name"]


@pytest.mark.parametrize("text", NOT_PLAIN)
def test_what_is_not_plain_is_left_to_the_parser(text: str) -> None:
    """Whatever could be read otherwise than it is meant."""
    assert _plain_name_in(text) is None
    tomllib.loads(text)


def test_a_script_is_where_its_identity_says(tmp_path: Path) -> None:
    """Below the folder of the state, or below the project around it; else where it was last seen."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "shop"\n')
    for name in ("jobs/a.py", "tools/b.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    state = tmp_path / "jobs" / ".perdure" / "state.db"
    for name, identity in (("jobs/a.py", "a.py"), ("tools/b.py", "shop//tools/b.py")):
        assert script_identity(str(tmp_path / name), state) == identity
        assert present_path("/gone/x.py", identity, state) == str(tmp_path / name)
    for identity in ("gone.py", "other//tools/b.py", "/srv/x.py", "<interactive>"):
        assert present_path("/gone/x.py", identity, state) == "/gone/x.py"
