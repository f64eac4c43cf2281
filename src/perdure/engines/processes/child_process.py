"""A process that makes attempts, as the one sees it that orders them."""

from __future__ import annotations

import math
import os
import select
import socket
from collections.abc import Callable
from contextlib import suppress

from perdure.config.steady_clock import steady
from perdure.engines.processes.messages import ANSWER, CHUNK, LENGTH, READY, REPLY, State, frame

MOST = 16
"""Portions of what it says that are taken between two looks at the clock."""

END = 10.0
"""Seconds that a process has for its end (threads of its own, what `atexit` knows), before it is killed."""


class TimeOver(Exception):
    """Its time is over, and it has not answered."""


class Ended(Exception):
    """It has ended without an answer.

    Args:
        code: its exit code, negative for a signal; None: nobody has seen it.
    """

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code


class ChildProcess:
    """One that was asked for. Not for several threads at once.

    Args:
        data: the connection to it.
        state: the pipe that says what becomes of it.
        kill: ends it and its group at once.
    """

    def __init__(self, data: socket.socket, state: int, kill: Callable[[], None]) -> None:
        self._data = data
        self._state = state
        self._kill = kill
        self._sent = bytearray()  # what it has sent of an answer
        self._over = False
        self.ready = False  # it has loaded its script
        self.code: int | None = None
        data.setblocking(False)

    def wait_started(self, until: float) -> tuple[State, int] | None:
        """What has become of the request for it; None if what should have made it is gone.

        Raises:
            TimeOver: nothing yet.
        """
        if not _ready(self._state, until):
            raise TimeOver
        return self._next_state()

    def send(self, body: bytes) -> None:
        """Have it get a frame, as soon as it reads it."""
        self._data.setblocking(True)
        try:
            self._data.sendall(frame(body))
        except OSError:  # its end will be seen
            pass
        finally:
            self._data.setblocking(False)

    def ask(self, body: bytes, loaded: float, until: Callable[[], float], note: Callable[[memoryview], None]) -> bytes:
        """Send it an order; returns its answer.

        Args:
            body: the order.
            loaded: when it has to be ready at the latest, by the steady clock.
            until: asked when it is: when it has to answer at the latest; infinite without a bound.
            note: is given what it says meanwhile.

        Raises:
            TimeOver: it is not ready by then, or has not answered.
            Ended: it has ended before it answered.
        """
        was_ready = self.ready
        limit = until() if was_ready else loaded
        left = memoryview(frame(body))
        poll = select.poll()
        poll.register(self._data, select.POLLIN | select.POLLOUT)
        poll.register(self._state, select.POLLIN)
        self._sent.clear()
        while True:
            events = dict(poll.poll(_milliseconds(limit)))
            if not events:
                raise TimeOver
            mask = events.get(self._data.fileno(), 0)
            if mask & select.POLLIN:
                if (answer := self._receive(note)) is not None:
                    return answer
                if self.ready and not was_ready:
                    was_ready, limit = True, until()
                if steady() >= limit:
                    raise TimeOver  # however much it says
                if self._closed:
                    poll.unregister(self._data)
                continue
            if self._state in events:
                self._see_end()
                answer = self._receive(note)  # it may have answered just before
                if answer is not None:
                    return answer
                raise Ended(self.code)
            if mask & select.POLLOUT:
                left = left[self._send_some(left) :]
                if not left:
                    poll.modify(self._data, select.POLLIN)
            elif mask:
                poll.unregister(self._data)  # it is closed; how it has ended comes next

    @property
    def over(self) -> bool:
        """Has it ended?"""
        if not self._over and _ready(self._state, 0.0):
            self._see_end()
        return self._over

    def interrupt(self) -> None:
        """Have it and its group ended at once; from any thread."""
        self._kill()

    def kill(self) -> None:
        """End it and its group at once, and wait until it is gone."""
        if not self._over:
            self._kill()
            if _ready(self._state, steady() + END):
                self._see_end()
        self.close()

    def stop_asking(self) -> None:
        """Nothing more is ordered: it comes to its end."""
        with suppress(OSError):
            self._data.shutdown(socket.SHUT_WR)

    def end(self) -> None:
        """Wait until it has come to its end: nothing more is ordered. It is killed if it takes too long."""
        self.stop_asking()
        if not self.over and not _ready(self._state, steady() + END):
            self.kill()
        else:
            self.close()

    def leave(self) -> None:
        """It has given its only answer, and ends by itself."""
        self.close()

    def close(self) -> None:
        """Lose interest in it."""
        self._data.close()
        if self._state >= 0:
            os.close(self._state)
            self._state = -1
            self._over = True

    _closed = False

    def _receive(self, note: Callable[[memoryview], None]) -> bytes | None:
        """Take what it has sent; the answer, once that is complete."""
        for _ in range(MOST):
            try:
                chunk = self._data.recv(CHUNK)
            except BlockingIOError:
                return None
            except OSError:
                chunk = b""
            if not chunk:
                self._closed = True
                return None
            self._sent += chunk
            if (answer := self._frames(note)) is not None:
                return answer
        return None

    def _frames(self, note: Callable[[memoryview], None]) -> bytes | None:
        """Go through the frames that are complete; the answer is the last one."""
        at, size = 0, len(self._sent)
        with memoryview(self._sent) as view:
            while size - at >= LENGTH.size and size - at - LENGTH.size >= (length := LENGTH.unpack_from(view, at)[0]):
                at += LENGTH.size
                with view[at : at + length] as body:
                    kind = bytes(body[:1])
                    if kind == ANSWER:
                        return bytes(body[1:])
                    if kind == READY:
                        self.ready = True
                    else:
                        note(body[1:])
                at += length
        del self._sent[:at]
        return None

    def _send_some(self, left: memoryview) -> int:
        try:
            return self._data.send(left)
        except BlockingIOError:
            return 0
        except OSError:  # its end will be seen
            return len(left)

    def _see_end(self) -> None:
        found = self._next_state()
        self._over = True
        if found is not None and found[0] == State.ENDED:
            self.code = found[1]

    def _next_state(self) -> tuple[State, int] | None:
        data = os.read(self._state, REPLY.size)
        if len(data) < REPLY.size:
            return None
        state, number = REPLY.unpack(data)
        return State(state), number


def _ready(descriptor: int, until: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(_milliseconds(until)))


def _milliseconds(until: float) -> int | None:
    return None if until == math.inf else max(math.ceil((until - steady()) * 1000), 0)
