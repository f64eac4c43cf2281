"""The folder that a script lies in: state and pyproject.toml are looked for from there."""

from __future__ import annotations

from pathlib import Path

from perdure.config import os_errors
from perdure.errors import PerdureError, StateReadOnly


def script_folder(script: str) -> Path:
    """The folder that a script lies in, absolute; of a symbolic link, that of the file, unless state lies beside it.

    Raises:
        StateError: the system does not say.
    """
    path = Path(script)
    try:
        if not script or script.startswith("<") or not path.exists():
            return _working_folder()
        folder = path.absolute().parent
        return path.resolve().parent if path.is_symlink() and not (folder / ".perdure").is_dir() else folder
    except OSError as error:
        if isinstance(error, PerdureError):
            raise
        raise os_errors.named(error, script) from error


def is_nowhere() -> bool:
    """Was the working directory removed?"""
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _working_folder() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise StateReadOnly(
            "the working directory was removed",
            "change to a folder that is there, or set PERDURE_STATE to the path of the state file",
        ) from None
