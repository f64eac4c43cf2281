"""`perdure.defer` and `perdure.defer_every_end`: steps that are called at the end of the run."""

from __future__ import annotations

from typing import Any, ParamSpec

from perdure.api.builtin import builtin
from perdure.api.step_call import BoundStep
from perdure.core.execution.spec import Spec
from perdure.core.records import DEFER_EVERY_NOTE, DEFER_NOTE
from perdure.engines.interface import StepContext, here
from perdure.errors import OptionError, UsageError

P = ParamSpec("P")


@builtin(DEFER_NOTE, kind="defer")
def _note(module: str, name: str, given: bytes) -> None:
    """What is deferred, as a record; see core/execution/cleanup.py."""


@builtin(DEFER_EVERY_NOTE, kind="defer")
def _note_every(module: str, name: str, given: bytes) -> None:
    """The same of what is called at every end."""


def defer(step: BoundStep[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
    """Register a step as clean-up: it is called once, when the run is done or was cancelled.

    A failure is not the end of a run: it is resumed, and stands on what it has made. So the call stays pending then, in
    the state file, as it does in a run that was parked as a whole; `perdure cancel` makes it if the run is not to be
    gone on with. A crash does not lose it either. What was deferred last is called first. Each call is retried by the
    step's own policy; one that fails for good becomes a dead letter.

    Args:
        step: the step to call at the end.
        args: its positional arguments. All arguments are stored.
        kwargs: its keyword arguments.

    Raises:
        UsageError: called outside a workflow, or with an async step in a sync workflow.
        OptionError: `step` is not a step.
        NotStorable: an argument cannot be stored without loss.
    """
    _defer("defer", step, args, kwargs, _note._spec)


def defer_every_end(step: BoundStep[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
    """Register a step as clean-up that is called at every end of the run, also each time that it fails.

    For what has to happen however a run ends, such as letting go of something that it takes again when it is resumed.
    Write a step that may run twice. Everything else is as with `defer`.

    Args:
        step: the step to call at each end.
        args: its positional arguments. All arguments are stored.
        kwargs: its keyword arguments.

    Raises:
        UsageError, OptionError, NotStorable: as `defer` does.
    """
    _defer("defer_every_end", step, args, kwargs, _note_every._spec)


def _defer(function: str, step: Any, args: tuple[Any, ...], kwargs: dict[str, Any], note: Spec) -> None:
    scope = here.get()
    if scope is None or isinstance(scope, StepContext):
        raise UsageError(
            f"perdure.{function}() is called outside a workflow, so there is no end to defer to",
            "call it in a function decorated with @workflow, right after the step that makes what has to be removed",
        )
    if not isinstance(step, BoundStep):
        raise OptionError(
            f"perdure.{function}() is given {step!r}, which is not a step", "decorate the function with @step"
        )
    scope.defer(step._spec, step._arguments(args), kwargs, note)
