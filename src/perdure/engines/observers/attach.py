"""The observers that the settings in force ask for: the log, and OpenTelemetry."""

from __future__ import annotations

from perdure.config import settings
from perdure.engines.events import Observer
from perdure.engines.observers import json_logs
from perdure.errors import OptionError

_made: dict[str, Observer] = {}


def observers_of(script: str, *, shown: bool = False) -> tuple[Observer, ...]:
    """The observers of the runs of a script.

    Args:
        script: its path; `[tool.perdure]` of its project counts.
        shown: a person sees on the terminal what happens: a log that is printed there would say it again.

    Raises:
        OptionError: OpenTelemetry is asked for and is not installed.
    """
    found: list[Observer] = []
    if settings.log_json():
        json_logs.as_json()
    if json_logs.heard(shown):
        as_json = json_logs.is_json()
        kind = "json" if as_json else "log"
        if kind not in _made:
            from perdure.engines.observers.log_observer import LogObserver

            _made[kind] = LogObserver(as_json=as_json)
        found.append(_made[kind])
    if settings.otel(script):
        if "otel" not in _made:
            from importlib.util import find_spec

            if find_spec("opentelemetry") is None:
                raise OptionError(
                    "OpenTelemetry is asked for (PERDURE_OTEL, or otel in pyproject.toml) and is not installed",
                    'pip install "perdure[otel]"',
                )
            from perdure.engines.observers.telemetry import Telemetry

            _made["otel"] = Telemetry()
        found.append(_made["otel"])
    return tuple(found)


def attached(observer: Observer | None, script: str) -> Observer | None:
    """The observer that an engine gets: the one that it has, or else those that the settings in force ask for."""
    found = observers_of(script) if observer is None else ()
    if observer is None and not found:
        return None
    from perdure.engines.observers.fanout import FanOut

    if observer is not None and not (isinstance(observer, FanOut) and not observer.shows):
        return observer
    found = found or observers_of(script)
    if isinstance(observer, FanOut) and observer.given == found:
        return observer  # one that was dropped stays dropped
    return FanOut(*found) if found else None
