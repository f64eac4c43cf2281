"""`perdure new`: what is said about the file that was written."""

from __future__ import annotations

import shlex
from pathlib import Path

from perdure.cli.exit_codes import DONE
from perdure.operations.new import write_template


def new(path: Path) -> int:
    """Write the template, and say what to do with it."""
    name = write_template(path)
    shown = shlex.quote(str(path))
    print(f"wrote {path}, with the workflow {name!r}: it runs as it is; your places in it are marked FILL IN")
    print(f"  python {shown}")
    print(f"  perdure run {shown}")
    return DONE
