"""The alert that a workflow cannot begin, since its state file cannot be used."""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.config import settings
from perdure.core.execution.spec import Spec
from perdure.errors import StateError

if TYPE_CHECKING:
    from perdure.alerts.alert import Alert
    from perdure.alerts.channels.base import Target


def alert_unusable_state(spec: Spec, error: StateError) -> None:
    """Alert the recipients of a workflow, once within the window of the spool. Never raises.

    Waits for the channels, 5 s at most: the script is about to end.

    Args:
        spec: the workflow.
        error: what is wrong with the state file.
    """
    try:
        from perdure.alerts.recipients import addresses

        named = addresses(spec.rules.alerts, spec.file)
        if named:
            from perdure.alerts.channels import target_address

            _send(spec, error, target_address.parse(named))
    except Exception as trouble:  # noqa: BLE001  the error itself is what counts
        import logging

        logging.getLogger("perdure").warning("no alert could be sent of %s: %s", error.code, trouble)


def _state_of(spec: Spec) -> Path | None:
    """The state file; None if even its path is not known, since the folder is gone that it would lie in."""
    try:
        return settings.state_path(spec.file)
    except StateError:
        return None


def _alert(spec: Spec, error: StateError, state: Path | None) -> Alert:
    from perdure.alerts.alert import Alert

    option = "" if state is None else f" --state {shlex.quote(str(state))}"
    return Alert(
        what="state-unusable",
        level="critical",
        workflow=spec.name,
        error=error.what,
        code=error.code,
        notes=(f"what to do: {error.hint}",) if error.hint else (),
        commands=(("see more", f"perdure doctor{option}"),),
    )


def _send(spec: Spec, error: StateError, targets: list[Target]) -> None:
    """By a spool, so that the next try of the same does not alert again; by another one if that cannot be written."""
    from perdure.alerts import sender
    from perdure.alerts.spool import Spool

    state = _state_of(spec)
    alert = _alert(spec, error, state)
    for place in (sender.folder_of, _elsewhere) if state is not None else (_elsewhere,):
        try:
            folder = place(state or Path(spec.file))
            Spool(folder).put(alert, targets)
        except OSError:
            continue
        sender.deliver(targets, folder)
        return
    for target in targets:
        sender.attempt(alert, target)


def _elsewhere(state: Path) -> Path:
    """A folder of our own among the system's temporary files.

    Raises:
        OSError: it cannot be made, or belongs to another user.
    """
    digest = hashlib.blake2b(os.fsencode(state), digest_size=12).hexdigest()
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"perdure-{user}-{digest}-alerts"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or (hasattr(os, "getuid") and found.st_uid != user) or found.st_mode & 0o022:
        raise PermissionError(f"{folder} belongs to another user, or others may write to it")
    return folder
