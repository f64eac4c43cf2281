"""Cron without cleverness: whether a minute is due, asked of one minute after the other. The oracle of schedules."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

DAYS = 3
"""How many days `minutes` has."""


def field(text: str, low: int, high: int) -> set[int]:
    """The values of one field, read by rules of its own."""
    values: set[int] = set()
    for term in text.split(","):
        span, _, step = term.partition("/")
        first, _, last = ("0", "", "") if span == "*" else span.partition("-")
        ends = (low, high) if span == "*" else (int(first), int(last or first))
        values |= set(range(ends[0], ends[1] + 1, int(step or 1)))
    return values


class Slow:
    """A cron expression that is asked about one minute after the other."""

    def __init__(self, spec: str) -> None:
        minute, hour, day, month, weekday = spec.split()
        self.star = "*" in minute[0] + hour[0]
        self.either = "*" not in day[0] + weekday[0]
        self.minutes, self.hours = field(minute, 0, 59), field(hour, 0, 23)
        self.days, self.months = field(day, 1, 31), field(month, 1, 12)
        self.weekdays = {each % 7 for each in field(weekday, 0, 7)}

    def fits(self, local: datetime) -> bool:
        """Is it due at that minute of a clock on a wall?"""
        if local.minute not in self.minutes or local.hour not in self.hours or local.month not in self.months:
            return False
        days, weekdays = local.day in self.days, local.isoweekday() % 7 in self.weekdays
        return (days or weekdays) if self.either else (days and weekdays)


@lru_cache(maxsize=64)
def minutes(zone: str, day: str) -> list[tuple[int, datetime, tuple[datetime, ...]]]:
    """Every minute of three days: what the clocks of the zone show then, and what they have jumped over."""
    noon = int(datetime.fromisoformat(day).replace(hour=12, tzinfo=UTC).timestamp())
    found = []
    before = None
    for each in range(noon - 36 * 3600, noon + 36 * 3600, 60):
        local = datetime.fromtimestamp(each, ZoneInfo(zone))
        shown, over = local.replace(tzinfo=None), []
        while before is not None and (before := before + timedelta(minutes=1)) < shown:
            over.append(before)
        found.append((each, local, tuple(over)))
        before = shown
    return found


def oracle(spec: str, zone: str, day: str) -> list[int]:
    """The ticks of those days, found minute by minute; what the clocks have jumped over is due at the minute after."""
    slow = Slow(spec)
    return [
        moment
        for moment, local, over in minutes(zone, day)
        if (slow.fits(local) and (slow.star or not local.fold)) or (not slow.star and any(map(slow.fits, over)))
    ]


def random_specs(seed: int | str, count: int) -> Iterator[str]:
    """Expressions of every kind of field."""
    draw = random.Random(seed)

    def some(low: int, high: int) -> str:
        match draw.randrange(4):
            case 0:
                return "*"
            case 1:
                return f"*/{draw.randint(2, max(2, high // 2))}"
            case 2:
                return ",".join(str(draw.randint(low, high)) for _ in range(draw.randint(1, 3)))
            case _:
                first = draw.randint(low, high)
                return f"{first}-{draw.randint(first, high)}"

    for _ in range(count):
        yield " ".join((some(0, 59), some(0, 23), draw.choice(["*", some(1, 31)]), "*", draw.choice(["*", some(0, 7)])))
