"""Loads a user's script as a module, without running what it does when it is run itself."""

from __future__ import annotations

import importlib
import os
import stat
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING

from perdure.config import command_line
from perdure.config.module_names import dotted_name
from perdure.config.os_errors import remove
from perdure.config.script_identity import point_out
from perdure.core.module_aliases import scripts
from perdure.core.redaction.printable import printable
from perdure.errors import NotFound, UsageError

if TYPE_CHECKING:
    from perdure.config.kept_command_line import CommandLine


class LoadStopped(BaseException):
    """A script that is being loaded has come to the line that would start its work.

    Args:
        what: what it calls there.
        file: where.
        line: where.
    """

    def __init__(self, what: str, file: str, line: int) -> None:
        # Seen where nobody catches it: in a thread that the script has started, or at the end of the program.
        super().__init__(
            f"what a script does when it is loaded {what}, and to load it never starts a run; "
            'put the line under `if __name__ == "__main__":`'
        )
        self.what = what
        self.file = file
        self.line = line


_loads: list[frozenset[int]] = []
"""For each load under way: the threads that were there before, but for the one that loads."""

_begun: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
"""In a process of perdure's own: the threads that scripts have started while they were loaded."""

_only_loads = False
_is_over = False


def is_loading() -> bool:
    """Is a script being loaded, by the thread that asks or one that it has started?

    Also later, in a thread that was started then, and at the end of a program of perdure's own (`atexit`).
    """
    if _loads:
        return threading.get_ident() not in _loads[-1]
    return _is_over or (bool(_begun) and threading.current_thread() in _begun)


def only_loads() -> None:
    """Called in a process that makes attempts for another: nothing but loads executes what a script has at its top."""
    global _only_loads
    _only_loads = True


def is_at_end() -> None:
    """Called where a process of perdure's own has done what it was for: what scripts do at its end starts no run."""
    global _is_over
    _is_over = True


def stop_load(what: str) -> None:
    """Called where work begins, outside of workflows: while a script is loaded, go no further in it.

    Raises:
        LoadStopped: a script is being loaded.
    """
    if not is_loading():
        return
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("perdure."):
        frame = frame.f_back
    raise LoadStopped(what, frame.f_code.co_filename, frame.f_lineno)


class OtherCommandLine(UsageError):
    """The script is loaded with the command line of another run, and has read it."""


_loaded: dict[str, tuple[CommandLine | None, bool]] = {}
"""In a program of perdure's own, by module: the command line that it was loaded with, and whether it has read it."""


def looks_at_command_line(file: str) -> bool:
    """Has a script that is loaded, in a program of perdure's own, looked for arguments as it was loaded?"""
    real = os.path.realpath(file)
    return any(
        looks and os.path.realpath(getattr(sys.modules.get(name), "__file__", None) or "") == real
        for name, (_, looks) in _loaded.items()
    )


