"""Durations and rates as users write them: parses "30s" and "10/s", and shows seconds as "2 h 5 min"."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import NoReturn

from perdure.core.patterns import later
from perdure.errors import OptionError

Duration = float | int | str | timedelta

LONGEST = 100 * 365 * 86400.0
"""A hundred years, in seconds. A longer duration is a mistake, and exceeds what a thread may wait."""

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_FORMS = 'a number of seconds, a timedelta, or text such as "250ms", "30s", "5m", "2h", "3d" or "1h30m"'
_RATE_FORMS = 'text such as "10/s", "100/min", "5/2s", "500/h" or "1000/d"'
_RATE_UNITS = {"s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

_PART = later(r"([0-9]+(?:\.[0-9]+)?)([a-z]+)")
_LOOSE_PART = later(r"([0-9]+(?:[.,][0-9]+)?)\s*([a-zA-Zµ]*)[\s,]*(?:and\s+)?")
_RATE = later(r"([0-9]+)/([0-9]*)([a-z]+)")
_LOOSE_RATE = later(r"([0-9]+)\s*(?:/|per|a)\s*([a-zA-Z]+)")

# Other spellings of units; used only to suggest what was meant.
_SPELLINGS = {
    "ms": "ms msec msecs milli millis millisecond milliseconds",
    "s": "s sec secs second seconds",
    "m": "m min mins minute minutes",
    "h": "h hr hrs hour hours",
    "d": "d day days",
}
_MEANT = {word: unit for unit, words in _SPELLINGS.items() for word in words.split()} | {"": "s"}


def seconds(value: Duration, *, option: str) -> float:
    """The length of `value` in seconds: finite, not negative, at most a hundred years.

    Args:
        value: seconds, a timedelta, or text such as "250ms", "30s", "5m", "2h", "3d" or "1h30m" (units from long to
            short, each at most once, no spaces).
        option: the name of the option that the value was given for, as the user knows it.

    Raises:
        OptionError: the value is not a duration; names the option, the value and the valid forms.
    """
    length = _length(value, option)
    if math.isinf(length):
        # The value itself may be an integer of thousands of digits, which Python refuses to print.
        _refuse(option, length, "is not finite")
    if math.isnan(length):
        _refuse(option, value, "is not a duration")
    if length < 0:
        _refuse(option, value, "is negative")
    if length > LONGEST:
        _refuse(option, value, "is longer than a hundred years")
    return length


def rate(value: str, *, option: str) -> tuple[int, float]:
    """How many, and in how many seconds: "10/s" is (10, 1.0), "100/min" is (100, 60.0), "5/2s" is (5, 2.0).

    Raises:
        OptionError: the value is not a rate; names the option, the value and the valid forms.
    """
    hint = f"give {option} as {_RATE_FORMS}"
    if not isinstance(value, str):
        raise OptionError(f"{option}={value!r} is not a rate", hint)
    match = _RATE.fullmatch(value)
    if match is None or match[3] not in _RATE_UNITS or len(match[1]) > 9 or len(match[2]) > 9:
        raise OptionError(f"{option}={value!r} is not a rate", _suggest(_meant_rate(value), hint))
    period = int(match[2] or 1) * _RATE_UNITS[match[3]]
    if int(match[1]) == 0:
        raise OptionError(f"{option}={value!r} lets nothing pass", hint)
    if not 0 < period <= LONGEST:
        raise OptionError(f"{option}={value!r} is for no time, or for more than a hundred years", hint)
    return int(match[1]), period


def show(length: float) -> str:
    """`length` seconds as text, in at most two units: "250 ms", "1.5 s", "2 h 5 min"."""
    if not math.isfinite(length):
        return f"{length} s"
    if length < 0:
        return f"-{show(-length)}"
    # Each unit is rounded before it is chosen, so that 59.97 s is "1 min" and never "60 s".
    if round(length * 1000) < 1000:
        return f"{round(length * 1000)} ms" if length else "0 s"
    if round(length, 1) < 60:
        return f"{round(length, 1):g} s"
    if round(length) < 3600:
        return _two(round(length), 60, "min", "s")
    if round(length / 60) < 24 * 60:
        return _two(round(length / 60), 60, "h", "min")
    return _two(round(length / 3600), 24, "d", "h")


def roughly(length: float) -> str:
    """The same to a tenth of a second; of what is shorter than that, milliseconds."""
    return show(round(length, 1) or round(length, 3))


def _two(count: int, per: int, big: str, small: str) -> str:
    whole, rest = divmod(count, per)
    return f"{whole} {big} {rest} {small}" if rest else f"{whole} {big}"


def _length(value: Duration, option: str) -> float:
    """The length in seconds, whatever its sign."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    # True is an int to Python; as a duration it is always a mistake.
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        _refuse(option, value, "is not a duration")
    if isinstance(value, str):
        return _parse(value, option)
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _parse(text: str, option: str) -> float:
    """The length of "1h30m" in seconds."""
    order = list(_UNITS)
    total, at, last = 0.0, 0, -1
    while match := _PART.match(text, at):
        if match[2] not in _UNITS or order.index(match[2]) <= last:
            break
        total += float(match[1]) * _UNITS[match[2]]
        at, last = match.end(), order.index(match[2])
    if not text or at != len(text):
        _refuse(option, text, "is negative" if text.strip().startswith("-") else "is not a duration")
    return total


def _refuse(option: str, value: object, why: str) -> NoReturn:
    meant = _meant_duration(value) if isinstance(value, str) else None
    if meant == value:  # it is written as it should be, and is too long
        meant = None
    raise OptionError(f"{option}={value!r} {why}", _suggest(meant, f"give {option} as {_FORMS}"))


def _suggest(meant: str | None, hint: str) -> str:
    return f'did you mean "{meant}"? Otherwise {hint}' if meant else hint


def _meant_duration(text: str) -> str | None:
    """The duration that "5 minutes" or "1h 30min" was meant to be, if that can be guessed."""
    text, amounts, at = text.strip()[:100], dict[str, str](), 0
    while match := _LOOSE_PART.match(text, at):
        unit = _MEANT.get(match[2].lower())
        if unit is None or unit in amounts:
            return None
        amounts[unit] = match[1].replace(",", ".")
        at = match.end()
    if not amounts or at != len(text):
        return None
    return "".join(amounts[unit] + unit for unit in _UNITS if unit in amounts)


def _meant_rate(text: str) -> str | None:
    match = _LOOSE_RATE.fullmatch(text.strip()[:100])
    unit = _MEANT.get(match[2].lower()) if match else None
    if match is None or unit is None or unit == "ms" or len(match[1]) > 9:
        return None
    return f"{match[1]}/{'min' if unit == 'm' else unit}"


def bound(value: Duration, *, option: str) -> float:
    """A duration that is a bound, in seconds: more than 0.

    Raises:
        OptionError: the value is not a duration, or 0.
    """
    length = seconds(value, option=option)
    if length == 0:
        raise OptionError(f"{option} is 0", "give a duration of more than 0, or None for no bound")
    return length
