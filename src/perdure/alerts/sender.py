"""Sends alerts through the spool to their targets, and logs what fails. Nothing here ever raises."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from perdure.alerts.alert import Alert
from perdure.alerts.channels.base import Target
from perdure.alerts.spool import SUFFIX, Failure, Spool
from perdure.config.os_errors import named
from perdure.errors import AlertError

_logger = logging.getLogger("perdure")


def folder_of(state: Path) -> Path:
    """Where the alerts of a state file wait: beside it."""
    return state.with_name(state.name + SUFFIX)


def send(alert: Alert, targets: Sequence[Target], folder: Path) -> list[Failure]:
    """Put an alert into the spool of that folder and deliver what waits there. Never raises.

    Without a spool, since the disk is full or read-only, the alert is sent all the same. If that fails, it is kept
    after all, if it can be by now.

    Args:
        alert: the alert.
        targets: those it is for; if there are none, nothing happens.
        folder: of the spool (`folder_of` a state file).

    Returns:
        Which targets were not reached; that is logged too, and for those the alert waits.
    """
    if not targets:
        return []
    try:
        Spool(folder).put(alert, targets)
    except Exception as error:  # noqa: BLE001  nothing about an alert may harm a run
        _logger.warning("an alert cannot be kept until it is delivered: %s", _reason(error))
        return _send_unkept(alert, targets, folder)
    return deliver(targets, folder)


def _send_unkept(alert: Alert, targets: Sequence[Target], folder: Path) -> list[Failure]:
    failed = [(target, failure) for target in targets if (failure := attempt(alert, target))]
    waits = False
    with suppress(Exception):  # that it cannot be kept is said already
        if failed:
            Spool(folder).put(alert, [target for target, _ in failed])
            waits = True
    return _logged([failure for _, failure in failed], waits)


def deliver(targets: Sequence[Target], folder: Path, *, all: bool = False) -> list[Failure]:
    """Deliver what waits in the spool of that folder. Never raises.

    Args:
        targets: those that are configured now.
        folder: of the spool.
        all: try also those that failed a moment ago.

    Returns:
        Which targets were not reached; that is logged too.
    """
    try:
        return _logged(Spool(folder).deliver({target.digest: target for target in targets}, all=all))
    except Exception as error:  # noqa: BLE001  nothing about an alert may harm a run
        return _logged([Failure("the spool", f"the alerts that wait cannot be delivered: {_reason(error)}")])


def log_failing(targets: Sequence[Target], folder: Path) -> None:
    """Log which targets another process could not deliver to, of what waits in the spool of that folder.

    Raises:
        OSError: the spool cannot be read.
    """
    _logged(Spool(folder).failing({target.digest: target for target in targets}))


def attempt(alert: Alert, target: Target) -> Failure | None:
    """Send an alert to a target at once, without a spool; returns why that failed, or None."""
    try:
        target.send(alert)
    except AlertError as error:
        return Failure(target.name, error.what, error.hint)
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        meant = named(error)
        return f"{meant.what}; {meant.hint}"
    return type(error).__name__


def _logged(failures: list[Failure], waits: bool = True) -> list[Failure]:
    for failure in failures:
        hint = f" ({failure.hint})" if failure.hint else ""
        later = "; it waits and is tried again" if waits else ""
        _logger.warning("alert not delivered to %s: %s%s%s", failure.target, failure.what, hint, later)
    return failures
