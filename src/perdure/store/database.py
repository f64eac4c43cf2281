"""Opening the state file: create, verify, migrate.

Nothing here ever calls open() on the state file or its -wal and -shm once SQLite has it: closing such a descriptor
would drop SQLite's own POSIX locks (https://www.sqlite.org/howtocorrupt.html, section 2.2).
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

import apsw

from perdure.config.os_errors import is_refused, named, refused, remove
from perdure.config.ownership import HOME, make_file, make_folder, stranger
from perdure.errors import (
    PerdureError,
    StateCorrupt,
    StateForeign,
    StateIO,
    StateNewer,
    StateReadOnly,
    StateUntrusted,
)
from perdure.store.connection import (
    keep_journal,
    open_connection,
    open_unlocked,
    patiently,
    refuse_foreign_schema,
    run_script,
)
from perdure.store.folder_sync import sync_folder
from perdure.store.sqlite_errors import translated
from perdure.store.state_files import JOURNALS, beside, copy_of, orphans, refuse_orphans, traces
from perdure.store.statements import HERE

APPLICATION_ID = 0x50455244  # "PERD"
SCHEMA_VERSION = 14

FULL = 2
"""What SQLite says of `synchronous` when each commit waits for the disk."""

AWAY = "perdure doctor --set-aside"

NO_PLACE = (errno.ENOENT, errno.ENAMETOOLONG, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
"""What the system answers where no folder or file can be made at all, as in /proc."""


def connect(path: Path, *, create: bool = True, read_only: bool = False, vfs: str | None = None) -> apsw.Connection:
    """Open the state file, after making sure that it is one.

    Args:
        path: the state file; its folder is made (mode 0700) if it is missing and `create` is set.
        create: make a new state file where there is none.
        read_only: open for looking only. A file of an older version is shown as it is at this moment, and stays so; and
            one in a folder that cannot be written to, if nobody has it open.
        vfs: the name of a registered SQLite VFS, for tests that inject faults.

    Raises:
        StateError: whichever of its kinds says what is wrong; the file is left as it was.
    """
    _check_name(path)
    alone = False
    try:
        if not read_only:
            check_owners(path)
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise _no_file(path)
        size = found.st_size
    except FileNotFoundError:
        if not create or read_only:
            raise StateReadOnly(
                f"there is no state file: {path}", "run a workflow first, or set PERDURE_STATE to the file you mean"
            ) from None
        refuse_orphans(path)
        _create(path, vfs)
    except OSError as error:
        if isinstance(error, PerdureError):
            raise
        if error.errno in NO_PLACE:
            raise _no_place(path, error) from error
        if not is_refused(error):
            raise named(error, path) from error
        raise refused(
            f"the state file cannot be opened: {path} ({error.strerror})",
            path,
            "check the permissions of the file and of its folder, or set PERDURE_STATE to another path",
        ) from error
    else:
        if size == 0:
            # Another process may have put a file there meanwhile, which leaves traces.
            in_use = bool(traces(path)) and path.stat().st_size == 0
            if read_only or not create or sys.platform == "win32" or in_use:
                raise StateCorrupt(
                    f"the state file is empty, which perdure never leaves behind: {path}",
                    f"restore a backup if runs were saved in it; else run `{AWAY}` to start over{_journal_of(path)}",
                )
            _create(path, vfs, empty=True)  # as the sqlite3 shell leaves one that only looked at what was not there
        elif not read_only and not path.with_name(f"{path.name}-locks").exists():
            alone = not traces(path)
    if not read_only:
        # Also if another process made the file: its name may not be on the disk yet, and we are about to rely on it.
        sync_folder(path.parent)
    if read_only and vfs is None and not os.access(path.parent, os.W_OK):
        from perdure.store.read_only_folder import copied

        if (looked_at := copied(path, lambda copy: _open_copy(copy, path))) is not None:
            return looked_at
    with translated(path):
        if vfs is None and _has_journal(path):  # one of those keeps what it likes from the files
            from perdure.store.journal_check import refuse_stale_journal

            refuse_stale_journal(path)
        elif vfs is None and path.with_name(f"{path.name}-shm").exists():
            from perdure.store.lost_journal import refuse_lost_journal

            refuse_lost_journal(path)
        # Looked at read-only first: opening for writing may recover or checkpoint, and a foreign file stays as it was.
        if _verified(path, vfs) < SCHEMA_VERSION and read_only:
            from perdure.store.migration import migrated_copy

            return migrated_copy(path, SCHEMA_VERSION, vfs)
        connection = open_connection(path, "FULL", read_only=read_only, vfs=vfs)
        try:
            refuse_foreign_schema(connection)
            if not read_only:
                if connection.readonly("main"):
                    raise apsw.ReadOnlyError("attempt to write a read-only file")
                run_script(connection, "PRAGMA wal_autocheckpoint = 0")  # group_commit does, after a look at the file
                _use_journal(connection, path)
                if connection.pragma("user_version") < SCHEMA_VERSION or os.path.lexists(copy_of(path, SCHEMA_VERSION)):
                    from perdure.store.migration import migrate

                    migrate(connection, path, SCHEMA_VERSION, vfs)
                if alone:
                    _say_if_copied_alone(connection, path)
        except BaseException as error:
            if isinstance(error, apsw.Error | StateCorrupt):
                keep_journal(connection)  # what is in it may be all that can be saved of the file
            connection.close()
            raise
    return connection


def _say_if_copied_alone(connection: apsw.Connection, path: Path) -> None:
    from perdure.store.lost_journal import copied_alone

    line = copied_alone(connection, path)
    if line:
        import logging

        from perdure.core.redaction.printable import one_line

        logging.getLogger("perdure").warning("%s", one_line(line))


def _open_copy(copy: Path, path: Path) -> apsw.Connection:
    from perdure.store.migration import migrated_copy

    with translated(path):
        _verified(copy, None, path)
        return migrated_copy(copy, SCHEMA_VERSION)


def _no_place(path: Path, error: OSError) -> StateReadOnly:
    return refused(
        f"the state file cannot be made: {path} ({error.strerror})",
        path,
        "set PERDURE_STATE to another path, or check the permissions of the folder",
    )


def _no_file(path: Path) -> StateForeign:
    return StateForeign(
        f"the path of the state file leads to a folder, a device, a pipe or a socket: {path}",
        "set PERDURE_STATE to the path of a file",
    )


def _check_name(path: Path) -> None:
    """See that it is the name of a file, which SQLite can be told.

    Raises:
        StateForeign: it names a folder.
        StateReadOnly: it is not UTF-8.
    """
    if not path.name:
        raise _no_file(path)
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise StateReadOnly(
            f"the path of the state file is not UTF-8, so that SQLite cannot open it: {str(path)!r}",
            "rename the folder; if no script lies there, set PERDURE_STATE to a path that is UTF-8",
        ) from None


def _journal_of(path: Path) -> str:
    """That the journal of an emptied file is kept, if there is something in it."""
    journal = next(iter(orphans(path)), None)
    return "" if journal is None else f", which keeps {journal.name}: what was saved last is in it"


def _has_journal(path: Path) -> bool:
    """Whether something lies in its write-ahead log."""
    return any(journal.name.endswith("-wal") for journal in orphans(path))


def _verified(path: Path, vfs: str | None, shown: Path | None = None) -> int:
    """The same as `_verify`, after what a process left that died inside of a commit was taken back.

    That is so only if the file keeps a rollback journal, as it does while it cannot keep a WAL: what opens it
    for reading cannot roll back.
    """
    try:
        return _verify(path, vfs, shown or path)
    except (apsw.ReadOnlyError, apsw.CantOpenError):
        if not path.with_name(f"{path.name}-journal").exists():
            raise
        # It is taken for what it says that it is without its journal being played: a foreign file stays as it is.
        connection = open_unlocked(path, vfs)
        try:
            application_id = connection.pragma("application_id")
        finally:
            connection.close()
        if application_id != APPLICATION_ID:
            raise
        connection = open_connection(path, "FULL", vfs=vfs)
        try:
            connection.pragma("schema_version")  # the first read of it rolls back
        finally:
            connection.close()
        return _verify(path, vfs, shown or path)


def _use_journal(connection: apsw.Connection, path: Path) -> None:
    """See that commits go to a write-ahead log and wait for the disk: SQLite answers what it does, and raises nothing.

    Raises:
        StateIO: they do not.
    """
    mode = str(patiently(lambda: connection.pragma("journal_mode", "WAL")))
    waits = connection.pragma("synchronous")
    if mode != "wal" or waits != FULL:
        raise StateIO(
            f"SQLite does not keep a write-ahead log beside the state file: {path} (it answers {mode}, {waits})",
            "check the disk (dmesg) and run again; or set PERDURE_STATE to a path on a local disk",
        )


def _verify(path: Path, vfs: str | None, shown: Path) -> int:
    """The version of the file, if it is one that this perdure knows; errors name it as `shown`."""
    connection = open_connection(path, "FULL", read_only=True, vfs=vfs)
    try:
        application_id = connection.pragma("application_id")
        version = connection.pragma("user_version")
        pages = connection.pragma("page_count")
        if application_id == APPLICATION_ID and vfs is None and _has_journal(path):
            from perdure.store.journal_check import refuse_damaged_journal

            refuse_damaged_journal(connection, path)
    finally:
        connection.close()
    if application_id != APPLICATION_ID:
        raise StateForeign(
            f"the file is not a state file of perdure: {shown}",
            "set PERDURE_STATE to another path, or move the file away",
        )
    if version > SCHEMA_VERSION:
        raise StateNewer(
            f"a newer perdure wrote the state file (format {version}, this one knows {SCHEMA_VERSION}): {shown}",
            "upgrade perdure: pip install --upgrade perdure",
        )
    if pages == 0 or version < 1:
        raise StateCorrupt(f"the state file is damaged: {shown}", f"restore a backup, or run `{AWAY}` to start over")
    return int(version)


def _create(path: Path, vfs: str | None, *, empty: bool = False) -> None:
    """Make the file complete under another name, then link it: it is there whole or not at all, power cut or not.

    Args:
        path: what to make.
        vfs: the name of a registered SQLite VFS, for tests that inject faults.
        empty: an empty file is there in its place.
    """
    try:
        _make_home(path.parent)
        draft = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
        os.close(make_file(draft, os.O_EXCL | os.O_WRONLY))
    except OSError as error:
        if not is_refused(error) and error.errno not in NO_PLACE:
            raise named(error, path) from error
        raise _no_place(path, error) from error
    try:
        with translated(path):
            _lay_out(draft, path, vfs)
        if empty:
            _replace_empty(path, draft)
        with suppress(FileExistsError):  # another process was first; its file is as good as ours
            os.link(draft, path)
    except OSError as error:
        raise StateIO(f"the state file cannot be made: {path} ({error})", "check the disk, then run again") from error
    finally:
        for leftover in (draft, *(draft.with_name(draft.name + suffix) for suffix in (*JOURNALS, "-shm"))):
            remove(leftover)


def _replace_empty(path: Path, draft: Path) -> None:
    """Put the draft in the place of an empty file, unless another process has done so meanwhile."""
    from fcntl import LOCK_EX, flock

    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        flock(descriptor, LOCK_EX)
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise _no_file(path)
        if found.st_size == 0:
            path.unlink()
            os.link(draft, path)
    finally:
        os.close(descriptor)


def _lay_out(draft: Path, path: Path, vfs: str | None) -> None:
    """Make the tables; `path` is for messages.

    Nobody knows the draft yet: no journal has to be flushed. To become a file with a write-ahead log, its header is
    written and the whole file is flushed.
    """
    connection = open_connection(draft, "OFF", vfs=vfs)
    try:
        run_script(
            connection,
            "PRAGMA page_size = 4096; PRAGMA journal_mode = MEMORY; BEGIN IMMEDIATE;"
            f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
            + (HERE / "schema.sql").read_text(encoding="utf-8")
            + "COMMIT; PRAGMA synchronous = FULL",
        )
        _use_journal(connection, path)
    finally:
        connection.close()


def _make_home(folder: Path) -> None:
    """The folder of a state file: a link of the user's is followed, and what is in `.perdure` is kept out of git."""
    if not folder.is_dir():
        make_folder(folder)
    if folder.name == HOME:
        with (
            suppress(FileExistsError),
            open(make_file(folder / ".gitignore", os.O_EXCL | os.O_WRONLY), "wb") as file,
        ):
            file.write(b"*\n")


