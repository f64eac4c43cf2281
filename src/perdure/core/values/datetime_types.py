"""Dates, times, durations and fixed offsets of the standard library (zones by name: library_types, zone_types)."""

from __future__ import annotations

import datetime
from typing import Any, Final

from perdure.core.values.extensions import (
    DATE,
    DATETIME,
    TIME,
    TIMEDELTA,
    TIMEZONE,
    Decode,
    Ext,
    Lower,
    Read,
    encode,
    items_of,
    lower_parts,
)


def _offset_parts(zone: datetime.timezone) -> list[Any]:
    # The pickle protocol of timezone is the one public way to learn whether it was given a name.
    return list(zone.__getinitargs__())  # type: ignore[attr-defined]


LOWERING: Final[dict[type, Lower]] = {
    datetime.datetime: lower_parts(
        DATETIME,
        lambda v: [v.year, v.month, v.day, v.hour, v.minute, v.second, v.microsecond, v.fold, v.tzinfo],
    ),
    datetime.date: lambda w, v, d: Ext(DATE, encode([v.year, v.month, v.day])),
    datetime.time: lower_parts(TIME, lambda v: [v.hour, v.minute, v.second, v.microsecond, v.fold, v.tzinfo]),
    datetime.timedelta: lambda w, v, d: Ext(TIMEDELTA, encode([v.days, v.seconds, v.microseconds])),
    datetime.timezone: lower_parts(TIMEZONE, _offset_parts),
}


def _read_datetime(data: Any, decode: Decode) -> datetime.datetime:
    year, month, day, hour, minute, second, microsecond, fold, zone = items_of(data, decode)
    return datetime.datetime(year, month, day, hour, minute, second, microsecond, zone, fold=fold)


def _read_time(data: Any, decode: Decode) -> datetime.time:
    hour, minute, second, microsecond, fold, zone = items_of(data, decode)
    return datetime.time(hour, minute, second, microsecond, zone, fold=fold)


READING: Final[dict[int, Read]] = {
    DATETIME: _read_datetime,
    DATE: lambda data, decode: datetime.date(*items_of(data, decode)),
    TIME: _read_time,
    TIMEDELTA: lambda data, decode: datetime.timedelta(*items_of(data, decode)),
    TIMEZONE: lambda data, decode: datetime.timezone(*items_of(data, decode)),
}
