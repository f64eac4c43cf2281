"""An executor, as its supervisor sees it."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable

from perdure.config.interpreter import module_command
from perdure.config.steady_clock import steady
from perdure.engines.local.worker.messages import FromExecutor, Loaded, Look, Message, Orders, of_executor, send

Heard = Callable[["Member", "FromExecutor | None"], None]
"""Called on a thread of its own with each message of an executor, and with None when there will be no more."""


class Member:
    """A process that executes runs.

    Args:
        orders: what it is for.
        heard: hears what it says.

    `loaded` is what it has loaded, once it has; `busy_since` and the like are the supervisor's to keep.

    Raises:
        OSError: no process can be started.
    """

    def __init__(self, orders: Orders, heard: Heard) -> None:
        self.began = steady()
        self.loaded: Loaded | None = None
        self.retired = False
        self.idle = False
        self.claims = 0
        self.looks = 0
        self.asked_at: float | None = None
        """When it was asked for a sign of life that it has not given yet."""
        self.unusable = ""
        self._link, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                module_command("perdure.engines.local.worker.executor", str(theirs.fileno())),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                env=dict(os.environ),
                process_group=0,  # Ctrl-C in the terminal is the supervisor's to act on
            )
        except BaseException:
            self._link.close()
            raise
        finally:
            theirs.close()
        self.pid = self._process.pid
        self.tell(orders)
        threading.Thread(target=self._listen, args=(heard,), name=f"perdure-executor-{self.pid}", daemon=True).start()

    def _listen(self, heard: Heard) -> None:
        for message in of_executor(self._link):
            heard(self, message)
        heard(self, None)

    def look(self, *, dead: bool = False) -> None:
        """There may be something for it to claim: it is not idle until it says so again."""
        self.looks += 1
        self.idle = False
        self.tell(Look(dead=dead, serial=self.looks))

    def tell(self, message: Message) -> None:
        """Send it a message; nothing happens if it has gone."""
        send(self._link, message)

    def ended(self) -> int | None:
        """How its process has ended, as `subprocess` has it; None if it lives."""
        return self._process.poll()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def close(self) -> None:
        """It has ended: let go of the socket."""
        self._process.wait()
        self._link.close()
