"""Steps of perdure's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from perdure.api.step_call import Step, bare_spec
from perdure.config import settings
from perdure.core.policies.retry import Retry
from perdure.core.records import StepKind

P = ParamSpec("P")
R = TypeVar("R")


def builtin(
    name: str,
    *,
    kind: StepKind = "builtin",
    key: Callable[..., Any] | None = None,
    retry: Retry | None = None,
    in_place: bool = False,
) -> Callable[[Callable[P, R]], Step[P, R]]:
    """Make a step of perdure's own, under a name that users cannot give: for as long as it takes.

    Args:
        name: what it goes by in the journal.
        kind: that of the records of its calls.
        key: as for `step`.
        retry: when to try again; None: it is tried once.
        in_place: it needs what is no part of its inputs, and what only the process of the workflow has.
    """

    def decorate(fn: Callable[P, R]) -> Step[P, R]:
        spec = bare_spec(fn, name, retry=retry, key=key)
        spec.record_kind = kind
        spec.in_place = in_place
        above = settings.artifact_above(spec.file)
        if above is not None:
            spec.artifact_above = above
        return Step(spec)

    return decorate
