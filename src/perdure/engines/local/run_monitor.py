"""Somebody is told: what a process does so that no run of its ends without a word.

What is in flight is written down by the flight recorder, always. If a workflow names somebody to tell, a companion
process watches this one, alerts go to the spool, and a check that expects to hear from each run does. None of it may
harm a run: what fails is said on the logger `perdure`.
"""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure.alerts.recipients import addresses
from perdure.config import settings
from perdure.core.execution.run import End
from perdure.core.execution.spec import Spec
from perdure.core.policies.breaker import BreakerState
from perdure.core.records import RunRecord
from perdure.errors import StateError
from perdure.store import crashes, flight_recorder
from perdure.store.flight_recorder import Recorder
from perdure.store.runs import Store

if TYPE_CHECKING:
    from perdure.alerts.alert import Alert
    from perdure.alerts.heartbeat_thread import Pulse
    from perdure.alerts.watchdog.client import Watchdog

GRACE = 1.0
"""Seconds that a run whose time is over has to end by itself, before it counts as hanging."""


class _Watched:
    """A run that somebody is to be told about."""

    def __init__(self, run: RunRecord, targets: tuple[str, ...], pulse: Pulse | None) -> None:
        self.run = run
        self.targets = targets
        self.pulse = pulse


class RunMonitor:
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
        self._token = ""  # under which is recorded
        self._delivered = False
        self._interrupts = False
        self._patience = 0.0
        self.told: BaseException | None = None  # the last thing that stopped a run, and was told
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
        targets = addresses(spec.rules.alerts, spec.file)
        if targets and crashes.left(self._store):
            from perdure.alerts.watchdog.report import at_start

            at_start(self._store, targets, self._now())
        crashes.collect(self._store)

    # -- runs ---------------------------------------------------------------------------------------------------------

    def began(self, run: RunRecord, spec: Spec) -> None:
        """A run begins, or goes on."""
        if self._store.holder.token != self._token:
            self._record(run)
        if run.rid not in self._runs and run.parent is None:
            self._safely("watching over a run", lambda: self._watch(run, spec))

    def stopped(self, run: RunRecord, error: BaseException) -> None:
        """A run was stopped in its middle, by something that is not an Exception."""
        watched = self._runs.pop(run.rid, None)
        if watched is not None:
            self.told = error
            self._safely("telling of a run that was stopped", lambda: self._stop(run, watched, error))

    def ended(self, effect: End) -> None:
        """A run has come to its end, good or bad, and that is saved."""
        watched = self._runs.pop(effect.run.rid, None)
        if watched is not None:
            self._safely("telling of the end of a run", lambda: self._tell(effect, watched))

    # -- services -----------------------------------------------------------------------------------------------------

    @property
    def patience(self) -> float | None:
        """Seconds that a breaker may be open before that is told; None if nobody is to be told of anything."""
        return self._patience if any(watched.targets for watched in list(self._runs.values())) else None

    def opened(self, service: str, state: BreakerState) -> None:
        """A breaker has been open for long."""
        from perdure.alerts import run_alerts

        length = self._now() - state.since
        self._pass_on(lambda run: run_alerts.breaker_open(run, service, length, state.error, self._option))

    def closed(self, service: str) -> None:
        """It has closed again."""
        from perdure.alerts import run_alerts

        self._pass_on(lambda run: run_alerts.breaker_closed(run, service))

    def _pass_on(self, alert: Callable[[RunRecord], Alert]) -> None:
        """Once to each of those who are told of the runs of this process."""
        first = {watched.targets: watched.run for watched in reversed(self._runs.values()) if watched.targets}
        for targets, run in first.items():
            self._safely("telling of a service", partial(self._send, alert(run), targets))

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
            if self._store.holder.token != self._token:
                self._token = self._store.holder.token
                self._safely("recording what is in flight", lambda: self._open(run))

    def _open(self, run: RunRecord) -> None:
        self.close()  # nothing is under way if this process has become another one, as far as others are concerned
        self.recorder = self._watchdog = None
        self.recorder = Recorder(flight_recorder.folder_of(self._store.path), self._token, run.path, self._now())

    def _stop(self, run: RunRecord, watched: _Watched, error: BaseException) -> None:
        self._dog().stopped(run.id, error)
        if watched.pulse is not None:
            from perdure.alerts.watchdog.client import how_stopped

            how = how_stopped(error)
            quiet = how.kind in ("KeyboardInterrupt", "CancelledError") and not self._interrupts
            watched.pulse.beat("" if quiet else "fail", f"{how.kind}: {how.text}")

    def _watch(self, run: RunRecord, spec: Spec) -> None:
        targets = addresses(spec.rules.alerts, spec.file)
        url = spec.rules.heartbeat or settings.heartbeat_url(spec.file)
        if not targets and not url:
            return
        pulse = None
        if url:
            from perdure.alerts.heartbeat_thread import Pulse

            pulse = Pulse(url, run.id)
            pulse.beat("start")
        self._interrupts = settings.alert_interrupts(spec.file)
        self._patience = settings.alert_breaker_after(spec.file)
        self._runs[run.rid] = _Watched(run, targets, pulse)
        timeout = spec.rules.timeout
        deadline = None if timeout is None else timeout + GRACE
        self._dog().began(run.id, run.workflow, targets, deadline=deadline, stall=spec.rules.stall)
        if not self._delivered and targets and self._spool.is_dir():
            self._dog().deliver(targets)  # what waits since an earlier time
        self._delivered = True

    def _dog(self) -> Watchdog:
        if self._watchdog is None:
            from perdure.alerts.watchdog.client import Settings, Watchdog

            self._watchdog = Watchdog(Settings(self._store.path, self._interrupts), self.recorder)
        return self._watchdog

    def _tell(self, effect: End, watched: _Watched) -> None:
        from perdure.alerts.run_alerts import ending

        run = effect.run
        told = ending(self._store, run, effect.status, effect.output, self._option, ailing=self._is_ailing(run))
        if watched.pulse is not None:
            watched.pulse.beat("success" if effect.status == "done" else "fail", told.text() if told else "")
        if told is not None and watched.targets:
            self._send(told, watched.targets)
        self._dog().ended(run.id)

    def _send(self, alert: Alert, targets: tuple[str, ...]) -> None:
        """Keep it, and have it delivered: by another process, so that nothing here waits for a channel."""
        from perdure.alerts import sender
        from perdure.alerts.channels import target_address
        from perdure.alerts.spool import Spool

        whom = target_address.parse(targets)
        try:
            Spool(self._spool).put(alert, whom)
        except OSError:
            sender.send(alert, whom, self._spool)  # the disk is full: now or never
        else:
            self._dog().deliver(targets)

    def _is_ailing(self, run: RunRecord) -> bool:
        from perdure.alerts.open_incidents import is_ailing

        return is_ailing(self._spool, run.id)

    @property
    def _spool(self) -> Path:
        """Where the alerts wait to be delivered."""
        from perdure.alerts.sender import folder_of

        return folder_of(self._store.path)

    @property
    def _option(self) -> str:
        """What a command needs to find the state file."""
        return f" --state {shlex.quote(str(self._store.path))}"

    def _safely(self, what: str, act: Callable[[], Any]) -> None:
        try:
            act()
        except StateError:
            pass  # the run will meet it too, and says so
        except Exception as error:  # noqa: BLE001  a run is not to suffer from being watched over
            import logging

            logging.getLogger("perdure").warning("%s failed, the run goes on: %s", what, error)
