"""A process that others can see is alive, without being the holder of a run: callers of a service, inside and outside
workflows. Its lock lies with those of the holders, and is freed by death in the same way (see `store/holders.py`).
"""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

from perdure.errors import StateReadOnly
from perdure.store.holders import is_held

_TOKEN = re.compile(r"[0-9]+-[0-9a-f]{16}")
"""What a token looks like. It comes back out of a file, and must not lead to other files."""


class Presence:
    """This process.

    Args:
        state: the state file; the locks lie beside it, in `<state>-locks/`.
    """

    def __init__(self, state: Path) -> None:
        self._folder = state.with_name(state.name + "-locks")
        self._mutex = threading.Lock()
        self._descriptor: int | None = None
        self._token = ""

    def token(self) -> str:
        """What this process goes by; takes the lock the first time.

        Raises:
            StateReadOnly: the lock cannot be made.
        """
        with self._mutex:
            if self._descriptor is None:
                self._token = f"{os.getpid()}-{os.urandom(8).hex()}"
                self._descriptor = self._locked(self._path)
            return self._token

    def lives(self, token: str) -> bool:
        """Is the process alive that goes by that?"""
        return _TOKEN.fullmatch(token) is not None and is_held(self._folder / f"{token}.lock")

    def close(self) -> None:
        """This process is about to end; the lock file goes too."""
        with self._mutex:
            if self._descriptor is not None:
                self._path.unlink(missing_ok=True)
                os.close(self._descriptor)
                self._descriptor = None

    def close_in_child(self) -> None:
        """After a fork: the child's copy of the descriptor would keep the lock alive beyond the parent's death."""
        if self._descriptor is not None:
            os.close(self._descriptor)  # closing a copy does not unlock; an unlock call would
            self._descriptor = None

    @property
    def _path(self) -> Path:
        return self._folder / f"{self._token}.lock"

    def _locked(self, path: Path) -> int:
        from filelock import lock_descriptor

        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
            lock_descriptor(descriptor, blocking=False)
        except OSError as error:
            raise StateReadOnly(
                f"no lock can be made in {self._folder} ({error.strerror})",
                "check the permissions of the folder, or set PERDURE_STATE to another path",
            ) from error
        return descriptor
