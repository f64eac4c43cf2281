"""W2: ticks of random schedules in random zones, around changes of the clocks, against a walk over every minute."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

from tests.proof.form import Figures, Proof
from tests.slow_cron import DAYS, oracle, random_specs

from perdure.core import cron

TOGETHER = 20
"""Schedules of one zone around one day."""

YEARS = range(1990, 2038)
HOURS_PAST = 12
"""After a day's beginning in UTC, the middle of what is walked over."""

Ticks = Callable[[str, float, float, tzinfo], list[int]]


def ticks(spec: str, start: float, end: float, zone: tzinfo) -> list[int]:
    """Those of perdure."""
    return list(cron.parse(spec).between(start, end, zone))


def of_one_offset(spec: str, start: float, end: float, zone: tzinfo) -> list[int]:
    """Those of somebody who takes the zone's offset at the beginning for that of all days."""
    offset = datetime.fromtimestamp(start, zone).utcoffset()
    assert offset is not None
    return ticks(spec, start, end, timezone(offset))


def run(part: int, seed: int, cases: int, *, tried: Ticks = ticks) -> Figures:
    """So many schedules: the ticks of three days each, and once more from a start among them."""
    found = Figures(seen={"zones": set()})
    rng = random.Random(f"{seed}/{part}")
    zones = sorted(available_timezones() - {"localtime"})
    while found.cases < cases:
        zone = rng.choice(zones)
        changes = list(_changes(zone, rng.choice(YEARS)))
        day = rng.choice(changes) if changes else datetime(rng.choice(YEARS), rng.randint(1, 12), 15, tzinfo=UTC).date()
        found.seen["zones"].add(zone)
        found.counts["around a change of the clocks"] += TOGETHER if changes else 0
        for spec in random_specs(rng.random(), TOGETHER):
            found.cases += 1
            found.failures += [
                f"{spec!r} in {zone} around {day}: {each}" for each in _wrong(spec, zone, str(day), rng, tried)
            ]
    return found


def _changes(zone: str, year: int) -> Iterator[object]:
    """The days of a year on which the clocks of a zone change."""
    clocks = ZoneInfo(zone)
    days = [datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in range(366)]
    for one, other in pairwise(days):
        if one.astimezone(clocks).utcoffset() != other.astimezone(clocks).utcoffset():
            yield one.date()


def _wrong(spec: str, zone: str, day: str, rng: random.Random, tried: Ticks) -> Iterator[str]:
    clocks = ZoneInfo(zone)
    noon = datetime.fromisoformat(day).replace(hour=HOURS_PAST, tzinfo=UTC).timestamp()
    start, end = noon - DAYS * 12 * 3600, noon + DAYS * 12 * 3600 - 60
    due = oracle(spec, zone, day)
    # What the clocks have jumped over right before the first minute is not seen by a walk that begins there.
    found = tried(spec, start, end, clocks)
    if [each for each in found if each > start + 60] != [each for each in due if start + 60 < each <= end]:
        yield f"{len(found)} ticks, {len(due)} are due"
    if any(one >= other for one, other in pairwise(found)):
        yield "they do not increase"
    later = rng.uniform(start, end)
    if tried(spec, later, end, clocks) != [each for each in found if each > later]:
        yield f"others from {later}"


def control(seed: int) -> Figures:
    """The same with the offset of the first minute."""
    return run(0, seed, 10 * TOGETHER, tried=of_one_offset)


def says(found: Figures) -> str:
    changed = found.counts["around a change of the clocks"]
    return f"{len(found.seen.get('zones', ()))} zones, {changed:,} schedules around a change of the clocks"


PROOF = Proof(
    name="W2",
    claim="schedules in any zone, around any change of its clocks: the ticks that a walk over every minute finds, in"
    " order, and the same from any start",
    unit="schedules",
    size=100_000,
    part=2_000,
    run=run,
    control=control,
    controlled="the offset of the first minute holds for all days",
    short="tests/unit/test_ticks.py",
    says=says,
)
