"""Every command is a file of its own name, and the list of commands is complete."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from cyclopts import App

from perdure.cli import commands
from perdure.cli.app import FUNCTIONS, GROUPS, app


def test_the_list_and_the_files_agree() -> None:
    """No command is listed without a file, and no file is left out of the list."""
    files = {path.stem for path in Path(str(commands.__file__)).parent.glob("*.py")} - {"__init__"}
    assert files == {*FUNCTIONS, *GROUPS}


def test_every_command_can_be_loaded() -> None:
    """Commands are imported when they are used, so a wrong name would be found by a user only."""
    for name in FUNCTIONS:
        assert callable(getattr(import_module(f"perdure.cli.commands.{name}"), name))
    for name in GROUPS:
        group = import_module(f"perdure.cli.commands.{name}").app
        assert isinstance(group, App)
        assert group.name == (name,)


def test_what_finds_a_state_file_is_told_a_script_in_one_way() -> None:
    """Where there is none, an error says `--file SCRIPT`: whatever command it was."""
    without = {"run", "worker", "check", "mcp"}
    apps = [(name, app[name]) for name in FUNCTIONS if name not in without]
    apps += [(f"{name} {each}", app[name][each]) for name in GROUPS for each in app[name] if each[0] != "-"]
    for name, each in apps:
        options = {option for argument in each.assemble_argument_collection() for option in argument.names}
        assert "--file" in options or "--state" not in options, name
