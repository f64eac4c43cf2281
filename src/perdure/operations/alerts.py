"""`perdure alert`: test that alerts arrive, list what waits, deliver it now."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from threading import Thread

import msgspec

from perdure.alerts import recipients, sender
from perdure.alerts.alert import Alert
from perdure.alerts.channels.base import Target
from perdure.alerts.spool import Failure, Pending, Spool
from perdure.config.os_errors import named
from perdure.errors import OptionError
from perdure.operations.location import Location


class DeliveryTest(msgspec.Struct, frozen=True):
    """The test of one target: whether the alert was delivered, in how many milliseconds, and else why not."""

    target: str
    delivered: bool
    ms: int
    what: str = ""
    hint: str = ""


def configured_targets(to: Sequence[str], script: Path | None) -> list[Target]:
    """The targets that are named, else those of the settings.

    Raises:
        OptionError: there are none, or one of them is not valid.
    """
    found = recipients.targets(list(to) or None, str(script) if script else "")
    if not found:
        raise OptionError(
            "no alert target is set",
            "set PERDURE_ALERTS, alerts in [tool.perdure] of pyproject.toml, or ALERT_TELEGRAM_TOKEN and ALERT_CHAT_ID;"
            " or test a target: perdure alert test --to https://host/path",
        )
    return found


def alert_targets() -> list[str]:
    """Who is told, as the settings say here: kind and host of each, never what admits to it.

    Raises:
        OptionError: one of them is not the address of a target.
    """
    return sorted(target.name for target in recipients.targets(None, ""))


def deliver_test(targets: Sequence[Target]) -> list[DeliveryTest]:
    """Send a test alert to every target, all at the same time, and return the result of each."""
    found: dict[str, DeliveryTest] = {}
    alert = Alert(
        what="test",
        level="info",
        error="A test: alerts reach this location.",
        commands=(("what waits", "perdure alert pending"),),
    )

    def one(target: Target) -> None:
        began = time.perf_counter()
        failure = sender.attempt(alert, target) or Failure(target.name, "")
        ms = round((time.perf_counter() - began) * 1000)
        found[target.digest] = DeliveryTest(target.name, not failure.what, ms, failure.what, failure.hint)

    threads = [Thread(target=one, args=(target,), daemon=True) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[target.digest] for target in targets]


def pending(location: Location, script: Path | None) -> Pending:
    """What waits to be delivered, beside that state file."""
    try:
        return Spool(sender.folder_of(location.path)).pending(_configured(script))
    except OSError as error:
        raise named(error, location.path) from error


def flush(location: Location, script: Path | None) -> tuple[list[Failure], Pending]:
    """Try to deliver all that waits, also what failed a moment ago; what failed again, and what waits now."""
    targets = _configured(script)
    spool = Spool(sender.folder_of(location.path))
    try:
        return spool.deliver(targets, all=True, budget=float("inf")), spool.pending(targets)
    except OSError as error:
        raise named(error, location.path) from error


def _configured(script: Path | None) -> dict[str, Target]:
    return {target.digest: target for target in recipients.targets(None, str(script) if script else "")}
