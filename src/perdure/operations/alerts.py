"""What can be done about alerts: prove that they arrive, see what waits, send it now."""

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
from perdure.errors import OptionError
from perdure.operations.location import Place


class Tried(msgspec.Struct, frozen=True):
    """One target that was tried: whether the alert was delivered, in how many milliseconds, and else why not."""

    target: str
    delivered: bool
    ms: int
    what: str = ""
    hint: str = ""


def whom(to: Sequence[str], script: Path | None) -> list[Target]:
    """The targets that are named, else those of the settings.

    Raises:
        OptionError: there are none, or one of them is not valid.
    """
    found = recipients.targets(list(to) or None, str(script) if script else "")
    if not found:
        raise OptionError(
            "nobody is set up to be told",
            "set PERDURE_ALERTS, alerts in [tool.perdure] of pyproject.toml, or ALERT_TELEGRAM_TOKEN and ALERT_CHAT_ID;"
            " or try a target out: perdure alert test --to https://host/path",
        )
    return found


def prove(targets: Sequence[Target]) -> list[Tried]:
    """Send a test alert to every target, all at the same time, and tell how it went."""
    found: dict[str, Tried] = {}
    alert = Alert(
        what="test",
        level="info",
        error="A test: alerts reach this place.",
        commands=(("what waits", "perdure alert pending"),),
    )

    def one(target: Target) -> None:
        began = time.perf_counter()
        failure = sender.attempt(alert, target) or Failure(target.name, "")
        ms = round((time.perf_counter() - began) * 1000)
        found[target.digest] = Tried(target.name, not failure.what, ms, failure.what, failure.hint)

    threads = [Thread(target=one, args=(target,), daemon=True) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[target.digest] for target in targets]


def pending(place: Place, script: Path | None) -> Pending:
    """What waits to be delivered, beside that state file."""
    return Spool(sender.folder_of(place.path)).pending(_configured(script))


def flush(place: Place, script: Path | None) -> tuple[list[Failure], Pending]:
    """Try to deliver all that waits, also what failed a moment ago; what failed again, and what waits now."""
    targets = _configured(script)
    spool = Spool(sender.folder_of(place.path))
    failures = spool.deliver(targets, all=True, budget=float("inf"))
    return failures, spool.pending(targets)


def _configured(script: Path | None) -> dict[str, Target]:
    return {target.digest: target for target in recipients.targets(None, str(script) if script else "")}
