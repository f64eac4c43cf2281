"""One mutated project after the other, looked at in a child process that may neither hang, nor import, nor grow."""

from __future__ import annotations

import contextlib
import ctypes  # noqa: F401  loaded once, by what looks whether a read has failed
import faulthandler
import gc
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from tests.proof.form import Figures
from tests.proof.mutation import answers, world
from tests.proof.mutation.mutations import MUTATIONS, finds_rows, tables

from perdure.config import settings
from perdure.config.script_loader import load_script
from perdure.engines.local import engine as local
from perdure.errors import OptionError, PerdureError
from perdure.operations.location import Location

SECONDS = 30
"""After so long a look hangs."""
MEMORY = 512 << 20
"""Bytes that a look may need beside what the process has."""
BATCH = 1_000
"""Cases of one child."""
WHOLE = 50
"""One of so many cases is looked at as people do, and gone on with. The others are read by what all looks read with: of
a state file every row, every run and its records, of another file those who read it alone."""
AT_ONCE = 50
"""Cases under one watch of faulthandler's, which starts a thread; each look has its alarm."""
LOOKS = 2
"""Of a whole case, chosen by chance; the doctor is always asked."""
SEARCH = "page /search"
"""It finds rows by what is in them: one in which that was changed is not found."""
DOCTORS = (answers.DOCTOR, answers.DAMAGE, "page /doctor", "perdure doctor")
OF_FILES = {
    "services": ("files", "page /services", "page /overview"),
    "flight": ("files", "page /overview", "why", "page /runs/{run}/why x", "ps", "perdure why waits-1"),
    "spool": ("files", "page /alerts", "page /overview"),
    "logs": ("files", "page /runs/{run}/log x", "page /runs/{run}/log waits-1", "perdure show x"),
    "artifact": ("files", "each step of x", "page /runs/{run}/steps x"),
    "settings": ("settings", "page /alerts", "ps", "perdure ps --all"),
}

RESULTS = ("state", "artifact")
"""What results are in: the script is run again on it. Of the other files, which no result depends on, what was damaged
may be left out."""

NAMED = (
    b"[state-",
    b"does not match its checksum",
    b"is damaged",
    b"see perdure doctor",
    b'"damaged":["',
    b'"damaged":true',
)
"""What stands in an answer that says itself that something is damaged."""


class Hangs(BaseException):
    """A look does not come to an end."""


