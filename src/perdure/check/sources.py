"""Finds the files that are to be checked, and parses them. Whatever a file holds, it is a line, never a crash."""

from __future__ import annotations

import ast
import os
import stat
import tokenize
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from perdure.check.findings import Problem

LARGEST = 2_000_000
"""Bytes of a file; what is larger is data, not a script."""

SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages"})
"""Folders that are not looked into, like those whose name begins with a dot and virtual environments."""

TOO_DEEP = "it is nested too deeply to be checked"


class Unreadable(Exception):
    """A file cannot be checked; the text says why."""


def python_files(paths: Iterable[Path], problems: list[Problem]) -> Iterator[Path]:
    """The files named, and those in the folders named, each once, in a fixed order.

    Args:
        paths: files and folders.
        problems: gets a line for each path that leads to no file.
    """
    seen: set[str] = set()
    for path in paths:
        try:
            if not path.is_dir():
                path.stat()
                found: Iterable[Path] = [path]
            else:
                found = _in_folder(path, problems)
        except OSError as error:
            problems.append(Problem(str(path), reason(error)))
            continue
        for file in found:
            real = os.path.realpath(file)
            if real not in seen:
                seen.add(real)
                yield file


def _in_folder(folder: Path, problems: list[Problem]) -> list[Path]:
    found: list[Path] = []

    def note(error: OSError) -> None:
        problems.append(Problem(str(error.filename), reason(error)))

    for here, folders, files in os.walk(folder, onerror=note):  # links to folders are not followed: no loops
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and name not in SKIPPED
            and not os.path.exists(os.path.join(here, name, "pyvenv.cfg"))
        )
        found += [Path(here, name) for name in sorted(files) if name.endswith(".py")]
    return found


def read(path: Path) -> str:
    """The text of a file.

    Raises:
        Unreadable: it is no file, too large, or in no encoding that it declares.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise Unreadable("it is not a file")
        if found.st_size > LARGEST:
            raise Unreadable(
                f"it has {found.st_size / 1e6:,.0f} MB: more than {LARGEST // 1_000_000} MB is not checked"
            )
        if path.suffix == ".ipynb":
            raise Unreadable("a notebook is not checked: export it as a script")
        with path.open("rb") as file:
            encoding, _ = tokenize.detect_encoding(file.readline)
            file.seek(0)
            return file.read().decode(encoding)
    except OSError as error:
        raise Unreadable(reason(error)) from None
    except (SyntaxError, UnicodeError, LookupError):
        raise Unreadable("it is not in UTF-8, nor in an encoding that it declares") from None


def parse(text: str) -> ast.Module:
    """The syntax tree of a source.

    Raises:
        Unreadable: Python cannot parse it either.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an escape that Python will refuse one day is not our subject
            return ast.parse(text)
    except SyntaxError as error:
        raise Unreadable(f"Python cannot parse it: line {error.lineno}: {error.msg}") from None
    except ValueError as error:  # a null byte, a number of too many digits
        raise Unreadable(f"Python cannot parse it: {error}") from None
    except (RecursionError, MemoryError):
        raise Unreadable(TOO_DEEP) from None


def reason(error: OSError) -> str:
    """What the system says, in words."""
    return (error.strerror or str(error)).lower()
