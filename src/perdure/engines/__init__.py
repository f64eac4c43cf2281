"""The seam: what an engine is, and what code that runs inside of it can reach.

An engine runs workflows. While it does, `here` says where a step call is: in a workflow (a Scope: the call is
durable), in a step (a StepContext: an inner call is a plain call), or outside (None: plain as well).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.core.exceptions import capture
from perdure.engines.interface import Engine, Scope, StepContext, here

if TYPE_CHECKING:
    from perdure.core.exceptions.to_fault import Hide

__all__ = ["Engine", "Scope", "StepContext", "here"]


def _redactor() -> Hide:
    from perdure.config import secrets  # at the first failure

    return secrets.redactor()


capture.hide_with(_redactor)  # from here on, what is stored of errors is without secrets
