"""The settings in pyproject.toml: which file counts for a script, and whether it can be trusted."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Any

from perdure.config import ownership
from perdure.errors import OptionError

NAME = "pyproject.toml"

CHECKOUT = (".git", ".hg", ".jj", ".svn")
"""What lies in the root of a checkout: no settings are looked for above it."""

LONGEST = 1 << 20
"""Bytes of a pyproject.toml that are read."""


def owner_of(script: str) -> int | None:
    """Whose the script is. What its owner says adds nothing: the owner could as well say it in the script."""
    try:
        found = os.stat(script) if script and not script.startswith("<") else None
    except OSError:
        return None
    return None if found is None else found.st_uid


def table(folder: Path, owner: int | None, known: Collection[str]) -> tuple[dict[str, Any], Path]:
    """`[tool.perdure]` of the project, and the folder that its paths are relative to.

    The first pyproject.toml upwards that can be trusted, but none from above the root of a checkout
    (docs/decisions/0017-which-settings-are-trusted.md).

    Args:
        folder: the script's.
        owner: of the script; None: not known.
        known: the settings that there are.

    Raises:
        OptionError: the file cannot be read, is not TOML, or has a setting that does not exist.
    """
    on_the_way: list[Path] = []
    for place in (folder, *folder.parents):
        on_the_way.append(place)
        path = place / NAME
        text = _read_trusted(path, on_the_way, owner)
        if text is not None:
            return _parsed(text, path, known), place
        if any(os.path.lexists(place / mark) for mark in CHECKOUT):
            return {}, place
    return {}, folder


def _read_trusted(path: Path, on_the_way: list[Path], owner: int | None) -> str | None:
    """What a settings file says; None if there is none, or none that can be trusted. One line says which and why.

    Args:
        path: the file.
        on_the_way: the folders from the script's up to the file's.
        owner: of the script.
    """
    trusted = () if owner is None else (owner,)
    named: os.stat_result | None = None
    try:
        named = os.lstat(path)  # a link is its maker's word
        # Not blocking: another user may have put a pipe there.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        # In a folder that may not be searched nobody has said anything: it is as if there were no file.
        unknown = isinstance(error, PermissionError) if named is None else ownership.objection(named, trusted)
        if unknown:
            return None
        raise OptionError(f"{path} cannot be read: {error.strerror}", "check its permissions") from None
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return None
        data = file.read(LONGEST)
    why = ownership.objection(found, trusted)
    if not why and stat.S_ISLNK(named.st_mode) and ownership.OWNED and named.st_uid not in {0, os.geteuid(), *trusted}:
        why = f"it is a link that {ownership.user(named.st_uid)} has made"
    if not why:
        why = next((f"all users can write {place}" for place in on_the_way if _open_to_all(place)), "")
    if why:
        if b"tool.perdure" in data and (path, why) not in _ignored:
            import logging

            _ignored.add((path, why))
            advice = "make it yours and not writable by others (chown, chmod go-w), or set the PERDURE_ variables"
            logging.getLogger("perdure").warning("the settings in %s are ignored: %s; %s", path, why, advice)
        return None
    return data.decode("utf-8", "replace")


_ignored: set[tuple[Path, str]] = set()
"""Files of which it was said that they do not count, and why: for a script they are looked at more than once."""


def _open_to_all(folder: Path) -> bool:
    try:
        return ownership.OWNED and ownership.writable_by_all(os.stat(folder))
    except OSError:
        return False


def _parsed(text: str, path: Path, known: Collection[str]) -> dict[str, Any]:
    if "tool.perdure" not in text:
        return {}  # most scripts: not worth the import of a parser
    whole = toml_in(text, str(path))
    tools = whole.get("tool", {})
    table: dict[str, Any] = tools.get("perdure", {}) if isinstance(tools, dict) else {}
    if not isinstance(table, dict):
        raise OptionError(f"tool.perdure in {path} is {table!r}, and a table is needed", "write [tool.perdure]")
    for key in table:
        if key not in known:
            raise OptionError(f"unknown setting {key!r} in [tool.perdure] of {path}", f"use one of: {', '.join(known)}")
    return table


def toml_in(text: str, source: str) -> dict[str, Any]:
    """What a text in TOML says.

    Raises:
        OptionError: it is none; the error names the source.
    """
    import tomllib

    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise OptionError(f"{source} is not valid TOML: {why}", "correct the file") from None
