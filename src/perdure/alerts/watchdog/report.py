"""After a process has died, or while it hangs: has somebody told.

The companion starts `speak` in a process of its own. What no companion could tell of, since the machine went down with
it, `at_start` tells at the next start. Whoever tells of a death holds the lock of the flight record, and marks it when
the alert is in the spool: it is told once.
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
from perdure.alerts.crash_alerts import About, Hello, Seen, alerts
from perdure.alerts.spool import Spool
from perdure.store import crashes, flight_recorder
from perdure.store.flight_recorder import Flight
from perdure.store.runs import Store


def speak(spec: Any) -> None:
    """Tell what the companion has seen; called in a process of its own."""
    seen = msgspec.convert(spec, Seen)
    state = Path(seen.hello.state)
    if seen.kind == "tell":
        deliver(seen.message.get("targets", ()), state)
        return
    record = flight_recorder.read(Path(seen.hello.flight)) if seen.hello.flight else None
    if seen.kind != "death":
        for alert, targets in alerts(seen, record):
            _put(alert, targets, state)
    elif record is None or seen.held:
        _tell_of_death(seen, record, state)
    else:
        with flight_recorder.telling(record.path) as ours:
            if ours:
                _tell_of_death(seen, record, state)
    deliver([target for about in seen.runs for target in about.targets], state)


def _tell_of_death(seen: Seen, record: Flight | None, state: Path) -> None:
    if record is not None and record.told:
        return
    if seen.hello.interrupts or not seen.interrupted:
        for alert, targets in alerts(seen, record):
            _put(alert, targets, state)
    if record is not None:
        flight_recorder.mark_told(record.path)


def at_start(store: Store, targets: Sequence[str], now: float | None = None) -> int:
    """Put into the spool an alert for each run that died with nobody to tell of it: at a power cut, say.

    To be called before this process takes its first run, and before `crashes.collect`. Cheap if there is none. To have
    them delivered, `Watchdog.deliver`.

    Args:
        store: the state file, open for writing.
        targets: whom to tell.
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
    told = 0
    for token, runs in orphans.items():
        first = runs[0]
        folder = flight_recorder.folder_of(store.path)
        path = folder / f"{token}.rec"
        if not path.exists():
            flight_recorder.stand_in(folder, token, first.pid, first.started)
        with flight_recorder.telling(path) as ours:
            record = flight_recorder.read(path)
            if ours and record is not None:
                told += _tell_late(store.path, record, runs, tuple(targets), now or time.time())
    return told


def _tell_late(state: Path, record: Flight, runs: Sequence[crashes.Left], targets: tuple[str, ...], now: float) -> int:
    here = flight_recorder.boot_id()
    went_down = any(here) and (record.boot != here if any(record.boot) else record.started < _booted(now))
    about = [About(each.run, each.workflow, targets) for each in runs]
    seen = Seen(
        "death",
        Hello(str(state), str(record.path)),
        about,
        pid=record.pid,
        cause=record.cause or ("restart" if went_down else "unseen"),
        memory=record.memory,
        died=record.seen,
    )
    found = alerts(seen, record) if targets else []
    for alert, whom in found:
        _put(alert, whom, state)
    flight_recorder.mark_told(record.path)
    return len(found)


def _booted(now: float) -> float:
    try:
        return now - time.clock_gettime(time.CLOCK_BOOTTIME)
    except (AttributeError, OSError):
        return 0.0


# -- where alerts go --------------------------------------------------------------------------------------------------


def deliver(targets: Sequence[str], state: Path) -> None:
    """Send what waits in the spool of a state file."""
    sender.deliver(target_address.parse(targets), sender.folder_of(state))


def _put(alert: Alert, targets: Sequence[str], state: Path) -> None:
    whom, folder = target_address.parse(targets), sender.folder_of(state)
    try:
        Spool(folder).put(alert, whom)
    except OSError:
        sender.send(alert, whom, folder)  # the disk is full: now or never
