"""`perdure demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def demo(
    *,
    orders: Annotated[int, Parameter(help="How many orders to charge.")] = 200,
    seed: Annotated[int, Parameter(help="The same seed, the same mishaps.")] = 7,
    keep: Annotated[Path | None, Parameter(help="A new folder for script, state and ledger, to look at.")] = None,
) -> int:
    """Carry out `perdure demo`; returns the exit code."""
    from perdure.demo.run import main

    return main(orders, seed, keep)
