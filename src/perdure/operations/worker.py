"""`perdure worker`: executes what other processes start, what is due, and what was left by processes that died."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import msgspec

from perdure.config import settings
from perdure.config.script_identity import refuse_path
from perdure.config.setting_values import http_address
from perdure.core.durations import Duration, seconds
from perdure.engines.features import Feature
from perdure.engines.local.worker.options import GRACE
from perdure.engines.observers.attach import observers_of
from perdure.engines.observers.fanout import FanOut
from perdure.engines.selection import capabilities_at, worker_engine_at
from perdure.errors import NotFound, OptionError
from perdure.operations.location import Location, locate, pin
from perdure.operations.scripts import load_scripts

MOST_SLOTS = 1_000
MOST_PROCESSES = 256


class Wanted(msgspec.Struct, frozen=True):
    """What a worker of one machine is to serve.

    Attributes:
        scripts: files that define workflows.
        modules: the same, by the names that `import` knows them by.
        queues: the only queues whose runs it executes; empty: all.
        slots: how many runs each process executes at a time.
        processes: how many processes execute runs.
        once: do what is due now, and end.
        grace: how long steps in flight have to end when the worker is to end.
        http: where links are served, such as "127.0.0.1:8787"; empty: nowhere.
        public_url: how that is reached from outside; empty: as the settings say.
    """

    scripts: Sequence[Path]
    modules: Sequence[str] = ()
    queues: Sequence[str] = ()
    slots: int = 10
    processes: int = 1
    once: bool = False
    grace: Duration = GRACE
    http: str = ""
    public_url: str = ""

    def check(self) -> None:
        """See that it can be served.

        Raises:
            OptionError: nothing is named, or a number is out of bounds.
            NotFound: there is no such script.
            UsageError: its path is not UTF-8.
        """
        if not self.scripts and not self.modules:
            raise OptionError("no script is named", "perdure worker FILE, or perdure worker -m MODULE")
        for name, number, most in (
            ("--slots", self.slots, MOST_SLOTS),
            ("--processes", self.processes, MOST_PROCESSES),
        ):
            if not 1 <= number <= most:
                raise OptionError(f"{name} is {number}", f"give a number from 1 to {most}")
        if self.public_url:
            http_address(self.public_url, "--public-url")
        for path in self.scripts:
            if not path.is_file():
                raise NotFound(f"there is no file {path}", "name the script that defines the workflow")
            refuse_path(str(path))
        if self.modules:
            refuse_path(os.getcwd())  # they are looked for there


def place_of(wanted: Wanted, state: Path | None, engine: str | None) -> Location:
    """Where the runs are that such a worker serves.

    Raises:
        OptionError: both a state file and a cluster were named, or two scripts have their runs in different places.
    """
    if state is not None or not wanted.scripts:
        return locate(state, engine=engine)
    found = {str(path): locate(None, path, engine) for path in wanted.scripts}
    places = {(each.engine, each.path) for each in found.values()}
    if len(places) > 1:
        lines = "".join(f"\n    {name}: {each.path}" for name, each in found.items())
        raise OptionError(
            f"the scripts have their runs in different state files:{lines}",
            "start a worker for each, or name one state file: --state PATH",
        )
    return next(iter(found.values()))


def is_local(location: Location) -> bool:
    """Are the runs there in a state file, rather than on a cluster?"""
    return capabilities_at(location.engine).supports(Feature.STATE_FILE)


def serve_here(
    wanted: Wanted, location: Location, say: Callable[[str], None], show_broken: Callable[[str, str], None]
) -> int:
    """Serve a state file until SIGTERM or SIGINT, or as long as something is due now; returns the exit code.

    Args:
        wanted: what is served.
        location: the state file.
        say: called with a line for people, now and then.
        show_broken: called with the path of a script that cannot be loaded, and the traceback.

    Raises:
        StateError: the state file cannot be used.
        OptionError: an option or a setting is not valid.
    """
    from perdure.engines.local.worker.options import Options
    from perdure.engines.local.worker.supervisor import Supervisor
    from perdure.operations.worker_line import first_line

    pin(location)
    for path in wanted.scripts:
        settings.check(str(path))
    options = Options(
        state=location.path,
        scripts=[os.path.abspath(path) for path in wanted.scripts],
        modules=list(wanted.modules),
        folder=os.getcwd(),
        queues=list(wanted.queues),
        slots=wanted.slots,
        processes=wanted.processes,
        grace=seconds(wanted.grace, option="--grace"),
        once=wanted.once,
    )
    names = [*(path.name for path in wanted.scripts), *wanted.modules]
    worker = Supervisor(
        options,
        ready=lambda loaded, store: first_line(names, wanted.queues, loaded, store),
        say=say,
        broken=lambda one: show_broken(one.path, one.traceback),
    )
    with links(wanted, location, say):
        return worker.serve()


@contextmanager
def links(wanted: Wanted, location: Location, say: Callable[[str], None]) -> Iterator[None]:
    """Serve the links of the runs beside the worker, if that is wanted; what executes them knows the address."""
    if wanted.public_url:
        os.environ[settings.PUBLIC_URL.variable] = wanted.public_url
    if not wanted.http:
        yield
        return
    from perdure.http.server import serving

    public = settings.public_url(str(wanted.scripts[0]) if wanted.scripts else "")
    state = location.state_file
    with serving(state, wanted.http, public, None if state is not None else location.engine) as server:
        reached = f", reached at {public}" if public else "; set --public-url to send links with approvals"
        say(f"links are served at {server.address}{reached}")
        yield


def serve(engine: str, scripts: Sequence[Path], ready: Callable[[list[str]], None], grace: Duration = GRACE) -> None:
    """Execute steps and workflows of these scripts for a cluster, until SIGTERM or SIGINT.

    Args:
        engine: the address of an engine that has workers.
        scripts: files that define workflows.
        ready: is given the stems of the scripts when they are loaded.
        grace: how long steps in flight have to end then.

    Raises:
        OptionError: the address names no engine that has workers, or two scripts have one name.
        NotFound: there is no such file.
        EngineError: the cluster cannot be reached.
        Exception: whatever a script raises when it is loaded.
    """
    workers = worker_engine_at(engine, "worker")
    length = seconds(grace, option="--grace")
    stems = load_scripts(scripts)
    # After the scripts: they may have set up logging.
    found = dict.fromkeys(each for script in scripts for each in observers_of(str(script.absolute())))
    workers.observer = FanOut(*found) if found else None
    stop = threading.Event()

    def end(signum: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        ready(stems)
        workers.serve(stems, stop, length)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