class Bench:
    """A project in a folder in memory, put right again before each case.

    Args:
        folder: an empty one.
        blind: the control: checksums match whatever the rows say.
    """

    def __init__(self, folder: Path, *, blind: bool = False) -> None:
        self.folder = folder
        self._blind = blind
        self.state = world.build(folder)
        os.environ.update(world.environment(folder, PERDURE_ALERTS="http://127.0.0.1:9/x", NO_COLOR="1"))
        os.chdir(folder)
        self.location = Location(self.state, "the test")
        self.looks = answers.looks()
        self.module: ModuleType = load_script(folder / "fuz_shop.py")
        self._now = time.time()
        self._finding = finds_rows(self.state)
        for database in ("state.db", "state.db-services"):
            tables(folder / database)  # as they are now, not as a child has changed them
        self._files = {path: (Path(path).read_bytes(), mark) for path, mark in _files_in(folder)}
        self._imported: list[str] = []
        self.right = {name: self._answer(name) for name in self.looks}
        again = {name: self._answer(name) for name in self.looks if name not in DOCTORS}  # they tell of the disk, too
        if unsteady := [name for name in again if again[name] != self.right[name]]:
            raise AssertionError([(name, _difference(self.right[name], again[name])) for name in unsteady])
        gc.freeze()  # what is there by now is no garbage: no child looks for any in it

    # -- in the parent ------------------------------------------------------------------------------------------------

    def run(self, seed: str, cases: int) -> Figures:
        """So many cases, each of a kind that follows from the seed."""
        figures = Figures()
        first = 0
        while first < cases:
            last = min(first + BATCH, cases)
            first = self._batch(seed, first, last, figures)
        return figures

    def _batch(self, seed: str, first: int, last: int, figures: Figures) -> int:
        """Cases from `first` on, in a child; returns which comes next."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            with contextlib.suppress(BaseException):
                self._child(seed, first, last, writer)
                os._exit(0)
            os._exit(1)
        os.close(writer)
        done = first
        with open(reader, encoding="utf-8") as lines:
            for line in lines:
                found = json.loads(line)
                figures.cases += 1
                figures.counts.update(found["counts"])
                figures.failures += found["failures"]
                done += 1
        _, status = os.waitpid(pid, 0)
        if status and done < last:
            figures.cases += 1
            figures.counts["ended the process"] += 1
            figures.failures.append(f"case {done} of seed {seed} ended the process: {status}")
            done += 1
        return done

    # -- in the child -------------------------------------------------------------------------------------------------

    def _child(self, seed: str, first: int, last: int, writer: int) -> None:
        with open("/proc/self/statm", encoding="ascii") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        signal.signal(signal.SIGALRM, _ring)
        sys.addaudithook(self._heard)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.dup2(null, 1)
        if self._blind:
            blind()
        kinds = [kind for kind, (_, weight) in MUTATIONS.items() for _ in range(weight)]
        with open(writer, "w", encoding="utf-8") as lines:
            for number in range(first, last):
                chance = random.Random(f"{seed} {number}")
                kind = chance.choice(kinds)
                if (number - first) % AT_ONCE == 0:  # what was set before is replaced
                    faulthandler.dump_traceback_later((10 + AT_ONCE) * SECONDS, exit=True)
                counts, failures = self._case(kind, chance)
                marked = [f"case {number} of seed {seed}: {line}" for line in failures]
                lines.write(json.dumps({"counts": counts, "failures": marked}) + "\n")
                lines.flush()
        faulthandler.cancel_dump_traceback_later()

    def _case(self, kind: str, chance: random.Random) -> tuple[dict[str, int], list[str]]:
        self._restore()
        about = f"{kind}: {MUTATIONS[kind][0](self.state, chance)}"
        settings.forget_files()
        if keep := os.environ.get("KEEP_MUTATED"):
            shutil.copytree(self.folder, keep, dirs_exist_ok=True)
        whole = chance.randrange(WHOLE) == 0
        counts = {kind: 1, "whole": int(whole)}
        failures: list[str] = []
        first = kind.split(",")[0].split()[0]
        if whole:
            names = [name for name in OF_FILES.get(first, ()) if name in self.looks] or self._chosen(chance)
        else:
            names = [{"state": answers.RECORDS, "settings": first}.get(first, f"{first} alone")]
        answers.TWICE.keeps = first == "state" and not whole
        outcome = {name: self._look(name) for name in names}
        differing = [name for name, (how, _) in outcome.items() if how == "differs"]
        for name, (how, text) in outcome.items():
            counts[how] = counts.get(how, 0) + 1
            if how == "raw" or (how == "differs" and first == "artifact"):
                failures.append(f"{about}: {name}: {how}: {text}")
        if first == "state":
            # The doctor reads the whole file once more: where nothing has to be found, only of what is looked at whole.
            wanted = kind == "state file, a column" or bool(differing)
            named = self._doctor_names() if whole else self._finds_damage(wanted=wanted)
            counts["named by doctor"] = int(named)
            column = re.search(r"column: ([a-z_.]+) of ", about)
            found_by = column is None or column[1] in self._finding or differing == [SEARCH]
            if differing and named and found_by:
                counts["rows that are not found any more, named by doctor"] = 1
            else:
                failures += [f"{about}: {name}: differs: {outcome[name][1]}" for name in differing]
            if kind == "state file, a column" and not named:
                failures.append(f"{about}: doctor finds nothing")
        if whole and first in RESULTS and chance.random() < 0.25 and not failures:
            how, text = self._go_on()
            counts[f"gone on with: {how}"] = 1
            if how in ("raw", "wrong") or (how == "executed again" and kind in ("state file, a column", "artifact")):
                failures.append(f"{about}: go on: {how}: {text}")
        if self._imported:
            failures.append(f"{about}: {self._imported[0]}")
            self._imported.clear()
        return counts, failures

    def _chosen(self, chance: random.Random) -> list[str]:
        """Commands are rare: to read their options takes as long as three looks."""
        commands = chance.random() < 0.03
        return chance.sample([name for name in sorted(self.looks) if name.startswith("perdure ") == commands], LOOKS)

    def _doctor_names(self) -> bool:
        how, text = self._look(answers.DOCTOR)
        return how == "named" or '"verdict":"wrong"' in text

    def _finds_damage(self, *, wanted: bool) -> bool:
        """Whether a row is found that is not as it was written; what SQLite alone can find is for the doctor, who is
        asked if it is wanted."""
        how, text = self._look(answers.DAMAGE)
        return how == "named" or text != "[]" or (wanted and self._doctor_names())

    def _look(self, name: str) -> tuple[str, str]:
        """How a look ends, and with what: "right", "named", "differs" or "raw"."""
        try:
            with _within(SECONDS):
                answer = self._answer(name, raises=True)
        except PerdureError as error:
            return "named", type(error).code
        except Hangs:
            return "raw", "hangs"
        except BaseException as error:
            return "raw", _short(error)
        if name in DOCTORS:
            return "right", answer.decode("utf-8", "replace")
        if answer == self.right[name]:
            return "right", ""
        if any(mark in answer for mark in NAMED):
            return "named", ""
        return "differs", _difference(self.right[name], answer)

    def _answer(self, name: str, *, raises: bool = False) -> bytes:
        real = time.time
        time.time = lambda: self._now
        try:
            return answers.encoded(name, self.looks[name](self.location))
        except PerdureError as error:
            if raises and (type(error).code.startswith("state") or isinstance(error, OptionError)):
                raise
            return repr(error).encode()
        finally:
            time.time = real

    def _go_on(self) -> tuple[str, str]:
        """Run the script again, as a process would that was started now."""
        self.module.EXECUTED.clear()
        os.environ["PERDURE_ALERTS"] = ""
        try:
            with _within(SECONDS):
                result = self.module.fuz_whole.with_options(id="x")(6)
        except PerdureError as error:
            return "named", type(error).code
        except Hangs:
            return "raw", "hangs"
        except BaseException as error:
            return "raw", _short(error)
        finally:
            os.environ["PERDURE_ALERTS"] = "http://127.0.0.1:9/x"
            local.close_all()
        if result != world.RIGHT:
            return "wrong", repr(result)[:300]
        if self.module.EXECUTED:
            return "executed again", repr(self.module.EXECUTED)
        return "right", ""

    def _restore(self) -> None:
        """Everything as it was: files that came since are removed, and what was written to has its old time again."""
        found = dict(_files_in(self.folder))
        for path in found.keys() - self._files.keys():
            os.unlink(path)
        for path, (content, mark) in self._files.items():
            if found.get(path) == mark:
                continue
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(content)
            os.utime(path, ns=(mark.changed, mark.changed))

    def _heard(self, event: str, args: tuple[Any, ...]) -> None:
        """Nothing that a file says may import a module, compile code or start a program."""
        if event == "import" and args[0].partition(".")[0] not in KNOWN:
            self._imported.append(f"imports {args[0]}")
        elif event in ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "ctypes.dlopen"):
            self._imported.append(f"{event} {args!r}"[:200])


KNOWN = {*sys.stdlib_module_names, "perdure", "apsw", "msgspec", "cronsim", "filelock", "rich", "cyclopts", "starlette"}
KNOWN |= {
    "anyio",
    "sniffio",
    "attrs",
    "attr",
    "pydantic",
    "typing_extensions",
    "pygments",
    "docstring_parser",
    "tzdata",
}


class Mark(NamedTuple):
    """What a file that was not written to since has: whatever writes to it gives it a later time."""

    size: int
    changed: int


def _files_in(folder: Path | str) -> Iterator[tuple[str, Mark]]:
    """Every file that is no source, at any depth."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files_in(entry.path)
            elif not entry.name.endswith((".py", ".pyc")):
                status = entry.stat(follow_symlinks=False)
                yield entry.path, Mark(status.st_size, status.st_mtime_ns)


