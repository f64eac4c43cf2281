"""What is said of a command line that does not fit, with the help page that shows how it goes."""

from __future__ import annotations

from collections.abc import Sequence

from cyclopts import CycloptsError, MissingArgumentError, UnusedCliTokensError

from perdure.errors import UsageError

PROGRAM = "perdure"


def usage_error(error: CycloptsError) -> UsageError:
    """The same in the words of the help page: what goes by its place is named as there, without dashes."""
    named = error.app.name[0] if error.app is not None else PROGRAM
    program = named if named.startswith(f"{PROGRAM} ") else PROGRAM  # of `run`, the page of the workflow
    page = " ".join((program, *(error.command_chain or ())))
    return UsageError(_wrong(error), f"see `{page} --help`")


def _wrong(error: CycloptsError) -> str:
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        name = error.argument.name
        if error.argument.index is not None:
            name = name.lstrip("-").upper().replace("-", "_")
        return _without_value(name, error.unused_tokens or ()) or f"{name} is missing"
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return f"more is given than it takes: {' '.join(error.unused_tokens)}"
    return str(error)


def _without_value(option: str, tokens: Sequence[str]) -> str | None:
    """What is said of an option that was given, but not its value; None if it was not given."""
    if option not in tokens:
        return None
    following = tokens[tokens.index(option) + 1 :][:1]
    if not following:
        return f"{option} needs a value"
    (token,) = following
    return f"{option} needs a value, and {token} begins as an option does: {option}={token} is one with that value"
