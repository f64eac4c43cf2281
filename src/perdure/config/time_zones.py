"""Time zones by name: which one this machine is in, and their data as it is now, also after an update of it."""

from __future__ import annotations

import os
from datetime import UTC, tzinfo
from pathlib import Path

from perdure.errors import OptionError

_LOCALTIME = Path("/etc/localtime")
_TIMEZONE = Path("/etc/timezone")
_HINT = 'give the name of a zone, such as tz="Europe/Berlin" or tz="UTC"; if all are unknown: pip install tzdata'

_loaded: dict[str, tuple[object, tzinfo]] = {}


def zone(name: object, *, option: str = "tz") -> tzinfo:
    """The time zone of that name, with its data as it is now: a zone whose file has changed is loaded again.

    Raises:
        OptionError: there is none.
    """
    if name == "UTC":
        return UTC
    if not isinstance(name, str) or not name or not name.isprintable():
        raise OptionError(f"{option} is {name!r}", _HINT)
    stamp = _stamp(name)
    known = _loaded.get(name)
    if known is not None and stamp is not None and known[0] == stamp:
        return known[1]
    from zoneinfo import ZoneInfo

    try:
        found = ZoneInfo.no_cache(name)
    except (OSError, ValueError, LookupError) as error:  # ZoneInfoNotFoundError is a KeyError
        raise OptionError(f"{option} is {name!r}, which is no time zone known here", _HINT) from error
    _loaded[name] = (stamp, found)
    return found


def machine_zone() -> str:
    """The name of the zone that this machine is in, as its cron goes by.

    Raises:
        OptionError: the machine does not say; the schedule has to.
    """
    given = os.environ.get("TZ")
    if given is not None:
        return _checked(given.removeprefix(":") or "UTC", "the variable TZ")
    try:
        target = os.path.realpath(_LOCALTIME, strict=True)
    except OSError:
        return "UTC"  # what the C library takes where there is none
    _, marker, name = target.partition("/zoneinfo/")
    if not marker:  # a copy, as container images have
        try:
            name = _TIMEZONE.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError):
            name = ""
    return _checked(name.removeprefix("posix/"), str(_LOCALTIME))


def _checked(name: str, where: str) -> str:
    try:
        zone(name)
    except OptionError as error:
        raise OptionError(
            f"the time zone of this machine has no name that is known here: {where} says {name!r}",
            'give the schedule one: tz="Europe/Berlin"; if all zones are unknown: pip install tzdata',
        ) from error
    return "UTC" if name in ("Etc/UTC", "Etc/UCT", "UCT", "Zulu", "Etc/Zulu") else name


def _stamp(name: str) -> object:
    """What changes when the data of a zone changes; None: not known, as of a package."""
    from zoneinfo import TZPATH

    for folder in TZPATH:
        try:
            found = os.stat(os.path.join(folder, name))
        except (OSError, ValueError):
            continue
        return folder, found.st_ino, found.st_mtime_ns, found.st_size
    return None
