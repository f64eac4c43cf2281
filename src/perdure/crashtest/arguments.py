"""The arguments of the workflow under test."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perdure.core.execution.spec import Spec


class Unfit(Exception):
    """They are not those of the workflow; `hint` says what to do."""

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


def parsed(spec: Spec, given: Sequence[str]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments, as `perdure run` makes them of a command line.

    Where none are given and none are needed, nothing is parsed: that would be a third of a life.

    Raises:
        Unfit: they do not fit.
        UsageError: the workflow is a method.
    """
    parameters = inspect.signature(spec.fn).parameters.values()
    if not given and all(each.default is not each.empty or each.kind in _MANY for each in parameters):
        return (), {}
    from cyclopts import CycloptsError

    from perdure.cli.workflow_arguments import parse_arguments

    try:
        found = parse_arguments(spec, "perdure crashtest FILE --", given)
    except CycloptsError as error:
        names = " ".join(each.name.upper() for each in parameters)
        hint = f"give those of the workflow, which are not always those of the script: -- {names}".rstrip()
        raise Unfit(f"its arguments do not fit: {error}", hint) from error
    if found is None:
        raise Unfit("help was asked for")
    return found[0], found[1]


_MANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
