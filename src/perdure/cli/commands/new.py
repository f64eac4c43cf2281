"""`perdure new`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from perdure.cli.exit_codes import DONE
from perdure.operations.new import write_template


def new(file: Annotated[Path, Parameter(help="A new file, such as my_workflow.py.")], /) -> int:
    """Carry out `perdure new`; returns the exit code."""
    name = write_template(file)
    shown = shlex.quote(str(file))
    print(f"wrote {file}, with the workflow {name!r}: it runs as it is; your places in it are marked FILL IN")
    print(f"  python {shown}")
    print(f"  perdure run {shown}")
    return DONE
