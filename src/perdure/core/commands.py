"""Commands in the texts for users: complete, so that they can be copied."""

from __future__ import annotations

import re
from shlex import quote

from perdure.core.patterns import later

_COMMAND = later(
    r"\bperdure (?:approve|breaker|cancel|diagnose|dlq|doctor|fork|get|ps|reject|resume|show|signal|why)\b"
    r"(?:(?!  |, |; |: )[^`;\n])*"
)


def fork(run: str, step: str) -> str:
    """What makes a step of a run again, and what comes after it."""
    return f"perdure fork {quote(run)} --from {quote(step)}"


def show(run: str) -> str:
    """What shows a run."""
    return f"perdure show {quote(run)}"


def resume(run: str) -> str:
    """What goes on with a run."""
    return f"perdure resume {quote(run)}"


def approve(run: str) -> str:
    """What says yes to the approval that a run asks for."""
    return f"perdure approve {quote(run)}"


def reject(run: str) -> str:
    """What says no to it."""
    return f"perdure reject {quote(run)}"


def signal(run: str, event: str, key: str = "") -> str:
    """What sends a run the signal that it waits for."""
    return f"perdure signal {quote(run)} {quote(event)}" + (f" --key {quote(key)}" if key else "")


def accept(run: str) -> str:
    """What goes on with a run whose script has changed."""
    return f"{resume(run)} --accept-changes"


def cancel_damaged(run: str) -> str:
    """What ends a run of which something is damaged."""
    return f"perdure cancel {quote(run)} --skip-damaged"


def dlq(run: str) -> str:
    """What lists the dead letters of a run."""
    return f"perdure dlq ls --run {quote(run)}"


def redrive(run: str) -> str:
    """What tries the dead letters of a run again."""
    return f"perdure dlq redrive --run {quote(run)}"


def commands_in(text: str) -> list[str]:
    """The commands that a text names, in order."""
    return [found.rstrip(" ,)") for found in _COMMAND.findall(text)]


def located(text: str, option: str) -> str:
    """The text, with an option added to each command in it that says where the runs are kept."""
    if not option:
        return text

    def add(found: re.Match[str]) -> str:
        if " --state " in found[0] or " --file " in found[0]:
            return found[0]
        command = found[0].rstrip(" ,)")
        return f"{command}{option}{found[0][len(command) :]}"

    return _COMMAND.sub(add, text)
