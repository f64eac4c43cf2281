"""The run monitor: what a process does so that each of its runs that ends badly is alerted.

The flight recorder notes what is in flight, always. If a workflow has recipients, a watchdog process watches this one,
alerts go to the spool, and a check that expects heartbeats of each run gets them. Nothing of it may harm a run: a
failure is logged under `perdure`.
"""

from __future__ import annotations

import os
import shlex
import threading
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure.alerts.recipients import addresses
from perdure.config import settings
from perdure.core.execution.run_effects import End
from perdure.core.execution.spec import Spec
from perdure.core.records import RunRecord
from perdure.engines.runtime import orphans
from perdure.errors import PerdureError, StateError, StopRun
from perdure.store import crashes, flight_record
from perdure.store.flight_recorder import Recorder
from perdure.store.runs import Store

if TYPE_CHECKING:
    from perdure.alerts.alert import Alert
    from perdure.alerts.heartbeat_thread import HeartbeatThread
    from perdure.alerts.watchdog.client import Watchdog
    from perdure.core.policies.breaker import BreakerState

GRACE = 1.0
"""Seconds that a run whose time is over has to end by itself, before it counts as hanging."""

_TOLD_BY = (settings.ALERTS.variable, settings.HEARTBEAT.variable, "ALERT_TELEGRAM_TOKEN", "ALERT_CHAT_ID")
"""The variables that may say whom to tell."""


class _MonitoredRun:
    """A run whose end is alerted or reported to a check."""

    def __init__(self, run: RunRecord, targets: tuple[str, ...], heartbeat: HeartbeatThread | None) -> None:
        self.run = run
        self.targets = targets
        self.heartbeat = heartbeat


