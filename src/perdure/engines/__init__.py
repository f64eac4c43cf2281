"""The seam: what an engine is, and what code that runs inside of it can reach.

An engine runs workflows. While it does, `here` says where a step call is: in a workflow (a Scope: the call is
durable), in a step (a StepContext: an inner call is a plain call), or outside (None: plain as well).
"""

from __future__ import annotations

import perdure.config.secrets  # noqa: F401  from here on, what is stored of errors is without them
from perdure.engines.interface import Engine, Scope, StepContext, here

__all__ = ["Engine", "Scope", "StepContext", "here"]
