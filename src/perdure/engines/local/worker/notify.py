"""Tells the service manager how the worker is: READY=1, WATCHDOG=1, STOPPING=1 (sd_notify(3))."""

from __future__ import annotations

import os
import socket


class Notify:
    """The socket of the service manager, if this process was started by one; its variables are not handed on.

    `every` is how many seconds may lie between two signs of life; None if no one waits for them.
    """

    def __init__(self) -> None:
        address = os.environ.pop("NOTIFY_SOCKET", "")
        usec, pid = os.environ.pop("WATCHDOG_USEC", ""), os.environ.pop("WATCHDOG_PID", "")
        self._socket: socket.socket | None = None
        self._unheard = ""
        self.every: float | None = None
        if not address.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
            return
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        if usec.isdecimal() and int(usec) and pid in ("", str(os.getpid())):
            self.every = int(usec) / 2_000_000

    def ready(self, status: str) -> None:
        """The worker claims runs."""
        self._unheard = f"READY=1\nSTATUS={_line(status)}"
        self.again()

    def alive(self) -> None:
        """A sign of life."""
        self.again()
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The worker is about to end."""
        self._unheard = "STOPPING=1"
        self.again()

    def again(self) -> None:
        """Say once more how the worker is, if the manager has not taken it: it may be busy, and have no room for it."""
        if self._unheard and self._send(self._unheard):
            self._unheard = ""

    def close(self) -> None:
        """Say nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, text: str) -> bool:
        if self._socket is not None:
            try:
                self._socket.sendto(text.encode(), self._address)
            except OSError:  # the manager is busy, or gone
                return False
        return True


def _line(text: str) -> str:
    return " ".join(text.split())