class RunMonitor:
    """Monitors the runs (not the child runs) of one state file in this process.

    Args:
        store: the state file.
        now: the time of day, in seconds since the epoch.
    """

    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self.recorder: Recorder | None = None
        self._store = store
        self._now = now
        self._client: Watchdog | None = None
        self._lock = threading.Lock()
        self._ready = False
        self._token = ""  # of the lock under which the recorder records
        self._delivered = False
        self._interrupts = False
        self._patience = 0.0
        self.alerted: BaseException | None = None  # the last exception that stopped a run, and was alerted
        self._runs: dict[int, _MonitoredRun] = {}
        self._nobody: object = None  # the workflow of which nobody is told, and what says so

    # -- before the first run -----------------------------------------------------------------------------------------

    def ready(self, spec: Spec) -> None:
        """Before this process takes its first run: alert the deaths not reported yet, and note their suspects."""
        if self._ready:
            return
        with self._lock:
            if not self._ready:
                self._ready = True
                self._safely("looking for runs that died", lambda: self._look_back(spec))
                self._safely("looking for runs that wait unseen", lambda: self._look_around(spec))

    def look_back(self, spec: Spec) -> None:
        """Before this process takes over runs of dead ones: alert those deaths, and note their suspects.

        Raises:
            StateError: the state file cannot be used.
        """
        with self._lock:
            self._ready = True
            self._look_back(spec)

    def _look_back(self, spec: Spec) -> None:
        targets = addresses(spec.rules.alerts, spec.file)
        if targets and crashes.left(self._store):
            from perdure.alerts.watchdog.report import report_at_start

            report_at_start(self._store, targets, self._now())
        crashes.collect(self._store)

    def _look_around(self, spec: Spec) -> None:
        """Alert what waits, and no process sees to; not what this script is about to go on with."""
        if not addresses(spec.rules.alerts, spec.file) or not self._keeps_alerts:
            return
        import logging

        from perdure.config.script_identity import script_identity
        from perdure.engines.local.worker.overdue import Lookout

        log = logging.getLogger("perdure")
        mine = script_identity(spec.file, self._store.path)
        say = partial(log.warning, "%s")
        Lookout(self._store.path, say, send=self._send, mine=mine, script=spec.file).look_once(self._store)

    # -- runs ---------------------------------------------------------------------------------------------------------

    def began(self, run: RunRecord, spec: Spec) -> None:
        """A run begins, or goes on."""
        orphans.mark_process()
        if self._store.holder.token != self._token:
            self._record(run)
        if self.recorder is not None and self.recorder.ends:
            self._say("")
        if run.rid not in self._runs and run.parent is None:
            self._safely("monitoring a run", lambda: self._monitor(run, spec))

    def stopped(self, run: RunRecord, error: BaseException) -> None:
        """A run was stopped in its middle, by something that is not an Exception."""
        monitored = self._runs.pop(run.rid, None)
        if run.parent is None and isinstance(cause := getattr(error, "error", error), StateError) and not self._runs:
            from perdure.core.exit_causes import STOPPED

            self._say(STOPPED + cause.code)  # beside the state file, which could not be written
        if monitored is not None:
            self.alerted = error.error if isinstance(error, StopRun) else error
            self._safely("alerting that a run was stopped", lambda: self._alert_stop(run, monitored, error))

    def suspended(self, run: RunRecord) -> None:
        """A run was left to its waits, or to another worker: it has not ended nor failed, and nobody is alerted."""
        monitored = self._runs.pop(run.rid, None)
        if monitored is not None:
            self._safely("leaving a run to its waits", lambda: self._let_be(run, monitored))

    def held(self, run: RunRecord, script: str, named: tuple[str, ...] | None, error: PerdureError) -> None:
        """A run cannot be gone on with by the script as it is now, and waits until somebody acts.

        Args:
            run: which.
            script: the path of its script, whose settings hold.
            named: the addresses that its workflow names.
            error: why.
        """

        def alert() -> None:
            targets = addresses(named, script)
            if not targets:
                return
            from perdure.alerts import worker_alerts

            self._send(worker_alerts.held(run, error, self._option), targets)

        self._safely("alerting that a run is on hold", alert)

    def leave(self) -> None:
        """This process ends in the middle of its runs since it was asked to: no crash, and not alerted."""
        client = self._client
        if client is not None:
            for id in list(self._runs):
                run = self._runs.pop(id).run
                self._safely("saying goodbye to the watchdog process", partial(client.ended, run.id))
            client.close()
        if self.recorder is not None:
            path = self.recorder.path
            self._safely("noting that the end was asked for", lambda: flight_record.mark_asked(path))

    def ended(self, effect: End) -> None:
        """A run has ended, well or badly, and that is saved."""
        monitored = self._runs.pop(effect.run.rid, None)
        if monitored is not None:
            self._safely("alerting the end of a run", lambda: self._alert_end(effect, monitored))

    def monitors(self, run: RunRecord) -> bool:
        """Is somebody told of the end of that run?"""
        return run.rid in self._runs

    # -- services -----------------------------------------------------------------------------------------------------

    @property
    def patience(self) -> float | None:
        """Seconds that a breaker may be open before that is alerted; None if no run has recipients."""
        return self._patience if any(each.targets for each in list(self._runs.values())) else None

    def opened(self, service: str, state: BreakerState) -> None:
        """A breaker has been open for longer than `patience`."""
        from perdure.alerts import run_alerts

        length = self._now() - state.since
        self._alert_each(lambda run: run_alerts.breaker_open(run, service, length, state.error, self._option))

    def closed(self, service: str) -> None:
        """It has closed again."""
        from perdure.alerts import run_alerts

        self._alert_each(lambda run: run_alerts.breaker_closed(run, service))

    def _alert_each(self, alert: Callable[[RunRecord], Alert]) -> None:
        """Once to each set of recipients of the runs of this process."""
        first = {each.targets: each.run for each in reversed(self._runs.values()) if each.targets}
        for targets, run in first.items():
            self._safely("alerting about a service", partial(self._send, alert(run), targets))

    def close(self) -> None:
        """This process is done."""
        if self._client is not None:
            self._client.close()
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
            token = self._store.holder.token
            if token != self._token:
                self._safely("recording what is in flight", lambda: self._open(run, token))
                self._token = token  # last: a run on another thread begins its steps as soon as it finds it there

    def _say(self, cause: str) -> None:
        if self.recorder is not None:
            self._safely("noting how the process ends", partial(self.recorder.say, cause))

    def _open(self, run: RunRecord, token: str) -> None:
        self.close()  # to other processes this one is another now, and nothing of it is under way
        self.recorder = self._client = None
        self.recorder = Recorder(flight_record.folder_of(self._store.path), token, run.path, self._now())

    def _monitor(self, run: RunRecord, spec: Spec) -> None:
        told_by = settings.as_set(spec.file, *_TOLD_BY)
        if told_by is not None and self._nobody == (spec, told_by):
            return
        targets = addresses(spec.rules.alerts, spec.file)
        url = spec.rules.heartbeat or settings.heartbeat_url(spec.file)
        if not targets and not url:
            self._nobody = spec, told_by
            return
        from perdure.engines.runtime.deadline import time_left

        heartbeat = None
        if url:
            from perdure.alerts.heartbeat_thread import HeartbeatThread

            heartbeat = HeartbeatThread(url, run.id)
            heartbeat.send("start")
        self._interrupts = settings.alert_interrupts(spec.file)
        self._patience = settings.alert_breaker_after(spec.file)
        self._runs[run.rid] = _MonitoredRun(run, targets, heartbeat)
        timeout = spec.rules.timeout
        deadline = None if timeout is None else max(time_left(run, timeout, self._now()), 0.0) + GRACE
        self._watchdog().began(run.id, run.workflow, targets, deadline=deadline, stall=spec.rules.stall)
        if not self._delivered and targets and self._keeps_alerts and self._spool.is_dir():
            from perdure.alerts import sender
            from perdure.alerts.channels import target_address

            # Who delivers is a process of its own, which outlives the script: nobody sees what it would log.
            sender.log_failing(target_address.parse(targets), self._spool)
            self._watchdog().deliver(targets)  # what waits since an earlier time
        self._delivered = True

    def _watchdog(self) -> Watchdog:
        if self._client is None:
            from perdure.alerts.watchdog.client import Settings, Watchdog

            self._client = Watchdog(Settings(self._store.path, self._interrupts), self.recorder)
        return self._client

    def _let_be(self, run: RunRecord, monitored: _MonitoredRun) -> None:
        if monitored.heartbeat is not None:
            monitored.heartbeat.send("")
        self._watchdog().ended(run.id)

    def _alert_stop(self, run: RunRecord, monitored: _MonitoredRun, error: BaseException) -> None:
        self._watchdog().stopped(run.id, error)
        if monitored.heartbeat is not None:
            from perdure.alerts.watchdog.client import describe_exception

            last = describe_exception(error)
            quiet = last.kind in ("KeyboardInterrupt", "CancelledError") and not self._interrupts
            monitored.heartbeat.send("" if quiet else "fail", f"{last.kind}: {last.text}")

    def _alert_end(self, effect: End, monitored: _MonitoredRun) -> None:
        from perdure.alerts import open_incidents
        from perdure.alerts.run_alerts import end_alert

        run = effect.run
        try:
            is_open = self._keeps_alerts and open_incidents.is_open(self._spool, run.id)
            alert = end_alert(self._store, run, effect.status, effect.output, self._option, open_incident=is_open)
            if monitored.heartbeat is not None:
                signal = "success" if effect.status == "done" else "fail"
                monitored.heartbeat.send(signal, alert.text() if alert else "")  # type: ignore[arg-type]  # one of the two
            if alert is not None and monitored.targets:
                self._send(alert, monitored.targets)
        finally:
            self._watchdog().ended(run.id)  # whatever has failed here: it takes the end of the process for a crash else

    def _send(self, alert: Alert, targets: tuple[str, ...]) -> None:
        """Put it into the spool, and have another process deliver it, so that nothing here waits for a channel."""
        from perdure.alerts import sender
        from perdure.alerts.channels import target_address
        from perdure.alerts.spool import Spool

        recipients = target_address.parse(targets)
        try:
            Spool(self._spool).put(alert, recipients)
        except OSError:
            sender.send(alert, recipients, self._spool)  # the disk is full: now or never
        else:
            self._watchdog().deliver(targets)

    @property
    def _spool(self) -> Path:
        """Where the alerts wait to be delivered."""
        from perdure.alerts.sender import folder_of

        return folder_of(self._store.path)

    @cached_property
    def _keeps_alerts(self) -> bool:
        """Can alerts wait beside the state file? What is in the way is said; they are then sent at once, or never."""
        if os.access(self._spool, os.R_OK | os.W_OK | os.X_OK) or not os.path.lexists(self._spool):
            return True
        import logging

        from perdure.config.os_errors import refused

        why = refused(f"{self._spool} cannot be used", self._spool, f"check its permissions: chmod 700 {self._spool}")
        logging.getLogger("perdure").warning("alerts are not kept until they are delivered: %s; %s", why.what, why.hint)
        return False

    @property
    def _option(self) -> str:
        """What a command needs to find the state file."""
        return f" --state {shlex.quote(str(self._store.path))}"

    def _safely(self, what: str, act: Callable[[], Any]) -> None:
        try:
            act()
        except StateError:
            pass  # the run will meet it too, and raises it
        except Exception as error:  # noqa: BLE001  a run must not fail since it is monitored
            import logging

            logging.getLogger("perdure").warning("%s failed, the run goes on: %s", what, error)
