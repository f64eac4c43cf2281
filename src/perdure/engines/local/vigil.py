"""Somebody is told: what a process does so that no run of its ends without a word.

What is in flight is written down by the flight recorder, always. If a workflow names somebody to tell, a companion
process watches this one, alerts go to the spool, and a check that expects to hear from each run does. None of it may
harm a run: what fails is said on the logger `perdure`.
"""

from __future__ import annotations

import os
import shlex
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure import settings
from perdure.core.records import RunRecord
from perdure.core.run import End
from perdure.core.spec import Spec
from perdure.errors import StateError
from perdure.store import crashes, flight
from perdure.store.flight import Recorder
from perdure.store.runs import Store

if TYPE_CHECKING:
    from perdure.alerts.pulse import Pulse
    from perdure.alerts.watchdog import Watchdog

GRACE = 1.0
"""Seconds that a run whose time is over has to end by itself, before it counts as hanging."""


class _Watched:
    """A run that somebody is to be told about."""

    def __init__(self, targets: tuple[str, ...], pulse: Pulse | None) -> None:
        self.targets = targets
        self.pulse = pulse


class Vigil:
    """Watches over the runs (not the child runs) of one state file in this process.

    Args:
        store: the state file.
        now: the time of day, in seconds since the epoch.
    """

    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self.recorder: Recorder | None = None
        self._store = store
        self._now = now
        self._watchdog: Watchdog | None = None
        self._lock = threading.Lock()
        self._ready = False
        self._recording = False
        self._delivered = False
        self._runs: dict[int, _Watched] = {}

    # -- before the first run -----------------------------------------------------------------------------------------

    def ready(self, spec: Spec) -> None:
        """Before this process takes its first run: tell of those that died unseen, and hold it against their steps."""
        if self._ready:
            return
        with self._lock:
            if not self._ready:
                self._ready = True
                self._safely("looking after those that died", lambda: self._look_back(spec))

    def _look_back(self, spec: Spec) -> None:
        targets = addresses(spec)
        if targets and crashes.left(self._store):
            from perdure.alerts.aftermath import at_start

            at_start(self._store, targets, self._now())
        crashes.collect(self._store)

    # -- runs ---------------------------------------------------------------------------------------------------------

    def began(self, run: RunRecord, spec: Spec) -> None:
        """A run begins, or goes on."""
        if not self._recording:
            self._record(run)
        if run.rid not in self._runs and run.parent is None:
            self._safely("watching over a run", lambda: self._watch(run, spec))

    def stopped(self, run: RunRecord, error: BaseException) -> None:
        """A run was stopped in its middle, by something that is not an Exception."""
        watched = self._runs.pop(run.rid, None)
        if watched is not None:
            self._dog().stopped(run.id, error)
            if watched.pulse is not None:
                watched.pulse.beat("fail", f"{type(error).__name__}: {error}")

    def ended(self, effect: End) -> None:
        """A run has come to its end, good or bad, and that is saved."""
        watched = self._runs.pop(effect.run.rid, None)
        if watched is not None:
            self._safely("telling of the end of a run", lambda: self._tell(effect, watched))

    def close(self) -> None:
        """This process is done."""
        if self._watchdog is not None:
            self._watchdog.clean()
        if self.recorder is not None:
            self.recorder.close()

    def close_in_child(self) -> None:
        """After a fork: what the child does is not the parent's."""
        if self.recorder is not None:
            self.recorder.close_in_child()
            self.recorder = None

    # -- inside -------------------------------------------------------------------------------------------------------

    def _record(self, run: RunRecord) -> None:
        with self._lock:
            if not self._recording:
                self._recording = True
                self._safely("recording what is in flight", lambda: self._open(run))

    def _open(self, run: RunRecord) -> None:
        folder, token = flight.folder_of(self._store.path), self._store.holder.token
        self.recorder = Recorder(folder, token, run.path, self._now())

    def _watch(self, run: RunRecord, spec: Spec) -> None:
        targets = addresses(spec)
        url = spec.rules.heartbeat or settings.heartbeat_url(spec.file)
        if not targets and not url:
            return
        pulse = None
        if url:
            from perdure.alerts.pulse import Pulse

            pulse = Pulse(url, run.id)
            pulse.beat("start")
        self._runs[run.rid] = _Watched(targets, pulse)
        timeout = spec.rules.timeout
        deadline = None if timeout is None else timeout + GRACE
        self._dog().began(run.id, run.workflow, targets, deadline=deadline, stall=spec.rules.stall)
        if not self._delivered and targets and spool_of(self._store.path).is_dir():
            self._dog().deliver(targets)  # what waits since an earlier time
        self._delivered = True

    def _dog(self) -> Watchdog:
        if self._watchdog is None:
            from perdure.alerts.watchdog import Settings, Watchdog

            self._watchdog = Watchdog(Settings(self._store.path), self.recorder)
        return self._watchdog

    def _tell(self, effect: End, watched: _Watched) -> None:
        from perdure.alerts.endings import ending

        run = effect.run
        told = ending(self._store, run, effect.status, effect.output, f" --state {shlex.quote(str(self._store.path))}")
        if watched.pulse is not None:
            watched.pulse.beat("success" if effect.status == "done" else "fail", told.text() if told else "")
        if told is not None and watched.targets:
            from perdure.alerts import channels
            from perdure.alerts.spool import Spool

            Spool(spool_of(self._store.path)).put(told, channels.parse(watched.targets))
        self._dog().ended(run.id)
        if told is not None:
            self._dog().deliver(watched.targets)

    def _safely(self, what: str, act: Callable[[], Any]) -> None:
        try:
            act()
        except StateError:
            pass  # the run will meet it too, and says so
        except Exception as error:  # noqa: BLE001  a run is not to suffer from being watched over
            import logging

            logging.getLogger("perdure").warning("%s failed, the run goes on: %s", what, error)


def addresses(spec: Spec) -> tuple[str, ...]:
    """Whom to tell about the runs of a workflow, as texts: its own, else by the settings; none if nobody is named."""
    named = spec.rules.alerts
    if named is None and not settings.alert_targets(spec.file) and not os.environ.get("ALERT_TELEGRAM_TOKEN"):
        return ()  # most scripts: not worth an import
    from perdure.alerts.sending import texts

    return texts(named, spec.file)


def spool_of(state: Path) -> Path:
    """Where the alerts of a state file wait to be delivered."""
    return state.with_name(state.name + "-alerts")
