"""Time zones: ZoneInfo, and those of dateutil and pytz, which many libraries put into the times that they return."""

from __future__ import annotations

import datetime
import sys
from typing import Any

import msgspec

from perdure.core.values.builtin_types import LOWERING
from perdure.core.values.extensions import ZONEINFO, Lowering, Refused
from perdure.core.values.registry import register_own


def learn() -> None:
    """Learn the zones of those of the modules that are loaded."""
    if "zoneinfo" in sys.modules:
        import zoneinfo  # it waits while another thread is about to

        LOWERING[zoneinfo.ZoneInfo] = _lower_zone_info
    if "dateutil.tz" in sys.modules:
        _learn_dateutil()
    if "pytz" in sys.modules:
        _learn_pytz()


def read_zone_info(data: Any) -> datetime.tzinfo:
    """The ZoneInfo of the key that was saved."""
    import zoneinfo

    return zoneinfo.ZoneInfo(str(data, "utf-8"))


def _lower_zone_info(w: Lowering, zone: Any, depth: int) -> msgspec.msgpack.Ext:
    if zone.key is None:
        raise Refused("is a ZoneInfo without a key", zone, "make it with ZoneInfo('Area/City')")
    return msgspec.msgpack.Ext(ZONEINFO, zone.key.encode())


def _learn_dateutil() -> None:
    from dateutil import tz

    register_own(tz.tzutc, "dateutil.tzutc", lambda zone: None, lambda content: tz.tzutc())
    register_own(
        tz.tzoffset,
        "dateutil.tzoffset",
        lambda zone: [zone._name, zone._offset.total_seconds()],
        lambda content: tz.tzoffset(content[0], content[1]),
    )
    register_own(tz.tzlocal, "dateutil.tzlocal", lambda zone: None, lambda content: tz.tzlocal())


def _learn_pytz() -> None:
    import pytz

    register_own(type(pytz.utc), "pytz.UTC", lambda zone: None, lambda content: pytz.utc)
    register_own(type(pytz.FixedOffset(1)), "pytz.fixed", _minutes, pytz.FixedOffset)


def _minutes(zone: Any) -> int:
    offset = zone.utcoffset(None)
    if not isinstance(offset, datetime.timedelta):
        raise Refused("has no offset", zone, "use zoneinfo.ZoneInfo or datetime.timezone")
    return int(offset.total_seconds() // 60)
