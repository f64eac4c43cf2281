"""`ensure=`: what a step says of its own result, before it is saved."""

from __future__ import annotations

from typing import Any

from perdure.core.execution.spec import Spec
from perdure.core.values import codec
from perdure.errors import EnsureFailed, NotStorable

SHOWN = 100


def ensure(spec: Spec, value: Any) -> None:
    """Let the step's own check see a result. A text says what is wrong; False, or what counts as it, that something is.

    Raises:
        EnsureFailed: the result is not what it should be.
        Exception: what the check itself raises.
    """
    if spec.ensure is None:
        return
    said = spec.ensure(value)
    if said is None or (said if type(said) is not str else not said):
        return
    why = f": {said}" if type(said) is str else ""
    raise EnsureFailed(
        f"{spec.owner} returned {_shown(spec, value)}, which its ensure= refuses{why}",
        "see what it called, which answered without an error, and not with what was asked for",
    )


def _shown(spec: Spec, value: Any) -> str:
    try:
        return codec.describe(spec.plan.pack(value), limit=SHOWN)
    except NotStorable:
        return f"a value of type {type(value).__qualname__}"
