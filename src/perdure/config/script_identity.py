"""Which script a run belongs to: its path, such that a folder may be moved as a whole."""

from __future__ import annotations

import os
from functools import cache, lru_cache
from pathlib import Path, PurePath
from typing import Any

from perdure.config.module_names import INTERACTIVE
from perdure.config.setting_values import switched_on
from perdure.core.digests import blake2b
from perdure.errors import UsageError


@cache
def script_identity(script: str, state: Path) -> str:
    """A script's path below the folder of its state; if it lies elsewhere, below its project; else the whole path.

    Args:
        script: its path; a name in angle brackets where there is no file.
        state: the state file.

    Raises:
        UsageError: its path is not UTF-8.
    """
    if not script or script.startswith("<"):
        return INTERACTIVE
    refuse_path(script)
    real = PurePath(os.path.realpath(script))
    if real.parent.name.startswith("ipykernel_") and not os.path.isfile(real):
        return INTERACTIVE
    base = _base(state)
    if real.is_relative_to(base):
        return real.relative_to(base).as_posix()
    root, name = _project(Path(real.parent))
    if root is not None and (name or base.is_relative_to(root)):
        return f"{name}//{real.relative_to(root).as_posix()}"
    return str(real)


def whole_path(file: str) -> str:
    """The absolute path of a file of code; a name in angle brackets, where there is no file, stays as it is."""
    if not file or file.startswith("<"):
        return file
    return _normal(file) if file.startswith("/") else os.path.abspath(file)


_normal = lru_cache(4096)(os.path.abspath)
"""Of a path that begins with the root, which names the same file from every folder."""


def refuse_path(script: str) -> None:
    """Refuse a script whose path no record can hold: SQLite, messages and alerts carry UTF-8.

    Raises:
        UsageError: it is not UTF-8.
    """
    for path in (os.path.abspath(script), os.path.realpath(script)):
        try:
            path.encode()
        except UnicodeEncodeError:
            shown = os.fsencode(path).decode("utf-8", "backslashreplace")
            raise UsageError(
                f"the path of the script is not UTF-8, so that no run of it can be saved: {shown}",
                "rename the file or the folder, such as with `convmv -f latin1 -t utf8 --notest NAME`",
            ) from None


_digests: dict[tuple[str, int], bytes] = {}


def source_digest(path: str) -> bytes | None:
    """8 bytes that stand for what a file of code says now; None if there is none."""
    if not path or path.startswith("<"):
        return None
    try:
        key = (path, os.stat(path).st_mtime_ns)
        if key not in _digests:
            _digests[key] = blake2b(Path(path).read_bytes(), digest_size=8).digest()
        return _digests[key]
    except OSError:
        return None


def belongs_to(script: str, state: Path) -> bool:
    """Does a script lie below the folder of a state file, or in the project that the state file lies in?"""
    real = PurePath(os.path.realpath(script))
    base = _base(state)
    if real.is_relative_to(base):
        return True
    root, _ = _project(Path(real.parent))
    return root is not None and base.is_relative_to(os.path.realpath(root))


def present_path(path: str, identity: str, state: Path) -> str:
    """Where the script of that identity is now: its folder may have been moved, or copied, with the state in it.

    Args:
        path: where it was last seen.
        identity: as `script_identity` has it.
        state: the state file.
    """
    base = _base(state)
    project, found, below = identity.partition("//")
    if found:
        root, name = _project_around(base)
        if root is None or name != project:
            return path
        base, identity = root, below
    if os.path.isabs(identity):
        return path
    here = os.path.join(base, identity)
    if here == path or not os.path.isfile(here) or (os.path.exists(path) and os.path.samefile(path, here)):
        return path
    return here


@cache
def _project_around(folder: Path) -> tuple[Path | None, str]:
    return _project(folder)


@cache
def _base(state: Path) -> Path:
    place = Path(os.path.realpath(state)).parent
    return place.parent if place.name == ".perdure" else place


def moved_identity(script: str, state: Path) -> str:
    """The same of a script that was recorded by its path alone, and may have been moved together with its state."""
    if script and not script.startswith("<") and not os.path.isfile(script):
        base = _base(state)
        parts = PurePath(script).parts
        for first in range(1, len(parts)):
            if base.joinpath(*parts[first:]).is_file():
                return PurePath(*parts[first:]).as_posix()
    return script_identity(script, state)


def _project(folder: Path) -> tuple[Path | None, str]:
    for root in (folder, *folder.parents):
        file = root / "pyproject.toml"
        if file.is_file():
            return root, _name_in(file)
    return None, ""


def _name_in(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8")
        if (name := _plain_name_in(text)) is not None:
            return name  # most projects: not worth the import of a parser
        import tomllib

        table: dict[str, Any] = tomllib.loads(text)
    except (OSError, ValueError, RecursionError):
        return ""
    tools = table.get("tool")
    places = (table.get("project"), tools.get("poetry") if isinstance(tools, dict) else None)
    names = (place.get("name") for place in places if isinstance(place, dict))
    return next((name for name in names if isinstance(name, str)), "")


def _plain_name_in(text: str) -> str | None:
    """The name of a project as a plain string under `[project]`; None if it is not plain to see."""
    _, found, table = text.partition("\n[project]\n" if not text.startswith("[project]\n") else "[project]\n")
    if not found or '"""' in text or "'''" in text:
        return None  # a text of several lines may hold what looks like a line of the file
    for line in table.splitlines():
        key, _, value = line.partition("=")
        if line.startswith("["):
            break
        if key.strip() == "name":
            name = value.strip()
            plain = len(name) > 1 and name[0] == name[-1] == '"' and not set('"\\') & set(name[1:-1])
            return name[1:-1] if plain else None
    return None


def is_quiet() -> bool:
    """Whether lines that only point something out are left out: PERDURE_QUIET."""
    return switched_on("PERDURE_QUIET")


def point_out(text: str) -> None:
    """One line on standard error, unless PERDURE_QUIET is set."""
    if not is_quiet():
        from perdure.config.stderr_line import say

        say(f"perdure: {text}")
