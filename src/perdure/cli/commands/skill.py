"""`perdure skill`: install the skill for coding agents, or read it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from perdure.cli.exit_codes import DONE, FAILED
from perdure.cli.shared_parameters import Json
from perdure.cli.view.terminal import Printer, as_json, count
from perdure.operations import skill

STYLES = {"written": "green", "updated": "green", "unchanged": "dim", "removed": "yellow", "kept": "red"}

app = App(name="skill", help="Install the skill that tells coding agents how to write durable scripts, or read it.")


@app.command
def install(
    folder: Annotated[Path | None, Parameter("DIR", help="A project's folder; the working directory if none.")] = None,
    /,
    *,
    user: Annotated[bool, Parameter("--user", negative="", help="Into the home directory: for all projects.")] = False,
    force: Annotated[bool, Parameter("--force", negative="", help="Replace files that were edited, too.")] = False,
    json: Json = False,
) -> int:
    """Copy the skill to .agents/skills/perdure, and to .claude/skills/perdure where there is a .claude.

    A file that was edited since it was installed is kept, and the exit code is 1.
    """
    found = skill.install(folder, user=user, force=force)
    kept = [one for one in found if one.action == "kept"]
    if json:
        as_json({"files": found})
    else:
        printer = Printer()
        for one in found:
            printer.line(f"{one.action:9}  {one.path}", STYLES[one.action])
        if kept:
            printer.line(f"{count(len(kept), 'file')} kept, since edited: --force replaces what was edited")
    return FAILED if kept else DONE


@app.command
def show(
    file: Annotated[str, Parameter(help="A file of the skill, such as references/patterns.md.")] = "SKILL.md", /
) -> int:
    """Print the skill, or a file of it."""
    print(skill.read(file), end="")
    return DONE
