"""Where runs are kept, a state file or a cluster, and how that is opened."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import msgspec

from perdure.config import settings
from perdure.config.cluster_options import shown
from perdure.config.os_errors import refused
from perdure.config.script_folder import is_nowhere, script_folder
from perdure.config.settings import LOCAL
from perdure.engines.features import Feature
from perdure.engines.interface import Engine
from perdure.engines.selection import capabilities_at, engine_at, records_at
from perdure.errors import NotFound, OptionError, PerdureError, StateCorrupt
from perdure.store.runs import Store
from perdure.store.sqlite_errors import refuse_argument
from perdure.store.state_files import refuse_orphans

VARIABLES = ("PERDURE_STATE", "WORKFLOW_STATE_PATH")


class Location(msgspec.Struct, frozen=True):
    """Where runs are kept: a state file, or a cluster.

    Attributes:
        path: the state file; empty for a cluster.
        source: by what it is this one: an option, a variable, the settings, a folder.
        option: what to add to a command so that it finds the location from here; empty if it does so without.
        engine: the address of the engine: "local", or that of a cluster.
        cluster: the address of a cluster that the settings name, though the state file of this machine is meant.
    """

    path: Path
    source: str
    option: str = ""
    engine: str = LOCAL
    cluster: str = ""

    @property
    def aside(self) -> str:
        """A sentence that says that the runs of that cluster are not in this state file; empty if none is named."""
        if not self.cluster:
            return ""
        return f"the settings name a cluster, {shown(self.cluster)}, whose runs are not in a state file"

    def is_there(self) -> bool:
        """Is there such a state file? From Python 3.14 on, `Path.exists` says no of one that it may not look at.

        Raises:
            OSError: that cannot be looked at.
        """
        try:
            self.path.stat()
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return False
        return True

    def supports(self, feature: Feature) -> bool:
        """Whether the engine of this location has that feature; the engine is not loaded for that.

        Raises:
            OptionError: the address names no engine.
        """
        return capabilities_at(self.engine).supports(feature)

    @property
    def state_file(self) -> Path | None:
        """The state file; None for a cluster."""
        return self.path if self.supports(Feature.STATE_FILE) else None

    def require(self, feature: Feature, **asked: object) -> None:
        """Return if the engine of this location has that feature.

        Args:
            feature: which.
            asked: what the texts of the feature name, such as the command that needs it.

        Raises:
            UsageError: it has not.
        """
        capabilities_at(self.engine).require(feature, **asked)

    def load_engine(self) -> Engine:
        """The engine of this location; there is never more than one of this process.

        Raises:
            OptionError: the address names no engine, or what it needs is not installed.
            StateError: the state file cannot be used.
        """
        return engine_at(self.engine, self.path)


def locate(state: Path | None = None, script: Path | None = None, engine: str | None = None) -> Location:
    """Where runs are kept: by argument, environment, pyproject.toml, or beside the script (else the working directory).

    Args:
        state: the state file itself, if it was named.
        script: a script whose runs are wanted.
        engine: "local", or the address of a cluster, if it was named; else as the settings say.

    Raises:
        OptionError: both a state file and a cluster were named, or an address names no engine.
    """
    if state is not None:
        if engine is not None and not capabilities_at(engine).supports(Feature.STATE_FILE):
            raise OptionError("--state names a state file, and --engine a cluster", "give one of the two")
        return locate_state_file(state, script)
    url = settings.engine_url(str(script) if script else "", engine)
    if capabilities_at(url).supports(Feature.STATE_FILE):
        return locate_state_file(state, script)
    option = "" if url == settings.engine_url() else f" --engine {shlex.quote(url)}"
    return Location(Path(), "--engine" if engine else "the settings", option, url)


def locate_state_file(state: Path | None = None, script: Path | None = None) -> Location:
    """The state file of this machine, also if the settings name a cluster.

    Args:
        state: the state file itself, if it was named.
        script: a script whose state file is wanted.
    """
    path = _absolute(state) if state is not None else settings.state_path(str(script) if script else "")
    option = "" if _is_found_here(path) else f" --state {shlex.quote(str(path))}"
    if state is not None:
        return Location(path, "--state", option)
    for name in VARIABLES:
        if os.environ.get(name):
            return Location(path, f"the environment variable {name}", option)
    folder = script_folder(str(script) if script else "")
    if path != folder / ".perdure" / "state.db":
        return Location(path, "[tool.perdure] in pyproject.toml", option)
    return Location(path, f"the folder of {script}" if script else "the working directory", option)


def _absolute(state: Path) -> Path:
    return state if state.is_absolute() else script_folder("") / state


def _is_found_here(path: Path) -> bool:
    """Is it the state file that a command without options finds in the working directory?"""
    return not is_nowhere() and settings.state_path("") == path


def locate_beside_cluster(state: Path | None = None, script: Path | None = None) -> Location:
    """The state file of this machine, with the cluster that the settings name, if no state file was named.

    Args:
        state: the state file itself, if it was named.
        script: a script whose state file is wanted.
    """
    location = locate_state_file(state, script)
    if state is not None:
        return location
    url = settings.engine_url(str(script) if script else "")
    if capabilities_at(url).supports(Feature.STATE_FILE):
        return location
    return msgspec.structs.replace(location, cluster=url)


def locate_run(state: Path | None, script: Path | None, engine: str | None = None) -> Location:
    """Where a run is kept whose script may have moved.

    A script that has moved may lie where its state file is not, so the working directory counts first.
    """
    here = locate(state, engine=engine)
    if state is not None or script is None or not here.supports(Feature.STATE_FILE) or here.is_there():
        return here
    return locate(None, script)


def pin(location: Location) -> None:
    """Make it the state file, or the engine, of everything that this process starts from now on."""
    os.environ["PERDURE_ENGINE"] = location.engine
    if location.supports(Feature.STATE_FILE):
        os.environ["PERDURE_STATE"] = str(location.path)


@contextmanager
def opened(location: Location, reference: str | None = None, most: int | None = None) -> Iterator[Store]:
    """The records of the runs there, for looking only.

    Args:
        location: which.
        reference: the run that is looked for: its id, the beginning of it, or "last". A cluster lists it in full.
        most: without a reference: so many of the newest runs are listed in full.

    Raises:
        NotFound: there is no state file.
        StateError: it cannot be used, or only its journal is there.
        EngineError: the cluster cannot be reached.
    """
    _check_that_it_exists(location)
    named = damage_named(location.path) if location.supports(Feature.STATE_FILE) else nullcontext()
    with records_at(location.engine, location.path, reference, most) as store, named:
        yield store


@contextmanager
def opened_for_change(location: Location) -> Iterator[Store]:
    """The state file there, for changing it without an engine.

    Raises:
        UsageError: the location is a cluster.
        NotFound: there is no state file.
        StateError: it cannot be used.
    """
    location.require(Feature.STATE_FILE)
    _check_that_it_exists(location)
    store = Store(location.path)
    try:
        with damage_named(location.path):
            yield store
    finally:
        store.close()


def _check_that_it_exists(location: Location) -> None:
    if not location.supports(Feature.STATE_FILE):
        return
    try:
        missing = not location.is_there()
    except OSError as error:
        raise refused(
            f"the state file cannot be opened: {location.path} ({error.strerror})",
            location.path,
            "check the permissions of its folder, or name another state file: --state PATH",
        ) from error
    if missing:
        refuse_orphans(location.path)
        what = f"there is no state file: {location.path} (by {location.source})"
        if location.aside:
            raise NotFound(
                f"{what}; {location.aside}",
                "see those with `perdure ps`, `show` and `why`; for the runs of this machine, name a state file: "
                "--state PATH",
            )
        raise NotFound(what, "change to the folder of the script, or name one: --file SCRIPT, --state PATH")


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Values of a type, a size or an encoding that perdure never writes are damage, wherever they are read."""
    try:
        yield
    except PerdureError:
        raise  # some of ours are ValueErrors too, and say already what is wrong
    except (UnicodeError, TypeError, ValueError, OverflowError, AttributeError) as error:
        refuse_argument(error)
        raise StateCorrupt(
            f"the state file holds something that perdure never writes: {path} ({type(error).__name__}: {error})",
            "see `perdure doctor`: if it finds damage, restore a backup, or run `perdure doctor --set-aside` to start "
            "over; if it finds none, this is a fault of perdure's own",
        ) from error
