"""Which state file is meant, and how it is opened for looking."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from perdure.config import settings
from perdure.engines.selection import cluster_at
from perdure.errors import NotFound, OptionError, PerdureError, StateCorrupt, StateReadOnly
from perdure.store.runs import Store

VARIABLES = ("PERDURE_STATE", "WORKFLOW_STATE_PATH")


class Place(msgspec.Struct, frozen=True):
    """A state file, or a cluster.

    `source` is where it was said that it is this one; `option` what to add to a command, so that it finds the place
    from here: empty if it does so by itself. `engine` is "local", or the address of the cluster.
    """

    path: Path
    source: str
    option: str = ""
    engine: str = "local"


def locate(state: Path | None = None, script: Path | None = None, engine: str | None = None) -> Place:
    """The state file: by argument, environment, pyproject.toml, or beside the script (else in the working directory).

    Args:
        state: the file itself, if somebody named it.
        script: a script whose state is wanted.
        engine: "local", or the address of a cluster, if somebody named it; else as the settings say.

    Raises:
        OptionError: both a state file and a cluster were named.
    """
    if state is not None and engine not in (None, "local"):
        raise OptionError("--state names a state file, and --engine a cluster", "give one of the two")
    url = engine or (settings.engine_url(str(script) if script else "") if state is None else "local")
    if url != "local":
        option = "" if url == settings.engine_url() else f" --engine {shlex.quote(url)}"
        return Place(Path(), "--engine" if engine else "the settings", option, url)
    by_itself = settings.state_path("")
    path = state.absolute() if state is not None else settings.state_path(str(script) if script else "")
    option = "" if path == by_itself else f" --state {shlex.quote(str(path))}"
    if state is not None:
        return Place(path, "--state", option)
    for name in VARIABLES:
        if os.environ.get(name):
            return Place(path, f"the environment variable {name}", option)
    folder = settings.script_folder(str(script) if script else "")
    if path != folder / ".perdure" / "state.db":
        return Place(path, "[tool.perdure] in pyproject.toml", option)
    return Place(path, f"the folder of {script}" if script else "the working directory", option)


def pin(place: Place) -> None:
    """Make it the state file, or the engine, of everything that this process starts from now on."""
    os.environ["PERDURE_ENGINE"] = place.engine
    if place.engine == "local":
        os.environ["PERDURE_STATE"] = str(place.path)


@contextmanager
def opened(place: Place, reference: str | None = None, most: int | None = None) -> Iterator[Store]:
    """The state file, for looking only; or what a cluster tells about its runs, in the same form.

    Args:
        place: which.
        reference: which run is looked for: its id, the beginning of it, or "last". A cluster tells all about that one.
        most: without a reference: so many of the newest runs are to be told about.

    Raises:
        NotFound: there is none.
        StateError: it cannot be used.
        EngineError: the cluster cannot be reached.
    """
    if place.engine != "local":
        with _told(place.engine, reference, most) as snapshot:
            yield snapshot
        return
    try:
        missing = not place.path.exists()
    except OSError as error:
        raise StateReadOnly(
            f"the state file cannot be looked at: {place.path} ({error.strerror})",
            "check the permissions of its folder, or run as the user that it belongs to",
        ) from error
    if missing:
        raise NotFound(
            f"there is no state file: {place.path} (by {place.source})",
            "go to the folder of the script, or name one: --file SCRIPT, --state PATH",
        )
    store = Store(place.path, read_only=True)
    try:
        with damage_named(place.path):
            yield store
    finally:
        store.close()


@contextmanager
def _told(url: str, reference: str | None, most: int | None) -> Iterator[Store]:
    from tempfile import TemporaryDirectory

    from perdure.store.cluster_snapshot import Snapshot

    engine = cluster_at(url)
    runs = engine.tell(reference, most)
    with TemporaryDirectory(prefix="perdure-") as folder:
        store = Snapshot(Path(folder) / "snapshot.db", runs, engine.address.target)
        try:
            yield store
        finally:
            store.close()


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Values of a type, a size or an encoding that perdure never writes are damage, wherever one stumbles over them."""
    try:
        yield
    except PerdureError:
        raise  # some of ours are ValueErrors too, and say already what is wrong
    except (UnicodeError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise StateCorrupt(
            f"the state file holds something that perdure never writes: {path} ({type(error).__name__}: {error})",
            "keep a copy of it, then see `perdure doctor`; restore a backup, or move it away to start anew",
        ) from error
