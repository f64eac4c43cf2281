"""The crash report: alerts after a process has died, or while it hangs.

The watchdog process starts `report` in a process of its own. A death that it could not report, since the machine went
down, is reported by `report_at_start` at the next start. Who reports a death holds the lock of the flight record, and
marks the record when the alert is in the spool: so it is reported once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from perdure.alerts import sender
from perdure.alerts.alert import Alert
from perdure.alerts.channels import target_address
from perdure.alerts.crash_alerts import Hello, Observation, WatchedRun, alerts_for
from perdure.alerts.spool import Spool
from perdure.store import crashes, flight_record
from perdure.store.flight_record import Flight
from perdure.store.runs import Store


def report(spec: Any) -> None:
    """Report what the watchdog process has observed; called in a process of its own."""
    seen = msgspec.convert(spec, Observation)
    state = Path(seen.hello.state)
    if seen.kind == "deliver":
        deliver(seen.message.get("targets", ()), state)
        return
    record = flight_record.read(Path(seen.hello.flight)) if seen.hello.flight else None
    if seen.kind != "death":
        for alert, targets in alerts_for(seen, record):
            _put(alert, targets, state)
    elif record is None or seen.held:
        _report_death(seen, record, state)
    else:
        with flight_record.reporting(record.path) as ours:
            if ours:
                _report_death(seen, record, state)
    deliver([target for run in seen.runs for target in run.targets], state)


def _report_death(seen: Observation, record: Flight | None, state: Path) -> None:
    if record is not None and record.reported:
        return
    if seen.hello.interrupts or not seen.interrupted:
        for alert, targets in alerts_for(seen, record):
            _put(alert, targets, state)
    if record is not None:
        flight_record.mark_reported(record.path)


def report_at_start(store: Store, targets: Sequence[str], now: float | None = None) -> int:
    """Put into the spool an alert for each run whose death was not reported: after a power cut, say.

    To be called before this process takes its first run, and before `crashes.collect`. Cheap if there is none. To have
    them delivered, `Watchdog.deliver`.

    Args:
        store: the state file, open for writing.
        targets: the addresses of the recipients.
        now: seconds since the epoch.

    Returns:
        How many there were.

    Raises:
        StateError: the state file cannot be read.
        OSError: a record cannot be written.
    """
    orphans: dict[str, list[crashes.Left]] = {}
    for each in crashes.left(store):
        orphans.setdefault(each.token, []).append(each)
    reported = 0
    for token, runs in orphans.items():
        first = runs[0]
        folder = flight_record.folder_of(store.path)
        path = folder / f"{token}.rec"
        if not path.exists():
            if first.gone:
                continue  # its record has expired
            flight_record.stand_in(folder, token, first.pid, first.started)
        with flight_record.reporting(path) as ours:
            record = flight_record.read(path)
            if ours and record is not None:
                reported += _report_late(store.path, record, runs, tuple(targets), now or time.time())
    return reported


def _report_late(
    state: Path, record: Flight, runs: Sequence[crashes.Left], targets: tuple[str, ...], now: float
) -> int:
    here = flight_record.boot_id()
    went_down = any(here) and (record.boot != here if any(record.boot) else record.started < _booted(now))
    watched = [WatchedRun(each.run, each.workflow, targets) for each in runs]
    seen = Observation(
        "death",
        Hello(str(state), str(record.path)),
        watched,
        pid=record.pid,
        cause=record.cause or ("restart" if went_down else "unseen"),
        memory=record.memory,
        died=record.seen,
    )
    found = alerts_for(seen, record) if targets else []
    for alert, addresses in found:
        _put(alert, addresses, state)
    flight_record.mark_reported(record.path)
    return len(found)


def _booted(now: float) -> float:
    try:
        return now - time.clock_gettime(time.CLOCK_BOOTTIME)
    except (AttributeError, OSError):
        return 0.0


# -- the spool --------------------------------------------------------------------------------------------------------


def deliver(targets: Sequence[str], state: Path) -> None:
    """Send what waits in the spool of a state file."""
    sender.deliver(target_address.parse(targets), sender.folder_of(state))


def _put(alert: Alert, targets: Sequence[str], state: Path) -> None:
    recipients, folder = target_address.parse(targets), sender.folder_of(state)
    try:
        Spool(folder).put(alert, recipients)
    except OSError:
        sender.send(alert, recipients, folder)  # the disk is full: now or never
