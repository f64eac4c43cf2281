"""`perdure worker` and `perdure check`: what there is to do for a cluster only."""

from __future__ import annotations

import sys
from pathlib import Path

from perdure import settings
from perdure.cli.exits import DONE
from perdure.errors import OptionError


def engine_meant(engine: str | None, command: str) -> str:
    """The cluster that is meant, by the option or by the settings.

    Raises:
        OptionError: none is.
    """
    url = engine or settings.engine_url()
    if url == "local":
        raise OptionError(
            f"perdure {command} works for a cluster, and none was named",
            f"perdure {command} --engine temporal://HOST:7233/NAMESPACE FILE, or set PERDURE_ENGINE",
        )
    return url


def worker(engine: str | None, files: list[Path]) -> int:
    """`perdure worker`: returns the exit code."""
    from perdure.operations.serving import serve

    url = engine_meant(engine, "worker")
    if not files:
        raise OptionError("no script was named", "perdure worker FILE")

    def ready(stems: list[str]) -> None:
        sys.stderr.write(f"worker for {', '.join(stems)} at {url}; Ctrl-C ends it\n")
        sys.stderr.flush()

    serve(url, files, ready)
    sys.stderr.write("worker ended\n")
    return DONE
