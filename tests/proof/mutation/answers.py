"""Everything that looks at a project: what each answers, as bytes that two looks can be compared by."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from perdure.cli import main
from perdure.config import settings
from perdure.errors import StateCorrupt
from perdure.operations import alerts, dead_letters, deeds, doctor, prune, ps, published, queues, schedules, show
from perdure.operations.diagnose import diagnose
from perdure.operations.find_run import find_run
from perdure.operations.location import Location, opened
from perdure.store import artifacts, attempt_logs, flight_record, listing
from perdure.store.runs import Store
from perdure.web import answers, api_reading
from perdure.web.endpoints import Desk, asked
from perdure.web.jobs import Jobs

Look = Callable[[Location], Any]
DOCTOR = "doctor"
"""What the doctor says of the state file."""
DAMAGE = "damaged rows"
"""Those of all rows that are not as they were written."""
RECORDS = "records"
"""Every run with its records, as a run that goes on reads them."""
RUNS = ("x", "done-1", "failed-1", "waits-1", "mail-0")


def _page(endpoint: Any, names: dict[str, str]) -> Look:
    def look(location: Location) -> Any:
        given = {"q": "price"} if endpoint.query.__struct_fields__ == ("q",) else {}
        return endpoint.handle(Desk(location, True, Jobs()), names, asked(endpoint.query, given))

    return look


def _each_step(run: str) -> Look:
    def look(location: Location) -> Any:
        with opened(location, run) as store:
            found = find_run(store, run)
            return [show.details_of(store, found, data=True), list(show.each_step(store, found))]

    return look


def _diagnose(run: str) -> Look:
    def look(location: Location) -> Any:
        with opened(location, run) as store:
            return diagnose(store, find_run(store, run), location)

    return look


def _ps(location: Location) -> Any:
    with opened(location) as store:
        return [ps.list_runs(store, limit=None), find_run(store, "last").id, find_run(store, "wai").id]


def _letters(location: Location) -> Any:
    with opened(location) as store:
        chosen = list(dead_letters.select(store, dead_letters.Selection()))
        return [dead_letters.list_letters(store, dead_letters.Selection()), list(dead_letters.lines(store, chosen))]


def _command(*words: str) -> Look:
    def look(location: Location) -> Any:
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = main([*words, "--state", str(location.path)])
        text = said.getvalue()
        if code not in (0, 1) and not re.search(r"\[[a-z-]+\]", text):
            raise AssertionError(f"{words} ends with {code} and says {text!r}")
        return [code, text]

    return look


class Twice:
    """Looks at the records of a state file, and then for damage: one opening for both, which takes half of the time.

    Attributes:
        keeps: whether the file stays open until it was looked for damage.
    """

    def __init__(self) -> None:
        self.keeps = False
        self._open: list[tuple[contextlib.ExitStack, Store]] = []

    def records(self, location: Location) -> Any:
        """After an error nothing is left open, and who looks for damage opens it again."""
        with contextlib.ExitStack() as stack:
            store = stack.enter_context(opened(location))
            found = [[run, list(store.all_records(run.rid))] for run in store.runs(children=True, most=1_000)]
            if self.keeps:
                self._open.append((stack.pop_all(), store))
        return found

    def damage(self, location: Location) -> Any:
        """Each row that is not as it was written."""
        with contextlib.ExitStack() as stack:
            if self._open:
                before, store = self._open.pop()
                stack.enter_context(before)
            else:
                store = stack.enter_context(opened(location))
            return [f"{row.table} {row.label}" for row in listing.rows(store) if not row.intact]


TWICE = Twice()


def _logs(location: Location) -> Any:
    return [list(attempt_logs.lines_of(location.path, run)) for run in RUNS]


def _flights(location: Location) -> Any:
    return [flight_record.read(path) for path in sorted(flight_record.folder_of(location.path).glob("*.rec"))]


def _artifacts(location: Location) -> Any:
    """What each holds, as a script loads it; the doctor has to think of it what loading it says."""
    held = []
    for digest, size in _sizes(location.path):
        sound = artifacts.is_sound(location.path, digest)
        try:
            held.append(artifacts.read(digest, size, "it", location.path))
        except StateCorrupt:
            if sound:
                raise AssertionError(f"{digest} is taken for sound, and cannot be loaded") from None
            raise
    return held


@cache
def _sizes(state: Path) -> list[tuple[str, int]]:
    """The artifacts that a project has, asked before any of them is changed."""
    return sorted((entry.name, entry.stat().st_size) for entry in os.scandir(artifacts.folder_of(state)))


BESIDE: dict[str, Look] = {
    "logs": _logs,
    "flight": _flights,
    "spool": lambda location: alerts.pending(location, None),
    "services": api_reading.list_breakers,
    "artifact": _artifacts,
}
"""What lies beside the state file, each by those who read it alone."""


def _files(location: Location) -> Any:
    return [look(location) for look in BESIDE.values()]


def _settings(location: Location) -> Any:
    """What the project's pyproject.toml says of it."""
    script = str(location.path.with_name("fuz_shop.py"))
    settings.check(script)
    return [settings.artifact_above(script), str(settings.state_path(script))]


def looks() -> dict[str, Look]:
    """Every way of looking, by a name."""
    found: dict[str, Look] = {
        DOCTOR: lambda location: list(doctor._state(location)),
        "ps": _ps,
        "letters": _letters,
        "deeds": deeds.list_deeds,
        "schedules": schedules.list_schedules,
        "queues": queues.list_queues,
        "files": _files,
        "settings": _settings,
        DAMAGE: TWICE.damage,
        RECORDS: TWICE.records,
        "prune": lambda location: prune.prune(location, "1s", letters=True, dry=True),
        "get": lambda location: [published.get(location, "x", name) for name in ("state",)],
    }
    found |= {f"{name} alone": look for name, look in BESIDE.items()}
    for run in RUNS:
        found[f"each step of {run}"] = _each_step(run)
        found[f"diagnose {run}"] = _diagnose(run)
    for endpoint in api_reading.ENDPOINTS:
        if endpoint.path in ("/", "/jobs", "/jobs/{job}"):
            continue
        if "{run}" in endpoint.path:
            for run in RUNS:
                found[f"page {endpoint.path} {run}"] = _page(endpoint, {"run": run, "seq": "2"})
        else:
            found[f"page {endpoint.path}"] = _page(endpoint, {"letter": "2"})
    for words in (["ps", "--all"], ["show", "x"], ["why", "waits-1"], ["dlq", "ls"], ["doctor"]):
        found[f"perdure {' '.join(words)}"] = _command(*words)
    return found


def encoded(name: str, answer: Any) -> bytes:
    """An answer; texts that are no Unicode are for the page to make some of (making it so of all takes long)."""
    if name in ("files", RECORDS) or name.endswith(" alone"):
        return repr(answer).encode("utf-8", "backslashreplace")
    try:
        return msgspec.json.encode(answer, enc_hook=_plain)
    except UnicodeEncodeError:
        if not name.startswith("page"):
            raise
        return msgspec.json.encode(answers.clean(answer))


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else repr(value)
