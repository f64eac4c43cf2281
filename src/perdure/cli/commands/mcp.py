"""`perdure mcp`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from perdure.cli.exit_codes import DONE
from perdure.cli.shared_parameters import State


def mcp(
    *,
    state: State = None,
    allow_writes: Annotated[
        bool, Parameter("--allow-writes", negative="", help="Offer tools that re-drive, resume, cancel and reset too.")
    ] = False,
) -> int:
    """Carry out `perdure mcp`; returns the exit code."""
    from perdure.mcp.server import serve

    serve(state, allow_writes=allow_writes)
    return DONE
