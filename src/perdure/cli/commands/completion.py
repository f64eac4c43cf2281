"""`perdure completion`."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

from cyclopts import Parameter

from perdure.cli.exit_codes import DONE


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="The shell that is to complete.")],
    /,
) -> int:
    """Carry out `perdure completion`; returns the exit code."""
    from perdure.cli.app import app

    sys.stdout.write(app.generate_completion(shell=shell))
    return DONE
