"""Time zones of dateutil and pytz, which many libraries put into the times that they return."""

from __future__ import annotations

import datetime
import sys
from typing import Any

from perdure.core.values.extensions import Refused
from perdure.core.values.registry import Codec, register


def learn() -> None:
    """Register the codecs of those of the libraries that are loaded."""
    if "dateutil.tz" in sys.modules:
        _learn_dateutil()
    if "pytz" in sys.modules:
        _learn_pytz()


def _learn_dateutil() -> None:
    from dateutil import tz

    register(Codec(tz.tzutc, "dateutil.tzutc", lambda zone: None, lambda content: tz.tzutc(), own=True))
    register(
        Codec(
            tz.tzoffset,
            "dateutil.tzoffset",
            lambda zone: [zone._name, zone._offset.total_seconds()],
            lambda content: tz.tzoffset(content[0], content[1]),
            own=True,
        )
    )
    register(Codec(tz.tzlocal, "dateutil.tzlocal", lambda zone: None, lambda content: tz.tzlocal(), own=True))


def _learn_pytz() -> None:
    import pytz

    register(Codec(type(pytz.utc), "pytz.UTC", lambda zone: None, lambda content: pytz.utc, own=True))
    register(Codec(type(pytz.FixedOffset(1)), "pytz.fixed", _minutes, pytz.FixedOffset, own=True))


def _minutes(zone: Any) -> int:
    offset = zone.utcoffset(None)
    if not isinstance(offset, datetime.timedelta):
        raise Refused("has no offset", zone, "use zoneinfo.ZoneInfo or datetime.timezone")
    return int(offset.total_seconds() // 60)
