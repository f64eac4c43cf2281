"""Who is alerted: named by the workflow, the environment or pyproject.toml."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from perdure.config import settings
from perdure.config.variables import variable
from perdure.errors import OptionError

if TYPE_CHECKING:
    from perdure.alerts.channels.base import Target


def addresses(explicit: str | Sequence[str] | None = None, script: str = "") -> tuple[str, ...]:
    """The addresses of the recipients, as `channels.target_address` understands them.

    The argument, else PERDURE_ALERTS, else `alerts` in pyproject.toml, else the Telegram variables.

    Args:
        explicit: addresses named in code or in a command; empty: none.
        script: the path of the script, beside which pyproject.toml is looked for.

    Raises:
        OptionError: `alerts` in pyproject.toml is not a list of texts.
    """
    if explicit is not None:
        named = [explicit] if isinstance(explicit, str) else explicit
    else:
        named = settings.alert_targets(script)
        if not named and variable("PERDURE_ALERTS") is None and variable("ALERT_TELEGRAM_TOKEN"):
            from perdure.alerts.channels import target_address, telegram  # not for scripts without alerts

            if telegram.from_environment() is not None:
                named = [target_address.TELEGRAM]
    return tuple(text for text in named if text.strip())


def targets(explicit: str | Sequence[str] | None = None, script: str = "") -> list[Target]:
    """The recipients, as `addresses` finds them; none if no address is set anywhere.

    Raises:
        OptionError: one of them is not the address of a target.
    """
    from perdure.alerts.channels import target_address

    return target_address.parse(addresses(explicit, script))


def check(script: str) -> None:
    """See that the targets that the environment or pyproject.toml names are ones, before something fails.

    Raises:
        OptionError: one of them is not.
    """
    named = tuple(settings.alert_targets(script))
    if named in _checked or not any(text.strip() for text in named):
        return
    from perdure.alerts.channels import target_address

    where = "PERDURE_ALERTS" if os.environ.get("PERDURE_ALERTS") else "alerts in pyproject.toml"
    try:
        if not target_address.parse(named):
            raise OptionError("no target is named", "give an address, or nothing at all for no alerts")
    except OptionError as error:
        raise OptionError(f"{where}: {error.what}", error.hint) from None
    _checked.add(named)


_checked: set[tuple[str, ...]] = set()
