"""A victim whose disk is watched: `python recorder.py script.py` writes down, in order, what is done to it.

That is every change of the state file (writes, syncs, truncations, names made and removed) and every word to the
ledger. From it disk.py makes what a power cut would leave.

CRASH_RECORD is the file for the recording (MessagePack).
"""

from __future__ import annotations

import os
import runpy
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import msgspec
from vfs import SystemFile

# Files whose first sync also syncs their folder if they were opened to be created, new or not (os_unix.c,
# UNIXFILE_DIRSYNC).
SYNC_FOLDER = apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL | apsw.SQLITE_OPEN_WAL


class Recording:
    """The events, and which file goes by which name at the moment."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.files: dict[str, int] = {}
        self._lock = threading.Lock()
        self._made = 0

    def add(self, *event: Any) -> None:
        with self._lock:
            self.events.append(event)

    def opened(self, name: str) -> int:
        """The number of the file of that name."""
        if name not in self.files:
            self._made += 1
            self.files[name] = self._made
            self.add("create", self._made)
            self.add("link", os.path.basename(name), self._made)
        return self.files[name]

    def linked(self, source: str, name: str) -> None:
        if source in self.files:
            self.files[name] = self.files[source]
            self.add("link", os.path.basename(name), self.files[source])

    def unlinked(self, name: str) -> None:
        if self.files.pop(name, None) is not None:
            self.add("unlink", os.path.basename(name))


class WatchedFile(SystemFile):
    """A file whose changes are written down: a write before it happens, a sync once it has succeeded."""

    def __init__(self, recording: Recording, number: int, sync_folder: bool, name: Any, flags: list[int]) -> None:
        self._recording = recording
        self._number = number
        self._sync_folder = sync_folder
        super().__init__(name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._recording.add("write", self._number, offset, bytes(data))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:
        self._recording.add("truncate", self._number, size)
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self._recording.add("sync", self._number)
        if self._sync_folder:
            self._sync_folder = False
            self._recording.add("sync_folder")


class WatchedDisk(apsw.VFS):
    """The system's VFS, watched."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        super().__init__("watched", "unix", makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        path = name if isinstance(name, str) else name and name.filename()
        number = self._recording.opened(os.path.abspath(path)) if path else 0
        sync_folder = bool(flags[0] & SYNC_FOLDER and flags[0] & apsw.SQLITE_OPEN_CREATE)
        return WatchedFile(self._recording, number, sync_folder, name, flags)

    def xDelete(self, name: str, sync_folder: bool) -> None:
        super().xDelete(name, sync_folder)
        self._recording.unlinked(os.path.abspath(name))
        if sync_folder:
            self._recording.add("sync_folder")


def watch_names(recording: Recording) -> None:
    """Names are also made and removed without SQLite: watch the calls that the store may use for it."""

    def after(function: Callable[..., Any], record: Callable[..., None]) -> Callable[..., Any]:
        def watched(*args: Any, **options: Any) -> Any:
            result = function(*args, **options)
            record(*args)
            return result

        return watched

    def synced(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            recording.add("sync_folder")

    def moved(source: Any, name: Any) -> None:
        recording.linked(os.path.abspath(source), os.path.abspath(name))
        recording.unlinked(os.path.abspath(source))

    os.link = after(os.link, lambda source, name: recording.linked(os.path.abspath(source), os.path.abspath(name)))
    os.rename = after(os.rename, moved)
    os.replace = after(os.replace, moved)
    os.unlink = after(os.unlink, lambda name: recording.unlinked(os.path.abspath(name)))
    os.remove = after(os.remove, lambda name: recording.unlinked(os.path.abspath(name)))
    os.fsync = after(os.fsync, synced)


def main() -> int:
    recording = Recording()
    disk = WatchedDisk(recording)
    assert disk is not None
    watch_names(recording)
    import witness

    witness.listeners.append(lambda line: recording.add("said", line))
    runpy.run_path(sys.argv[1], run_name="__main__")
    Path(os.environ["CRASH_RECORD"]).write_bytes(msgspec.msgpack.encode(recording.events))
    return 0


if __name__ == "__main__":
    sys.exit(main())
