"""Every command is a file of its own name, and the list of commands is complete."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from cyclopts import App

from perdure.cli import commands
from perdure.cli.app import FUNCTIONS, GROUPS


def test_the_list_and_the_files_agree() -> None:
    """No command is listed without a file, and no file is left out of the list."""
    files = {path.stem for path in Path(str(commands.__file__)).parent.glob("*.py")} - {"__init__"}
    assert files == {*FUNCTIONS, *GROUPS}


def test_every_command_can_be_loaded() -> None:
    """Commands are imported when they are used, so a wrong name would be found by a user only."""
    for name in FUNCTIONS:
        assert callable(getattr(import_module(f"perdure.cli.commands.{name}"), name))
    for name in GROUPS:
        app = import_module(f"perdure.cli.commands.{name}").app
        assert isinstance(app, App)
        assert app.name == (name,)
