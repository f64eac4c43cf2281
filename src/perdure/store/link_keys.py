"""The keys that links are signed with: of PERDURE_SIGNAL_KEY, or of a file beside the state file, made when needed.

The first one signs, all of them verify. So a key is replaced by putting a new one in front of it, and the links that
were sent with the old one go on working until it is removed.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from perdure.config.os_errors import is_refused, named, refused, remove
from perdure.config.ownership import NO_LINK, make_file, make_folder, shared, stranger
from perdure.errors import OptionError, PerdureError, StateCorrupt, StateUntrusted
from perdure.store.folder_sync import sync_folder

VARIABLE = "PERDURE_SIGNAL_KEY"
SHORTEST = 32
"""Characters of a key."""
LONGEST = 65_536
"""Bytes of the file that are read."""


def file_of(state: Path) -> Path:
    """Where the keys of a state file lie."""
    return state.with_name(state.name + "-key")


def keys_of(state: Path, *, make: bool = False) -> list[bytes]:
    """The keys of a state file, the one that signs first; none if there are none, and none is to be made.

    Args:
        state: the state file.
        make: make one, in a file for this user alone.

    Raises:
        OptionError: PERDURE_SIGNAL_KEY has a key that is too short.
        StateUntrusted: others can read the file, or it is another user's, or a link.
        StateCorrupt: it holds something else.
        StateError: it cannot be read or made.
    """
    named_here = _named_here()
    path = file_of(state)
    found = _read(path)
    if not found and not named_here and make:
        _make(path)
        found = _read(path)
    return [_digest(key) for key in (*named_here, *found)]


def common_keys(*, make: bool = False) -> list[bytes]:
    """The keys of a cluster, the one that signs first: those of PERDURE_SIGNAL_KEY alone, since all machines need them.

    Args:
        make: there has to be one, to make a link with.

    Raises:
        OptionError: there is none, or one that is too short.
    """
    found = _named_here()
    if make and not found:
        raise OptionError(
            f"a run on a cluster gives out a link, and {VARIABLE} has no key for it",
            f"set {VARIABLE} to the same key on all machines that execute the script or serve its links; make one: "
            'python -c "import secrets; print(secrets.token_hex(32))"',
        )
    return [_digest(key) for key in found]


def _named_here() -> list[str]:
    found = os.environ.get(VARIABLE, "").split()
    if any(len(key) < SHORTEST for key in found):
        raise OptionError(
            f"a key in {VARIABLE} has fewer than {SHORTEST} characters",
            'make one: python -c "import secrets; print(secrets.token_hex(32))"',
        )
    return found


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _read(path: Path) -> list[str]:
    try:
        descriptor = os.open(path, os.O_RDONLY | NO_LINK)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _refused(error, path) from error
    try:
        found = os.fstat(descriptor)
        other = stranger(found)
        if other or not stat.S_ISREG(found.st_mode):
            raise StateUntrusted(
                f"the key of links is {f'a file of {other}' if other else 'no file'}: {path}",
                "remove it; a new one is made, and links that were sent do not work any more",
            )
        if found.st_mode & (0o007 if shared() else 0o077):
            raise StateUntrusted(
                f"other users can read the key of links, so that they could answer approvals: {path}",
                f"make it yours alone: chmod 600 {path}",
            )
        text = os.read(descriptor, LONGEST).decode("ascii", "replace")
    finally:
        os.close(descriptor)
    keys = [line.strip() for line in text.splitlines() if line.strip()]
    if any(len(key) < SHORTEST or not key.isascii() for key in keys):
        raise StateCorrupt(
            f"the file of keys of links holds something else: {path}",
            "restore it from a backup; or remove it: a new one is made, and links that were sent do not work any more",
        )
    return keys


def _make(path: Path) -> None:
    """Make the file whole under another name, then link it: two processes have the same key."""
    draft = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
    try:
        make_folder(path.parent) if not path.parent.is_dir() else None
        descriptor = make_file(draft, os.O_EXCL | os.O_WRONLY)
        try:
            with open(descriptor, "wb") as file:
                file.write(secrets.token_hex(32).encode() + b"\n")
                file.flush()
                os.fsync(descriptor)
            with suppress(FileExistsError):  # another process was first
                os.link(draft, path)
        finally:
            remove(draft)
    except OSError as error:
        raise _refused(error, path) from error
    sync_folder(path.parent)


def _refused(error: OSError, path: Path) -> PerdureError:
    if isinstance(error, PerdureError):
        return error
    if not is_refused(error):
        return named(error, path)
    return refused(
        f"the key of links cannot be read or made: {path} ({error.strerror})",
        path,
        "check the permissions of the file and of its folder",
    )