def check_owners(state: Path) -> None:
    """See that no other user can exchange what a run relies on: the state file, and the files and folders beside it.

    The folder is looked at only if it is the one that perdure makes itself; a path that the user names is the user's
    choice. Links are followed for the folder and the file, if their owner is trusted.

    Raises:
        StateUntrusted: something is another user's, or a link where none belongs.
        OSError: it cannot be looked at.
    """
    if state.parent.name == HOME:
        _check_owner(state.parent, state, link=True)
    _check_owner(state, state, link=True)
    for _, path in beside(state):
        _check_owner(path, state, link=False)
    _check_owner(copy_of(state, SCHEMA_VERSION), state, link=False)


def _check_owner(path: Path, state: Path, *, link: bool) -> None:
    try:
        found = os.lstat(path)
        is_link = stat.S_ISLNK(found.st_mode)
        other = stranger(found) or (stranger(os.stat(path)) if is_link and link else "")
    except FileNotFoundError:
        return
    if other:
        raise StateUntrusted(
            f"{path} belongs to {other}, who could read and exchange what the runs of {state} save",
            "run as that user, or set PERDURE_STATE to a path of your own; PERDURE_SHARED=1 shares it with other users",
        )
    if is_link and not link:
        raise StateUntrusted(f"{path} is a link, which perdure never makes there", "remove it")
