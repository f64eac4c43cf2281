"""The alerts of a test's runs: they are kept for the test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.engines.local.run_monitor import RunMonitor

if TYPE_CHECKING:
    from perdure.alerts.alert import Alert
    from perdure.core.execution.run_effects import End
    from perdure.core.execution.spec import Spec
    from perdure.core.records import RunRecord
    from perdure.engines.local.engine import LocalEngine


class CollectingMonitor(RunMonitor):
    """Collects the alerts that are due, and sends none; nothing watches this process."""

    def __init__(self, engine: LocalEngine, alerts: list[Alert]) -> None:
        super().__init__(engine.store, engine.world.now)
        self._alerts = alerts

    def began(self, run: RunRecord, spec: Spec) -> None:
        """Nothing is noted outside of the state file."""

    def stopped(self, run: RunRecord, error: BaseException) -> None:
        """A crash is the test's own."""

    def ended(self, effect: End) -> None:
        """A run has ended."""
        from perdure.alerts.run_alerts import end_alert

        if effect.run.parent is None:
            alert = end_alert(self._store, effect.run, effect.status, effect.output, "", open_incident=False)
            if alert is not None:
                self._alerts.append(alert)
