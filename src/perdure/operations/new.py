"""A new workflow, as a file to start from."""

from __future__ import annotations

import builtins
import contextlib
import keyword
import re
import sys
from pathlib import Path

from perdure import skill
from perdure.errors import UsageError

TAKEN = {"Item", "Retry", "dataclass", "fetch_items", "perdure", "process_item", "step", "tidy_up", "workflow"}
"""Names that the template itself gives to things."""

PLACEHOLDER = re.compile(r"\bmy_workflow(\.py)?\b")
"""What the template calls its file and its workflow."""


def write_template(path: Path) -> str:
    """Write a runnable workflow to a new file.

    Args:
        path: where; its folder exists, the file does not.

    Returns:
        The name of the workflow in it, which is the file's.

    Raises:
        UsageError: the name cannot be imported, there is something already, or the file cannot be written.
    """
    name = workflow_name(path)
    text = skill.files()["assets/template.py"].decode()
    if not path.parent.is_dir():
        raise UsageError(
            f"there is no folder {str(path.parent)!r} to write {path.name!r} to", f"mkdir -p {path.parent}"
        )
    try:
        file = path.open("x", encoding="utf-8")
    except FileExistsError:
        raise UsageError(f"{str(path)!r} exists already; nothing was written", "give another name") from None
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be written: {error.strerror}", "choose another folder") from None
    try:
        with file:
            file.write(PLACEHOLDER.sub(lambda found: path.name if found[1] else name, text))
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()  # half a script is worse than none
        raise UsageError(f"{str(path)!r} cannot be written: {error.strerror}", "choose another folder") from None
    return name


def workflow_name(path: Path) -> str:
    """What the workflow in this file is called.

    Raises:
        UsageError: the file could not be imported by its name, or would be imported in place of another module.
    """
    stem = path.stem
    if path.suffix != ".py" or not stem.isidentifier() or keyword.iskeyword(stem) or stem.startswith("__"):
        bare = path.name.removesuffix(".py")
        meant = re.sub(r"\W+", "_", bare).strip("_").lower() or "my_workflow"
        if not meant.isidentifier() or keyword.iskeyword(meant):
            meant = f"workflow_{meant}"
        raise UsageError(
            f"{path.name!r} is not the name of a Python file that can be imported",
            f"give another name: perdure new {meant}.py",
        )
    if stem == "perdure" or stem in sys.stdlib_module_names:
        raise UsageError(
            f"a file {path.name!r} would be imported instead of Python's or perdure's own {stem!r}",
            f"give another name: perdure new {stem}_workflow.py",
        )
    return f"{stem}_workflow" if stem in TAKEN or hasattr(builtins, stem) else stem