def is_script(path: Path) -> bool:
    """Is there such a file?

    Raises:
        NotFound: it may not be read, or not be looked for.
    """
    try:
        there = stat.S_ISREG(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise NotFound(f"{path} cannot be looked for: {reason}", "check the permissions of its folders") from error
    if there and not os.access(path, os.R_OK):
        raise NotFound(f"{path} may not be read", "check its permissions, or run as the user that it belongs to")
    return there


def load_script(path: str | Path, *, line: CommandLine | None = None, quiet: bool = False) -> ModuleType:
    """Import the file under the name that `import` would give it, as a part of its package if it is in one.

    It never starts a run: where the file calls a workflow or a step by itself, it counts as far as that.

    Args:
        path: a Python file.
        line: the command line of the run for which it is loaded; None: none is known.
        quiet: print no line if it was not loaded to its end.

    Raises:
        NotFound: there is no such file.
        UsageError: it is a notebook, or another package of its package's name is loaded.
        OtherCommandLine: it is loaded, with the command line of another run, which it has read.
        Exception: whatever the file raises when it is imported.
    """
    file = Path(path).absolute()
    if not is_script(file):
        raise NotFound(f"there is no file {path}", "name the script that defines the workflow")
    if file.suffix == ".ipynb":
        raise UsageError(
            f"{path} is a notebook, which cannot be loaded", "call the workflow in the notebook: that resumes the run"
        )
    file = file.resolve() if file.is_symlink() else file
    name, root = dotted_name(str(file))
    for known in (name, f"{name}@{root}"):
        if _is_of(sys.modules.get(known), file):
            _refuse_other_line(known, file, line)
            command_line.show(str(file), line)
            return sys.modules[known]
    with _loading(file):
        package = _enter_package(name, root, file)
        if _is_of(sys.modules.get(name), file):  # the package imports it itself
            return sys.modules[name]
        # A script called json.py must not become everybody's json.
        module = _execute(f"{name}@{root}" if name in sys.modules else name, file, line, quiet)
    if package is not None:  # as `import` does
        setattr(package, name.rpartition(".")[2], module)
    return module


def load_module(name: str, file: str) -> ModuleType:
    """The module of that name: a script that is loaded, or what `import` finds under it.

    Raises:
        As `load_script` and `import` do.
    """
    if os.path.isfile(file) and dotted_name(file)[0] == name:
        return load_script(file, quiet=True)
    with _loading(Path(file)):
        return importlib.import_module(name)


def _is_of(module: ModuleType | None, file: Path) -> bool:
    known = getattr(module, "__file__", None)
    return known is not None and os.path.realpath(known) == os.path.realpath(file)


@contextmanager
def _loading(file: Path) -> Iterator[None]:
    there = threading.enumerate()
    before = frozenset(each.ident for each in there if each.ident is not None)
    _loads.append(before - {threading.get_ident()})
    try:
        yield
        if (_only_loads or command_line.is_own_program()) and threading.active_count() > len(there):
            _begun.update(set(threading.enumerate()) - set(there))
    except LoadStopped as stop:  # not in the file itself, which is used as far as it goes
        raise UsageError(
            f"{file} cannot be loaded: {_where(stop)} {stop.what} when it is imported",
            'put that line under `if __name__ == "__main__":`',
        ) from None
    finally:
        _loads.pop()


def _refuse_other_line(name: str, file: Path, line: CommandLine | None) -> None:
    before, looks = _loaded.get(name, (line, False))
    if looks and before != line:
        raise OtherCommandLine(
            f"{file} is loaded with the command line of another run, which it has read: "
            f"{before.shown() if before else 'none'}, rather than {line.shown() if line else 'none'}",
            "give one command for the runs of each command line",
        )


class _AsWritten(SourceFileLoader):
    """Executes a script as it is, as Python does: bytecode that was kept of it may be of an earlier edition."""

    def get_code(self, fullname: str) -> CodeType:
        """Compiled from the file as it is now."""
        return self.source_to_code(self.get_data(self.path), self.path)


def drop_bytecode(path: str) -> None:
    """Forget what Python keeps of a module that was edited: it goes by the second and the size of the source, which an
    edit may leave as they were.

    Args:
        path: the source.
    """
    from importlib.util import cache_from_source

    with suppress(NotImplementedError):  # nothing is kept
        remove(Path(cache_from_source(path)))


def _execute(name: str, file: Path, line: CommandLine | None, quiet: bool) -> ModuleType:
    from importlib.util import module_from_spec, spec_from_file_location  # no other start needs it

    spec = spec_from_file_location(name, file)
    if spec is not None and type(spec.loader) is SourceFileLoader:
        spec.loader = _AsWritten(name, str(file))
    if spec is None or spec.loader is None:
        raise NotFound(f"{file} is not a Python file", "name the script that defines the workflow")
    module = module_from_spec(spec)
    sys.modules[name] = module
    scripts.add(name)
    try:
        with command_line.loading(str(file), line) as reads:
            spec.loader.exec_module(module)
    except LoadStopped as stop:
        if not quiet:
            point_out(
                f"{_where(stop)} {stop.what} when the file is loaded; {file.name} is used as far as that line; "
                'put the line under `if __name__ == "__main__":`'
            )
    except SystemExit as stop:
        del sys.modules[name]
        if not command_line.is_own_program():
            raise
        raise _ended(file, stop, reads, line) from stop
    except BaseException as error:
        del sys.modules[name]
        if reads.line and line is not None and line.withheld:
            raise _withheld(file, reads, line) from error
        raise
    if command_line.is_own_program():
        _loaded[name] = line, bool(reads.line)
    if reads.line and line is not None and line.withheld:
        del sys.modules[name]
        raise _withheld(file, reads, line)
    if line is not None and not quiet and (folder := line.elsewhere()) is not None:
        point_out(
            f"the run was begun in {printable(folder)}, with a relative path in its arguments, {line.shown()}: it "
            "names another file here; go on with the run in that folder, or give absolute paths"
        )
    if reads.line:
        where = f"line {reads.line} of {_shown(reads.file)}"
        if line is not None:
            point_out(f"{where} looks for command-line arguments, and finds those of the run: {line.shown()}")
        else:
            point_out(
                f"{where} looks for command-line arguments when the file is loaded, and there are none: the run was "
                f"begun without, or by another program. Run the script itself, or {_READ_BELOW}"
            )
    return module


_READ_BELOW = 'read them below `if __name__ == "__main__":`, and pass what they say to the workflow'


def _withheld(file: Path, reads: command_line.Reads, line: CommandLine) -> UsageError:
    return UsageError(
        f"{file} cannot be loaded: line {reads.line} of {_shown(reads.file)} looks for command-line arguments, and "
        f"those of the run have a credential, which is not kept: {line.shown()}",
        "run the script itself with the same arguments, or hand credentials over in environment variables",
    )


def _ended(file: Path, stop: SystemExit, reads: command_line.Reads, line: CommandLine | None) -> UsageError:
    code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    if reads.line and line is not None:
        if line.withheld:
            return _withheld(file, reads, line)
        return UsageError(
            f"{file} cannot be loaded: line {reads.line} of {_shown(reads.file)} looks for command-line arguments, "
            f"finds those of the run, {line.shown()}, and the script ends (exit code {code})",
            "run the script itself, with arguments that it takes",
        )
    if reads.line:
        return UsageError(
            f"{file} cannot be loaded: line {reads.line} of {_shown(reads.file)} looks for command-line arguments, of "
            f"which there are none when the file is loaded, and the script ends (exit code {code})",
            f"run the script itself, or {_READ_BELOW}",
        )
    return UsageError(
        f"{file} cannot be loaded: it ends the process when it is loaded (exit code {code})",
        'put what ends it below `if __name__ == "__main__":`',
    )


def _shown(file: str) -> str:
    return os.path.relpath(file) if os.path.isfile(file) else file


def _where(stop: LoadStopped) -> str:
    return f"line {stop.line} of {_shown(stop.file)}"


def _enter_package(name: str, root: str, file: Path) -> ModuleType | None:
    """Make importable what the file imports; returns the package that it is in, loaded."""
    folder = str(file.parent)
    package = name.rpartition(".")[0] if root != folder else ""
    if root not in sys.path:
        sys.path.insert(0, root)
    if not package:
        return None
    if folder not in sys.path:  # executed by its path, it finds its neighbours without the package
        sys.path.append(folder)
    top = package.partition(".")[0]
    importlib.invalidate_caches()
    loaded = sys.modules.get(top)
    places = list(getattr(loaded, "__path__", ()))
    if loaded is not None and os.path.join(root, top) not in map(os.path.realpath, places):
        if top in sys.stdlib_module_names:
            return None
        raise UsageError(
            f"{file} is in a package {top!r}, and another package of that name is loaded: {', '.join(places)}",
            "give one command for the runs of each project",
        )
    return importlib.import_module(package)
