"""`perdure worker`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from perdure.cli.exit_codes import DONE
from perdure.cli.shared_parameters import Engine
from perdure.cli.view.terminal import Printer
from perdure.config import settings
from perdure.errors import OptionError


def worker(
    files: Annotated[list[Path], Parameter(help="Scripts that define workflows.")],
    /,
    *,
    engine: Engine = None,
) -> int:
    """Carry out `perdure worker`; returns the exit code."""
    from perdure.operations.worker import serve

    if not files:
        raise OptionError("no script is named", "perdure worker FILE")
    url = settings.engine_url(str(files[0]), engine)

    def ready(stems: list[str]) -> None:
        Printer(sys.stderr).line(f"worker for {', '.join(stems)} at {url}; Ctrl-C ends it")
        sys.stderr.flush()

    serve(url, files, ready)
    sys.stderr.write("worker ended\n")
    return DONE
