"""From the settings to the phone: whom to tell, and telling them. Nothing here ever harms a run."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from perdure import settings
from perdure.alerts import channels, telegram
from perdure.alerts.message import Alert
from perdure.alerts.spool import Failure, Spool
from perdure.alerts.target import Target
from perdure.errors import AlertError

_logger = logging.getLogger("perdure")


def folder_of(state: Path) -> Path:
    """Where the alerts of a state file wait: beside it."""
    return state.with_name(state.name + "-alerts")


def texts(explicit: str | Sequence[str] | None = None, script: str = "") -> tuple[str, ...]:
    """Whom to tell, as texts that `channels.parse` understands.

    The argument, else PERDURE_ALERTS, else `alerts` in pyproject.toml, else the Telegram variables.

    Args:
        explicit: what somebody named, in code or in a command; empty: nobody.
        script: the path of the script, beside which pyproject.toml is looked for.

    Raises:
        OptionError: `alerts` in pyproject.toml is not a list of texts.
    """
    if explicit is not None:
        named = [explicit] if isinstance(explicit, str) else explicit
    else:
        variable = "PERDURE_ALERTS" in os.environ
        named = settings.alert_targets(script)
        if not named and not variable and telegram.from_environment() is not None:
            named = [channels.TELEGRAM]
    return tuple(text for text in named if text.strip())


def targets(explicit: str | Sequence[str] | None = None, script: str = "") -> list[Target]:
    """Whom to tell, as `texts` finds them; none if nobody is named anywhere.

    Raises:
        OptionError: one of them is not the address of a target.
    """
    return channels.parse(texts(explicit, script))


def send(alert: Alert, targets: Sequence[Target], folder: Path) -> list[Failure]:
    """Put an alert into the spool of that folder and deliver what waits there. Never raises.

    Without a spool, since the disk is full or read-only, the alert is sent all the same.

    Args:
        alert: what to tell.
        targets: whom; if there are none, nothing happens.
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
        return _told([failure for target in targets if (failure := attempt(alert, target))], waits=False)
    return deliver(targets, folder)


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
        return _told(Spool(folder).deliver({target.digest: target for target in targets}, all=all))
    except Exception as error:  # noqa: BLE001  nothing about an alert may harm a run
        return _told([Failure("the spool", f"the alerts that wait cannot be delivered: {_reason(error)}")])


def attempt(alert: Alert, target: Target) -> Failure | None:
    """Send an alert to a target at once, without a spool. What went wrong, if something did."""
    try:
        target.send(alert)
    except AlertError as error:
        return Failure(target.name, error.what, error.hint)
    return None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


def _told(failures: list[Failure], waits: bool = True) -> list[Failure]:
    for failure in failures:
        hint = f" ({failure.hint})" if failure.hint else ""
        later = "; it waits and is tried again" if waits else ""
        _logger.warning("alert not delivered to %s: %s%s%s", failure.target, failure.what, hint, later)
    return failures