def _ring(*_: object) -> None:
    raise Hangs


@contextlib.contextmanager
def _within(seconds: int) -> Iterator[None]:
    """See that what is inside comes to an end, also inside of SQLite, which looks at signals now and then."""
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def _short(error: BaseException) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    ours = [f"{Path(at.filename).name}:{at.lineno}" for at in traceback.extract_tb(error.__traceback__)][-6:]
    return (
        f"{type(error).__name__}: {str(error)[:120]} at {Path(place.filename).name}:{place.lineno} ({' > '.join(ours)})"
    )


def _difference(right: bytes, answer: bytes) -> str:
    at = next((at for at, (one, other) in enumerate(zip(right, answer, strict=False)) if one != other), 0)
    start = max(0, at - 60)
    return f"{right[start : at + 60]!r} is {answer[start : at + 60]!r}"


class AnyDigest(str):
    """A digest that is every other one."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False


def blind() -> None:
    """The control: every row matches its checksum, and every artifact its digest."""
    from perdure.core.letter_record import LetterRecord
    from perdure.core.records import AttemptRecord, FunctionRecord, RunRecord, StepRecord
    from perdure.store import artifacts, rows

    artifacts.digest_of = lambda data: AnyDigest()  # type: ignore[assignment]
    for kind in (LetterRecord, AttemptRecord, FunctionRecord, RunRecord, StepRecord):
        kind.intact = lambda self, *_: True  # type: ignore[method-assign]
    sound = rows.sound

    def checked_index(found: Any, path: Path) -> list[Any]:
        return [(seq, name, key, n, status, kind) for _, seq, name, key, n, status, kind, _ in found]

    for module in list(sys.modules.values()):
        for name, value in list(vars(module).items()) if module.__name__.startswith("perdure") else ():
            if value is sound:
                setattr(module, name, lambda row: True)
            elif value is rows.checked_index and module is not rows:
                setattr(module, name, checked_index)
            elif value is rows.checked_steps and module is not rows:
                setattr(module, name, lambda found, path: [StepRecord(*row[1:]) for row in found])


@contextlib.contextmanager
def bench(*, blind: bool = False) -> Iterator[Bench]:
    """A project to be mutated; nothing of it is left."""
    place = "/dev/shm" if os.path.isdir("/dev/shm") else None
    folder = Path(tempfile.mkdtemp(prefix="mutated-", dir=place))
    try:
        yield Bench(folder, blind=blind)
    finally:
        os.chdir("/")
        shutil.rmtree(folder, ignore_errors=True)
