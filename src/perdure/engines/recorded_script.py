"""The script that a state file names as that of a run: is it one that may be executed?"""

from __future__ import annotations

import shlex
from pathlib import Path

from perdure.config import ownership
from perdure.config.script_identity import belongs_to, point_out
from perdure.core.records import RunRecord
from perdure.core.redaction.printable import one_line
from perdure.errors import UsageError

_named: set[Path] = set()
"""The scripts that this process has said it loads."""


def archive_of(path: str) -> Path | None:
    """The archive (a zipapp, say) that a script lies in; None if it does not, as most."""
    return next((above for above in Path(path).parents if above.is_file()), None)


def recorded_script(run: RunRecord, state: Path | None) -> Path:
    """The script that a state file names as that of a run, which is said on standard error.

    It is about to be executed, and a file may name any: only one that goes with the state file is loaded.

    Args:
        run: as it was read.
        state: the state file; None: a cluster, whose scripts are anywhere.

    Raises:
        UsageError: the script is another user's, or every user can write it, or it lies elsewhere, or in an archive.
    """
    path = Path(run.path)
    archive = archive_of(run.path)
    if archive is not None:
        raise UsageError(
            f"the script of run {run.id} lies in an archive, of which no command loads it: {path}",
            f"run the archive again, with the same arguments: python {shlex.quote(str(archive))}; or name the script "
            "where it lies by itself",
        )
    try:
        why = "" if ownership.shared() else ownership.objection(path.stat())
    except OSError:
        return path  # loading it says that it is gone
    if not why and state is not None and not belongs_to(run.path, state):
        why = f"it lies outside of the folder and of the project of {state}"
    if not why and path not in _named:
        _named.add(path)
        point_out(f"loads {one_line(run.path)}, the script of run {one_line(run.id)}")
    if why:
        raise UsageError(
            f"the script that the state file names for run {run.id} is not loaded: {path} ({why})",
            "name it in the command if it is the one: perdure resume RUN FILE, or dlq ... --script FILE",
        )
    return path
