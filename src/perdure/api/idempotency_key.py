"""`perdure.idempotency_key`: what a step sends along, so that a service does the work of a call once."""

from __future__ import annotations

from perdure.engines.interface import StepContext, here
from perdure.errors import UsageError


def inside(function: str) -> StepContext:
    """The step that is executed here, for a function that needs one.

    Raises:
        UsageError: none is.
    """
    context = here.get()
    if not isinstance(context, StepContext):
        raise UsageError(
            f"perdure.{function}() is called outside a step of a running workflow",
            "call it inside a function decorated with @step, which a workflow calls",
        )
    return context


def idempotency_key() -> str:
    """The idempotency key of this call of this step, for a header such as Idempotency-Key.

    It is the same for every attempt, also after a crash, and another one for every other call. A service that honours
    such keys (IETF draft-ietf-httpapi-idempotency-key-header) does the work once.

    Returns:
        32 hexadecimal digits.

    Raises:
        UsageError: called outside a step of a running workflow.
    """
    return inside("idempotency_key").idempotency_key()
