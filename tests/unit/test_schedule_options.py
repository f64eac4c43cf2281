"""Schedules in code: refused before anything is written, declared by loaded scripts, and told to their runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import perdure
from perdure import workflow
from perdure.api import schedule_options
from perdure.config import time_zones
from perdure.config.time_zones import machine_zone, zone
from perdure.core.declared_schedule import DeclaredSchedule
from perdure.core.execution.spec import spec_of
from perdure.errors import OptionError, UsageError


def nightly_job(day: str = "today") -> str:
    return day


def job_with_a_parameter(day: str) -> str:
    return day


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"schedule": "0 3 * *"}, "has 4 fields"),
        ({"schedule": "0 0 30 2 *"}, "never due"),
        ({"schedule": ""}, "schedule is ''"),
        ({"schedule": "0 3 * * *", "tz": "Europe/Berlim"}, "no time zone"),
        ({"schedule": "0 3 * * *", "tz": "../../etc/passwd"}, "no time zone"),
        ({"schedule": "0 3 * * *", "tz": 7}, "tz is 7"),
        ({"schedule": "0 3 * * *", "overlap": "wait"}, "overlap is 'wait'"),
        ({"schedule": "0 3 * * *", "missed": "two"}, "missed is 'two'"),
        ({"schedule": "0 3 * * *", "within": "-1d"}, "negative"),
        ({"schedule": "0 3 * * *", "within": 0}, "within is 0"),
        ({"schedule": "0 3 * * *", "within": float("inf")}, "not finite"),
        ({"schedule": "0 3 * * *", "spread": "200y"}, "not a duration"),
        ({"schedule": "every 5m", "spread": "6m"}, "longer than the time between two ticks"),
        ({"schedule": "every 30s", "missed": "all"}, "120 runs"),
        ({"schedule": "*/20 0 3 * * *", "missed": "all"}, "every 20 s"),
        ({"tz": "UTC"}, "tz= without schedule="),
    ],
)
def test_options_that_make_no_schedule_are_refused(options: dict[str, Any], says: str) -> None:
    """Section 5: at the decorator, with the option named and what to write instead."""
    with pytest.raises(OptionError) as raised:
        workflow(name="refused-schedule", **options)(nightly_job)
    assert says in raised.value.what
    assert raised.value.hint


def test_a_workflow_that_a_worker_cannot_call_is_not_scheduled() -> None:
    """A parameter without a default, arguments that do not fit, and variables of a function around it."""
    with pytest.raises(OptionError, match="missing a required argument: 'day'"):
        workflow(name="needs-a-day", schedule="0 3 * * *")(job_with_a_parameter)
    job = workflow(name="scheduled-by-call")(job_with_a_parameter)
    for args in ((), (1, 2)):
        with pytest.raises(OptionError, match="cannot be called"):
            perdure.schedule(job, "0 3 * * *", name="n", args=args)
    text = "x"

    def around() -> str:
        return text

    with pytest.raises(OptionError, match="uses variables of the function"):
        workflow(name="closure", schedule="0 3 * * *")(around)
    for name in ("", " ", "a\nb", "perdure.mine", 3):
        with pytest.raises(OptionError, match="name of a schedule"):
            perdure.schedule(job, "0 3 * * *", name=name, args=("x",))  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="decorated with @workflow"):
        perdure.schedule(job_with_a_parameter, "0 3 * * *", name="n")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        perdure.schedule(job, "0 3 * * *", name="n", args=(object(),))
    assert not spec_of(job).schedules


def test_a_schedule_is_kept_with_its_workflow() -> None:
    """What is declared is what was written, with the defaults of the specification; the clock is not asked."""
    job = workflow(name="kept-schedule", schedule="0  3 * * *", tz="Europe/Berlin", spread="10m")(nightly_job)
    assert spec_of(job).schedules == [
        DeclaredSchedule("kept-schedule", "0 3 * * *", "Europe/Berlin", "skip", "one", 86400.0, 600.0, None, ())
    ]


def test_a_tick_is_asked_for_in_a_workflow() -> None:
    """Outside of one there is none."""
    with pytest.raises(UsageError, match="outside a workflow"):
        perdure.tick()


def test_the_zone_of_the_machine_is_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As cron: TZ, else /etc/localtime, else what /etc/timezone says of a copy; one without a name is refused."""
    link, text = tmp_path / "localtime", tmp_path / "timezone"
    monkeypatch.setattr(time_zones, "_LOCALTIME", link)
    monkeypatch.setattr(time_zones, "_TIMEZONE", text)
    monkeypatch.delenv("TZ", raising=False)
    assert machine_zone() == "UTC"
    data = tmp_path / "share" / "zoneinfo" / "Europe" / "Paris"
    data.parent.mkdir(parents=True)
    data.write_bytes(b"")
    link.symlink_to(data)
    assert machine_zone() == "Europe/Paris"
    link.unlink()
    link.write_bytes(b"a copy")
    with pytest.raises(OptionError, match="has no name that is known"):
        machine_zone()
    text.write_text("America/New_York\n")
    assert machine_zone() == "America/New_York"
    monkeypatch.setenv("TZ", ":Asia/Tokyo")
    assert machine_zone() == "Asia/Tokyo"
    monkeypatch.setenv("TZ", "CET-1CEST")
    with pytest.raises(OptionError, match="CET-1CEST"):
        machine_zone()
    monkeypatch.setenv("TZ", "Etc/UTC")
    assert machine_zone() == "UTC"


def test_a_zone_whose_data_has_changed_is_loaded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beirut 2023: an update of tzdata counts in a worker that has run for weeks."""
    before = zone("Asia/Beirut")
    assert zone("Asia/Beirut") is before
    stamps: list[Callable[[str], object]] = [lambda name: "updated"]
    monkeypatch.setattr(time_zones, "_stamp", stamps[0])
    assert zone("Asia/Beirut") is not before


def test_the_shortest_distance_of_ticks_is_found() -> None:
    """`missed="all"` is for periods of a minute or more, also where most ticks of a schedule are apart."""
    assert schedule_options._least(schedule_options.parse("0,30 0 3 * * *")) == 30
    assert schedule_options._least(schedule_options.parse("0 3 * * *")) == 86400
    assert schedule_options._least(schedule_options.parse("every 7m")) == 420
