"""Install the agent skill, and keep what its user has changed in it."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from perdure import skill
from perdure.config.ownership import NO_LINK
from perdure.errors import NotFound, UsageError

MANIFEST = ".installed.json"
"""Beside SKILL.md: by file, the digests of what was installed."""

KEPT_DIGESTS = 2
"""Of this version and of the one before: an installation that was cut short has files of both."""

OURS = re.compile(r"SKILL\.md|(?:references|assets)/[\w-]+\.(?:md|py)")
"""What can be a file of the skill."""


class Installed(msgspec.Struct, frozen=True):
    """What became of one file."""

    path: str
    action: str
    """"written", "updated", "unchanged", "removed" (this version has it no more), or "kept" (it was edited)."""


def install(folder: Path | None, *, user: bool = False, force: bool = False) -> list[Installed]:
    """Install the skill into `.agents/skills/`, and into `.claude/skills/` where there is a `.claude`.

    Args:
        folder: a project's folder; by default the working directory.
        user: into the home directory instead.
        force: replace files that were edited, too.

    Returns:
        What became of each file, in the order of the files.

    Raises:
        UsageError: the folder is missing, leads out of the project, or cannot be written.
    """
    if user and folder is not None:
        raise UsageError("--user and a folder name two places", "leave one of them out")
    home = Path.home() if user else (folder or Path())
    if not home.is_dir():
        raise UsageError(f"there is no folder {str(home)!r} to install the skill into", f"mkdir -p {home}")
    found: list[Installed] = []
    for place in _places(home, may_lead_out=user):
        try:
            found += _install(place, force)
        except OSError as error:
            name = error.filename or place
            raise UsageError(f"{str(name)!r} cannot be written: {error.strerror}", "choose another folder") from error
    return found


def read(name: str) -> str:
    """The text of a file of the skill.

    Raises:
        NotFound: the skill has no such file.
    """
    files = skill.files()
    if name not in files:
        raise NotFound(f"the skill has no file {name!r}", f"name one of these: {', '.join(files)}")
    return files[name].decode()


def _places(home: Path, may_lead_out: bool) -> Iterator[Path]:
    """The folders that the skill belongs into; each once, also if one is a link to another."""
    seen: set[Path] = set()
    for agent in (".agents", ".claude"):
        if agent == ".claude" and not (home / agent).is_dir():
            continue
        place = home / agent / "skills" / skill.NAME
        real = place.resolve()
        if not may_lead_out and not real.is_relative_to(home.resolve()):
            raise UsageError(
                f"{str(place)!r} leads out of {str(home)!r}, to {str(real)!r}; nothing was written there",
                "choose another folder, or install with --user",
            )
        if real not in seen:
            seen.add(real)
            yield place


def _install(place: Path, force: bool) -> Iterator[Installed]:
    new = skill.files()
    known = _read_manifest(place)
    place.mkdir(parents=True, exist_ok=True)
    # Written before the files: whatever cuts this short, no file of ours is taken for one that was edited.
    _write_manifest(place, known | {name: _with(known.get(name, []), _digest(new[name])) for name in new})
    for name in [*new, *sorted(known.keys() - new.keys())]:
        path = place / name
        found = _content(path)
        ours = found is not None and _digest(found) in known.get(name, [])
        if name not in new:
            if found is not None:
                if ours or force:
                    path.unlink()
                yield Installed(str(path), "removed" if ours or force else "kept")
        elif found == new[name]:
            yield Installed(str(path), "unchanged")
        elif ours or force or not os.path.lexists(path):
            action = "updated" if os.path.lexists(path) else "written"
            _write(path, new[name])
            yield Installed(str(path), action)
        else:
            yield Installed(str(path), "kept")


def _with(digests: list[str], digest: str) -> list[str]:
    return [*(one for one in digests if one != digest), digest][-KEPT_DIGESTS:]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _content(path: Path) -> bytes | None:
    """What a regular file holds; None if there is none, or something else. A link is never ours."""
    try:
        descriptor = os.open(path, os.O_RDONLY | NO_LINK)
    except OSError:
        return None
    with open(descriptor, "rb") as file:
        return file.read() if stat.S_ISREG(os.fstat(descriptor).st_mode) else None


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; in place of a link, not through it."""
    path.parent.mkdir(exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
    try:
        with draft.open("xb") as file:
            file.write(content)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _read_manifest(place: Path) -> dict[str, list[str]]:
    """What was installed there; nothing if that is not known. Data from elsewhere: a name in it is never a path."""
    content = _content(place / MANIFEST)
    try:
        known = msgspec.json.decode(content or b"{}", type=dict[str, list[str]])
    except msgspec.MsgspecError:
        return {}
    return {name: digests for name, digests in known.items() if OURS.fullmatch(name)}


def _write_manifest(place: Path, known: Mapping[str, list[str]]) -> None:
    content = msgspec.json.format(msgspec.json.encode(dict(sorted(known.items())))) + b"\n"
    if _content(place / MANIFEST) != content:
        _write(place / MANIFEST, content)
