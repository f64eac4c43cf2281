"""Loads a script anew after an edit, in a process that lives longer than one version of it.

A script and the modules of its own folder or package are one version of a program: if one of them was edited, all are
executed again, so that no new code calls old code. What fails to load changes nothing.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from perdure.config import module_names
from perdure.config.edit_times import edited_after
from perdure.config.kept_command_line import CommandLine
from perdure.config.script_loader import drop_bytecode, load_script
from perdure.core.digests import blake2b

_INSTALLED = (os.sep + "site-packages" + os.sep, os.sep + "dist-packages" + os.sep)

_versions: dict[str, bytes] = {}
"""By file: the digest of what was executed. Empty: it may have been edited while it was loaded."""


def load_current(
    path: str | Path,
    swap: Callable[[frozenset[str]], Callable[[], None]],
    *,
    line: CommandLine | None = None,
    anew: bool = False,
) -> ModuleType:
    """The script as its file is now; the very same module if nothing of it was edited since it was loaded.

    Args:
        path: a Python file.
        swap: called before anything is loaded anew, with the files that are: forgets what they have defined. What it
            returns is called if they cannot be loaded, and brings that back.
        line: the command line of the run for which it is loaded; None: none is known.
        anew: load it anew in any case, as for another command line.

    Raises:
        NotFound, UsageError: as `load_script` does.
        Exception: whatever a file raises when it is executed. What was loaded before is still there.
    """
    file = Path(path).absolute()
    module_names.look_again()
    root = module_names.dotted_name(str(file))[1]
    before = _own_modules(root)
    edited = [one for one in map(_file_of, before.values()) if one in _versions and _versions[one] != _digest(one)]
    if not (edited or anew) or not file.is_file():
        return _load(file, root, line)
    for one in edited:
        drop_bytecode(one)
    bring_back = swap(frozenset(map(_file_of, before.values())))
    for name in before:
        del sys.modules[name]
    importlib.invalidate_caches()
    try:
        return _load(file, root, line)
    except BaseException:
        for name in _own_modules(root):
            del sys.modules[name]
        sys.modules.update(before)
        bring_back()
        raise


def _load(file: Path, root: str, line: CommandLine | None) -> ModuleType:
    began, read = time.time_ns(), {os.path.realpath(file): _digest(str(file))}
    known = set(_own_modules(root))
    module = load_script(file, line=line)
    for name, own in _own_modules(root).items():
        place = _file_of(own)
        if name not in known or place not in _versions:
            _versions[place] = read.get(place) or (b"" if edited_after(place, began) else _digest(place))
    return module


def _own_modules(root: str) -> dict[str, ModuleType]:
    """The modules below a folder that were loaded from Python files, other than what is installed there."""
    folders: dict[str, str] = {}
    return {
        name: module
        for name, module in list(sys.modules.items())
        if name not in ("__main__", "__mp_main__")
        and name.partition(".")[0] != "perdure"
        and (place := _file_of(module, folders)).endswith(".py")
        and place.startswith(root + os.sep)
        and not any(part in place for part in _INSTALLED)
    }


def _file_of(module: ModuleType, folders: dict[str, str] | None = None) -> str:
    """The real path of a module's file; `folders` keeps those of its folders, for many modules at one moment."""
    place = getattr(module, "__file__", None)
    if not isinstance(place, str):
        return ""
    if folders is None or os.path.islink(place):
        return os.path.realpath(place)
    folder, name = os.path.split(place)
    if folder not in folders:
        folders[folder] = os.path.realpath(folder)
    return os.path.join(folders[folder], name)


def _digest(file: str) -> bytes:
    try:
        return blake2b(Path(file).read_bytes(), digest_size=16).digest()
    except OSError:
        return b"gone"
