"""When a schedule is due: a cron expression or an interval as data, and the moments that follow from it in a time zone.

A tick is a whole second since the epoch. The calendar alone (which minute of which day) is cronsim's; what a time zone
makes of it is decided here, as Debian's cron does: a fixed local time that does not exist is due once, right after the
gap, one that exists twice is due the first time, and a schedule with `*` in the minute or hour follows the time that
passes. docs/decisions/0048-schedules.md says why cronsim's own handling of zones is not used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from typing import Final, NoReturn

import msgspec

from perdure.core.digests import blake2b
from perdure.core.durations import seconds
from perdure.errors import OptionError

MOST: Final = 1000
"""Ticks that are caught up with after a time in which nobody served."""
_DAY: Final = 86400
_EPOCH: Final = datetime(1970, 1, 1)
_LONGEST_SPEC: Final = 500
_FORMS: Final = 'a cron expression such as "0 3 * * *" (minute, hour, day, month, weekday), or "every 15m"'
_MACROS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS: Final = ("second", "minute", "hour", "day of the month", "month", "weekday")
_BOUNDS: Final = ("0 to 59", "0 to 59", "0 to 23", "1 to 31", "1 to 12", "0 to 7 or sun to sat")


class Ticks(msgspec.Struct, frozen=True):
    """A schedule's specification, understood.

    Attributes:
        spec: as it was written, with single spaces.
        every: seconds between two ticks, counted from the epoch; None: `spec` is a cron expression.
        elapsed: it follows the time that passes, whatever the clocks show: `*` in the minute or hour.
        note: what a reader may take for something else; empty if there is nothing.
    """

    spec: str
    every: int | None = None
    elapsed: bool = True
    note: str = ""

    def after(self, moment: float, zone: tzinfo) -> Iterator[int]:
        """The ticks that are later than a moment, in order, each in seconds since the epoch.

        They are the same from whatever moment one starts. They end where the calendar does, in the year 9999.
        """
        start = math.floor(moment)
        if self.every is not None:
            return _every(self.every, start)
        try:
            _offset(start, zone)
        except (OverflowError, ValueError, OSError):
            return iter(())
        return _elapsed(self.spec, start, zone) if self.elapsed else _fixed(self.spec, start, zone)

    def next(self, moment: float, zone: tzinfo) -> int | None:
        """The first tick that is later than a moment; None: there is none."""
        return next(self.after(moment, zone), None)

    def between(self, moment: float, until: float, zone: tzinfo) -> Iterator[int]:
        """The ticks that are later than `moment`, up to `until` and with it."""
        for tick in self.after(moment, zone):
            if tick > until:
                return
            yield tick

    def latest(self, moment: float, until: float, zone: tzinfo, most: int = MOST) -> Due:
        """The latest ticks that are later than `moment`, up to `until` and with it: `most` of them at most.

        It takes about as long for a year of seconds as for some thousands of ticks.
        """
        low, high = math.floor(moment), math.floor(until)
        enough, length = 4 * most, most * (self.every or 1)
        while high - length > low:  # from the end: what is long ago need not be gone through
            found = list(islice(self.between(high - length, until, zone), enough))
            if len(found) > most:
                low, high = high - length, high - length // 2
                break
            length *= 2
        else:
            found = list(islice(self.between(low, until, zone), enough))
        while len(found) == enough:
            # Too many. Somewhere between is a moment with a few more than `most` after it: a second has one tick.
            middle = (low + high) // 2
            found = list(islice(self.between(middle, until, zone), enough))
            if len(found) <= most:
                high, found = middle, list(islice(self.between(low, until, zone), enough))
            else:
                low = middle
        return Due(tuple(found[-most:]), found[-most - 1] if len(found) > most else None)


class Due(msgspec.Struct, frozen=True):
    """Ticks of a stretch of time: the latest of them in order, and the last of those before, if there are more."""

    ticks: tuple[int, ...]
    before: int | None = None


def parse(spec: object, *, option: str = "schedule") -> Ticks:
    """Understand a schedule: "0 3 * * *", "0 0 3 * * *" (six fields: the first is the second), "every 15m".

    Args:
        spec: what the user has written.
        option: the name that the user knows it by.

    Raises:
        OptionError: it is not a schedule, or one that is never due.
    """
    if not isinstance(spec, str) or not spec.strip():
        raise OptionError(f"{option} is {spec!r}", f"give {_FORMS}")
    if len(spec) > _LONGEST_SPEC or not spec.isprintable():
        raise OptionError(
            f"{option} is longer than {_LONGEST_SPEC} characters, or holds one that cannot be printed", f"give {_FORMS}"
        )
    words = spec.split()
    if words[0].lower() == "every":
        return _parse_every(spec, words, option)
    if spec.strip().startswith("@"):
        meant = _MACROS.get(spec.strip().lower())
        raise OptionError(
            f"{option}={spec!r} is a short form of cron's, which is not one of ours",
            f'give "{meant}"' if meant else f"give {_FORMS}",
        )
    return _parse_cron(" ".join(words), option)


def spread_of(name: str, spread: float) -> int:
    """By how many seconds the ticks of a schedule are put off: always the same for a name, and less than `spread`."""
    if spread < 1:
        return 0
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") % int(spread)


def local_text(tick: float, zone: tzinfo, *, exact: bool = False) -> str:
    """A moment as ids have it: "2026-11-29T03:00+01:00", with seconds if they are not 0; `exact`: with thousandths."""
    try:
        local = datetime.fromtimestamp(tick, zone)
    except (OverflowError, ValueError, OSError):
        local = datetime.fromtimestamp(max(-6e10, min(tick, 2.5e11)), UTC)
    return local.isoformat(timespec="milliseconds" if exact else "seconds" if local.second else "minutes")


# -- what is written --------------------------------------------------------------------------------------------------


def _parse_every(spec: str, words: list[str], option: str) -> Ticks:
    length = seconds(" ".join(words[1:]), option=f"{option} every")
    if length < 1 or length != int(length):
        raise OptionError(
            f"{option}={spec!r} is not a whole number of seconds, 1 or more", 'give a period such as "every 15m"'
        )
    return Ticks(" ".join(words).lower(), int(length))


def _parse_cron(spec: str, option: str) -> Ticks:
    from cronsim import CronSim, CronSimError

    fields = spec.split(" ")
    if len(fields) not in (5, 6):
        raise OptionError(
            f"{option}={spec!r} has {len(fields)} field{'s' * (len(fields) != 1)}, and a cron expression has 5, or 6 "
            "with seconds first",
            f"give {_FORMS}",
        )
    try:
        first = next(CronSim(spec, datetime(2000, 1, 1) - timedelta(seconds=1)), None)
    except (CronSimError, AssertionError, ValueError) as error:
        _refuse(spec, fields, option, error)
    if first is None:
        raise _never(spec, option)
    minute, hour, day, _, weekday = fields[-5:]
    note = ""
    if not day.startswith("*") and not weekday.startswith("*"):
        note = f'{spec!r} is due if the day of the month ("{day}") or the weekday ("{weekday}") fits, as in cron'
    return Ticks(spec, elapsed=minute.startswith("*") or hour.startswith("*"), note=note)


def _refuse(spec: str, fields: list[str], option: str, error: Exception) -> NoReturn:
    """Say which field it is: each is tried alone, among others that are always right."""
    from cronsim import CronSim, CronSimError

    six = ["0"] * (6 - len(fields)) + fields
    for at, field in enumerate(six):
        alone = ["*"] * 6
        alone[at] = field
        try:
            CronSim(" ".join(alone), datetime(2000, 1, 1))
        except (CronSimError, AssertionError, ValueError):
            raise OptionError(
                f"{option}={spec!r}: {field!r} is no {_FIELDS[at]} of a cron expression",
                f"give {_BOUNDS[at]}, a range such as 1-5, a list such as 1,3, or a step such as */2",
            ) from error
    raise _never(spec, option) from error


def _never(spec: str, option: str) -> OptionError:
    return OptionError(
        f"{option}={spec!r} is never due: no year has such a day", "give a day that the month has, or another month"
    )


# -- moments ----------------------------------------------------------------------------------------------------------


def _every(period: int, start: int) -> Iterator[int]:
    tick = (start // period + 1) * period
    while True:
        yield tick
        tick += period


def _calendar(spec: str, start: datetime) -> Iterator[datetime]:
    """The local times that the expression names, later than `start`; no zone plays a part."""
    from cronsim import CronSim

    try:
        yield from CronSim(spec, start)
    except (OverflowError, ValueError):  # the year 10000
        return


def _fixed(spec: str, start: int, zone: tzinfo) -> Iterator[int]:
    """A tick is the first moment at which the clocks show the local time, or are past it: in a gap, its end."""
    last = start
    try:
        for local in _calendar(spec, _local(start, _offset(start, zone))):
            tick = _reached(local, zone)
            if tick > last:  # several local times of one gap are one tick; in a fold, the first time may be over
                last = tick
                yield tick
    except (OverflowError, ValueError, OSError):
        return


def _elapsed(spec: str, start: int, zone: tzinfo) -> Iterator[int]:
    """Between two changes of the clocks local times pass as time does; so the ticks are found stretch by stretch."""
    try:
        offset = _offset(start, zone)
        while True:
            until = start  # the clocks are known not to change before
            for local in _calendar(spec, _local(start, offset)):
                tick = _seconds(local) - offset
                change = _change(until, tick, offset, zone)
                if change is not None:
                    start, offset = change - 1, _offset(change, zone)
                    break
                until = tick
                yield tick
            else:
                return
    except (OverflowError, ValueError, OSError):
        return


def _seconds(local: datetime) -> int:
    """The seconds since 1970 that a clock with this time on it has counted."""
    since = local - _EPOCH
    return since.days * _DAY + since.seconds


def _local(moment: int, offset: int) -> datetime:
    return _EPOCH + timedelta(seconds=moment + offset)


def _offset(moment: int, zone: tzinfo) -> int:
    """By how many seconds the clocks of a zone are ahead of UTC."""
    ahead = datetime.fromtimestamp(moment, zone).utcoffset()
    return 0 if ahead is None else ahead.days * _DAY + ahead.seconds


def _change(start: int, end: int, offset: int, zone: tzinfo) -> int | None:
    """The first moment after `start`, up to `end`, with another offset; no zone changes its mind within a day."""
    while start < end:
        following = min(start + _DAY, end)
        if _offset(following, zone) != offset:
            return _first(start, following, lambda moment: _offset(moment, zone) != offset)
        start = following
    return None


def _reached(local: datetime, zone: tzinfo) -> int:
    """The first moment at which the clocks of a zone show this time, or a later one."""
    counted = _seconds(local)
    early = math.floor(local.replace(tzinfo=zone, fold=0).timestamp())
    if early + _offset(early, zone) == counted:
        return early
    # It does not exist: by the offset of before, the moment is after the gap; by the one after it, before the gap.
    late = math.floor(local.replace(tzinfo=zone, fold=1).timestamp())
    return _first(late, early, lambda moment: moment + _offset(moment, zone) >= counted)


def _first(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The first moment after `low` at which something holds that holds from then on, up to `high`."""
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high
