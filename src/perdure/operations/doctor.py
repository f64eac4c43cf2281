"""Looks over this installation and a state file: `perdure doctor`."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Literal

import msgspec

from perdure.config import cluster_options
from perdure.config.os_errors import refused
from perdure.config.ownership import shared
from perdure.core.execution.already_running import describe_locked
from perdure.core.sizes import show_size
from perdure.engines.selection import worker_engine_at
from perdure.errors import PerdureError, StateError
from perdure.operations.gone_scripts import go_on, gone_scripts
from perdure.operations.location import Location, damage_named
from perdure.operations.unserved import unserved
from perdure.store import dead_letters, listing
from perdure.store.checkpoints import LONG, PAGE
from perdure.store.liveness import locks_of
from perdure.store.parked_readers import finishes, readers
from perdure.store.runs import Store
from perdure.store.state_files import BESIDE, SET_ASIDE, STAYS, orphans

Verdict = Literal["ok", "note", "warning", "wrong"]

EXTRAS = ("pydantic", "attrs")
"""Packages that perdure works with where they are present."""

NETWORK = {
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "gpfs", "beegfs", "glusterfs"),
    *("fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.rclone"),
}
"""File systems on which locks and shared memory may not do what SQLite needs (https://www.sqlite.org/wal.html)."""

MENTIONED = 5

FULL, SCARCE = 1_000_000, 32_000_000
"""Bytes that are free: less than that is too little for the next results, or soon may be."""


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at. `hint` says what to do about it."""

    name: str
    verdict: Verdict
    finding: str
    hint: str = ""


class Health(msgspec.Struct, frozen=True):
    """Everything that was looked at; `ok` unless something is wrong."""

    ok: bool
    installation: list[Check]
    state: list[Check]


def examine(location: Location) -> Health:
    """Look over this installation, the cluster that is named, and the state file. Never raises for what it finds."""
    installation = [*_installation(), *_engine(location)]
    state = list(_state(location))
    return Health(all(check.verdict != "wrong" for check in installation + state), installation, state)


# -- the installation -------------------------------------------------------------------------------------------------


def _installation() -> Iterator[Check]:
    yield Check("python", "ok", f"{platform.python_version()} ({sys.executable})")
    yield Check("perdure", "ok", _version("perdure") or "not installed as a package, imported from its folder")
    sqlite = listing.sqlite_version()
    version = ".".join(map(str, sqlite))
    if sqlite >= listing.FIXED:
        yield Check("sqlite", "ok", f"{version} (in apsw {_version('apsw')}), with the fix of the WAL-reset bug")
    else:
        yield Check(
            "sqlite",
            "wrong",
            f"{version} can corrupt a file that several processes write to (the WAL-reset bug, fixed in 3.51.3)",
            "upgrade it: pip install --upgrade apsw",
        )
    for name in ("msgspec", "filelock"):
        yield Check(name, "ok", _version(name) or "present")
    for name in EXTRAS:
        version_of = _version(name)
        yield Check(name, "ok" if version_of else "note", version_of or "not installed (optional)")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


# -- the state file ---------------------------------------------------------------------------------------------------


def _engine(location: Location) -> Iterator[Check]:
    """Whether the cluster answers that the settings name; nothing if they name none."""
    if not location.cluster:
        return
    address = cluster_options.shown(location.cluster)
    try:
        worker_engine_at(location.cluster, "doctor").check_connection()
    except PerdureError as error:
        yield Check("engine", "wrong", f"{address}: [{type(error).code}] {error.what}", error.hint)
    else:
        yield Check("engine", "ok", f"{address} answers; its runs are kept there, not in the state file")


def _state(location: Location) -> Iterator[Check]:
    yield Check("path", "ok", f"{location.path} (by {location.source})")
    try:
        if not location.is_there():
            if left := orphans(location.path):
                finding = f"there is none, but its journal is still there, with what was saved last: {left[0]}"
                yield Check("file", "wrong", finding, f"put {location.path.name} back beside it; or {SET_ASIDE}")
            else:
                yield Check("file", "note", "there is none yet; the first run makes it")
            return
        yield from _file(location.path)
    except OSError as error:
        why = refused(f"it cannot be opened: {error.strerror}", location.path, "check the permissions of its folder")
        yield Check("file", "wrong", why.what, why.hint)
        return
    yield from _alerts(location)
    shut = list(_shut(location.path))
    yield from shut
    if any(one.name == locks_of(location.path).name for one in shut):
        return  # whether a process lives cannot be known, and little else without that
    try:
        store = Store(location.path, read_only=True)
    except PerdureError as error:
        yield Check("content", "wrong", f"[{type(error).code}] {error.what}", error.hint)
        return
    try:
        for look in (_format, _integrity, _checksums, _runs, _letters, _holders, _scripts, _waiting, _locks):
            yield from _guarded(location.path, store, look)
    finally:
        store.close()


def _guarded(path: Path, store: Store, look: Callable[[Store], Iterator[Check]]) -> Iterator[Check]:
    try:
        with damage_named(path):
            yield from look(store)
    except StateError as error:
        yield Check(look.__name__.strip("_"), "wrong", f"[{type(error).code}] {error.what}", error.hint)


def _file(path: Path) -> Iterator[Check]:
    sizes = {suffix: _size(path.with_name(path.name + suffix)) for suffix in ("", "-wal")}
    journal = f", and {sizes['-wal']:,} in its journal" if sizes["-wal"] else ""
    yield Check("size", "ok", f"{sizes['']:,} bytes{journal}")
    if sizes["-wal"] >= LONG * PAGE:
        finding = f"its journal is {show_size(sizes['-wal'])} long, and grows until {finishes(readers(path))}"
        yield Check("journal", "note", finding, "end the transaction in which a program reads the file")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (0o007 if shared() else 0o077):
        allowed = "660" if shared() else "600"
        finding, hint = f"{mode:04o}: others can read what the steps returned", f"chmod {allowed} {path}"
        yield Check("permissions", "warning", finding, hint)
    else:
        yield Check("permissions", "ok", f"{mode:04o}")
    yield from _room(path.parent)
    kind = _file_system(path)
    if kind in NETWORK:
        finding = f"{kind}: over a network, locks may not hold, and the file may be damaged"
        yield Check("file system", "warning", finding, "set PERDURE_STATE to a path on a local disk")
    elif kind:
        yield Check("file system", "ok", kind)


def _room(folder: Path) -> Iterator[Check]:
    free = shutil.disk_usage(folder).free
    if free >= SCARCE:
        yield Check("disk", "ok", f"{show_size(free)} are free")
        return
    verdict: Verdict = "wrong" if free < FULL else "warning"
    yield Check("disk", verdict, f"{show_size(free)} are free on the device of the state file", "free some space")


def _shut(path: Path) -> Iterator[Check]:
    """The files and folders beside the state file that this user cannot use."""
    for each in (path.with_name(path.name + suffix) for suffix in BESIDE):
        is_folder = os.path.isdir(each)
        if os.path.exists(each) and not os.access(each, os.R_OK | os.W_OK | (os.X_OK if is_folder else 0)):
            mode, bits = stat.S_IMODE(each.stat().st_mode), "700" if is_folder else "600"
            why = refused(
                f"{mode:04o}: this user may not read and write {each}", each, f"make it yours: chmod {bits} {each}"
            )
            yield Check(each.name, "wrong", why.what, why.hint)


def _alerts(location: Location) -> Iterator[Check]:
    """Alerts that no target has taken yet."""
    folder = location.path.with_name(f"{location.path.name}{STAYS[0]}")
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return
    from perdure.operations.alerts import pending  # loads what delivers them

    waiting = pending(location, None).alerts
    if waiting:
        finding = f"{len(waiting):,} {'alert waits' if len(waiting) == 1 else 'alerts wait'} for delivery"
        yield Check(
            "alerts", "warning", finding, "see why with `perdure alert pending`; try again: perdure alert flush"
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _file_system(path: Path) -> str | None:
    """The type of the file system that holds the file, where the system says so (proc_pid_mountinfo(5))."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    found: tuple[int, str] | None = None
    for line in lines:
        fields, _, rest = line.partition(" - ")
        mount = Path(fields.split()[4].replace("\\040", " "))
        if path.resolve().is_relative_to(mount) and (found is None or len(mount.parts) >= found[0]):
            found = len(mount.parts), rest.split()[0]
    return found[1] if found else None


def _format(store: Store) -> Iterator[Check]:
    if listing.is_copy(store):
        finding = "an earlier perdure wrote it; it is looked at as a copy of this version"
        yield Check("format", "note", finding, "the next process that writes to it migrates it, in one transaction")


def _integrity(store: Store) -> Iterator[Check]:
    problems = store.check()
    if problems:
        more = f" and {len(problems) - MENTIONED} more" if len(problems) > MENTIONED else ""
        hint = "restore a backup, or run `perdure doctor --set-aside` to start over"
        yield Check("integrity", "wrong", "; ".join(problems[:MENTIONED]) + more, hint)
    else:
        yield Check("integrity", "ok", "SQLite finds nothing wrong")


def _checksums(store: Store) -> Iterator[Check]:
    count = 0
    damaged: list[str] = []
    for row in listing.rows(store):
        count += row.intact
        if not row.intact:
            damaged.append(f"{row.table} {row.label}")
    if damaged:
        more = f" and {len(damaged) - MENTIONED} more" if len(damaged) > MENTIONED else ""
        hint = "the file was damaged or edited from outside; restore a backup, or fork the run from before the step"
        rows = "1 row is" if len(damaged) == 1 else f"{len(damaged)} rows are"
        finding = f"{rows} not what was written: {'; '.join(damaged[:MENTIONED])}{more}"
        yield Check("checksums", "wrong", finding, hint)
    else:
        yield Check("checksums", "ok", f"all {count:,} rows are as they were written")


def _runs(store: Store) -> Iterator[Check]:
    totals = listing.totals(store)
    shown = ", ".join(f"{count} {status}" for status, count in sorted(totals.items()))
    yield Check("runs", "ok", shown or "none yet")


def _letters(store: Store) -> Iterator[Check]:
    totals = dead_letters.totals(store)
    if not totals:
        return
    shown = ", ".join(f"{totals[status]:,} {status}" for status in STATUSES if totals.get(status))
    yield Check("dead letters", "ok", shown)
    if totals.get("evicted"):
        finding = f"{totals['evicted']:,} dead letters had to make room for newer ones, and their attempts are gone"
        hint = "re-drive or drop those that are parked (perdure dlq), or keep more of them: PERDURE_DEAD_LETTERS"
        yield Check("evicted", "warning", finding, hint)


STATUSES = ("parked", "resolved", "dropped", "evicted", "superseded")


def _holders(store: Store) -> Iterator[Check]:
    known = listing.holders(store)
    alive = [one for one in known if one.alive]
    shown = ", ".join(f"pid {one.info.pid} on {one.info.host}" for one in alive)
    yield Check("processes", "ok", f"{len(alive)} running something{f': {shown}' if shown else ''}")
    orphans = sum(one.runs for one in known if not one.alive)
    if orphans:
        finding = f"{orphans} {'runs were' if orphans > 1 else 'run was'} left unfinished by processes that are gone"
        yield Check("interrupted", "note", finding, "run their scripts again, or perdure resume RUN; see perdure ps")
    # Only the files of known processes may be tried: a newcomer's is for a moment there without being locked.
    tokens = {f"{one.info.token}.lock" for one in alive}
    folder = locks_of(store.path)
    left = [file for file in folder.glob("*.lock") if file.name not in tokens] if folder.is_dir() else []
    if left:
        what = f"{len(left)} lock files belong" if len(left) > 1 else "1 lock file belongs"
        finding = f"{what} to no process that runs anything; no harm is done"
        yield Check("lock files", "note", finding, f"when nothing runs they can be removed from {folder}")


def _scripts(store: Store) -> Iterator[Check]:
    found = gone_scripts(store)
    for one in found[:MENTIONED]:
        runs = f"unfinished run {one.run} has" if one.runs == 1 else f"{one.runs:,} unfinished runs have"
        command = go_on(one.run, one.path)
        if command.startswith("python "):
            yield Check("script", "warning", f"{runs} a script in an archive: {one.path}", f"run it again: {command}")
            continue
        finding = f"{runs} a script that is not there any more: {one.path}"
        yield Check("script", "warning", finding, f"put it back, or say where it is now: {command}")
    if more := found[MENTIONED:]:
        finding = (
            f"{len(more):,} more scripts of {sum(one.runs for one in more):,} unfinished runs are not there any more"
        )
        yield Check("scripts", "warning", finding, "perdure ps names them")


def _waiting(store: Store) -> Iterator[Check]:
    """The first few of each kind; how many more there are."""
    shown: Counter[str] = Counter()
    for one in unserved(store, time.time()):
        shown[one.name] += 1
        if shown[one.name] <= MENTIONED:
            yield Check(one.name, "note", one.finding, one.hint)
    for name, count in shown.items():
        if count > MENTIONED:
            finding = f"no worker serves {count - MENTIONED:,} more {name}s"
            yield Check(f"{name}s", "note", finding, MORE[name])


MORE = {"queue": "perdure queue ls lists them", "schedule": "perdure schedule ls lists them"}


def _locks(store: Store) -> Iterator[Check]:
    held = store.journal.read(store.locks.held)
    yield Check("locks", "ok", "; ".join(describe_locked(locked) for locked in held) or "none is taken")
