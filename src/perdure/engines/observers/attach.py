"""Who looks on by the settings in force: the log, and OpenTelemetry."""

from __future__ import annotations

from importlib.util import find_spec

from perdure.config import settings
from perdure.engines.observer import Observer
from perdure.engines.observers import json_logs
from perdure.engines.observers.fanout import Fan
from perdure.errors import OptionError

_made: dict[str, Observer] = {}


def onlookers(script: str, *, shown: bool = False) -> tuple[Observer, ...]:
    """Who looks on at the runs of a script.

    Args:
        script: its path; `[tool.perdure]` of its project counts.
        shown: people see on the terminal what happens: a log that is printed there would say it again.

    Raises:
        OptionError: OpenTelemetry was asked for and is not installed.
    """
    found: list[Observer] = []
    if settings.log_json():
        json_logs.as_json()
    if json_logs.heard(shown):
        if "log" not in _made:
            from perdure.engines.observers.log_observer import Logbook

            _made["log"] = Logbook()
        found.append(_made["log"])
    if settings.otel(script):
        if "otel" not in _made:
            if find_spec("opentelemetry") is None:
                raise OptionError(
                    "OpenTelemetry was asked for (PERDURE_OTEL, or otel in pyproject.toml) and is not installed",
                    'pip install "perdure[otel]"',
                )
            from perdure.engines.observers.telemetry import Telemetry

            _made["otel"] = Telemetry()
        found.append(_made["otel"])
    return tuple(found)


def attached(observer: Observer | None, script: str) -> Observer | None:
    """What an engine is given to tell: what it has, or whoever looks on by the settings in force."""
    if observer is not None and not (isinstance(observer, Fan) and not observer.shows):
        return observer
    found = onlookers(script)
    if isinstance(observer, Fan) and observer.observers == found:
        return observer
    return Fan(*found) if found else None
