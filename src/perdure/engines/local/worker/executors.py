"""The executors, as their supervisor sees them: started, watched, and replaced when they die."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue

from perdure.config.interpreter import module_command
from perdure.config.steady_clock import steady
from perdure.engines.local.worker.back_off import SLOWEST, back_off
from perdure.engines.local.worker.messages import (
    FromExecutor,
    Loaded,
    Look,
    Message,
    Orders,
    Pause,
    Retire,
    of_executor,
    send,
)
from perdure.engines.local.worker.options import Options
from perdure.engines.local.worker.waker import Waker

APART = 4
"""Executors for runs that one more death would make a crash loop, at most; and for command lines."""

AGAIN = 2.0
"""Seconds between two executors for one command line."""

YOUNG = 5.0
"""Seconds: an executor that has served for less was not able to work at all."""

Heard = Callable[["Member", "FromExecutor | None"], None]
"""Called on a thread of its own with each message of an executor, and with None when there will be no more."""


class Member:
    """A process that executes runs.

    Args:
        orders: what it is for.
        heard: hears what it says.

    `loaded` is what it has loaded, once it has; `idle` and the like are the supervisor's to keep.

    Raises:
        OSError: no process can be started.
    """

    def __init__(self, orders: Orders, heard: Heard) -> None:
        self.line = orders.line
        self.loaded: Loaded | None = None
        self.retired = False
        self.idle = False
        self.claims = 0
        self.looks = 0
        self.asked_at: float | None = None
        """When it was asked for a sign of life that it has not given yet."""
        self.unusable = False  # it has said that it cannot go on
        self.killed = False
        self._serves_since: float | None = None
        self._served: float | None = None
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

    def has_loaded(self, message: Loaded) -> None:
        """It serves from now on."""
        self.loaded, self._serves_since = message, steady()

    def cannot_go_on(self) -> None:
        """It has said so, and gives back what it executes, which may take a while."""
        self._served, self.unusable = self.served(), True

    def served(self) -> float:
        """For how many seconds it has been of use, so far."""
        if self._served is not None:
            return self._served
        return 0.0 if self._serves_since is None else steady() - self._serves_since

    def ended(self) -> int | None:
        """How its process has ended, as `subprocess` has it; None if it lives."""
        return self._process.poll()

    def kill(self) -> None:
        """End it at once; how it ends is no news then."""
        self.killed = True
        self._process.kill()

    def close(self) -> None:
        """It has ended: let go of the socket."""
        self._process.wait()
        self._link.close()


class Crew:
    """The executors of one worker.

    Args:
        options: what the worker serves.
        say: called with a line for people.
        waker: set when one of them has said something.
    """

    def __init__(self, options: Options, say: Callable[[str], None], waker: Waker) -> None:
        self._options, self._say, self._waker = options, say, waker
        self.messages: SimpleQueue[tuple[Member, FromExecutor | None]] = SimpleQueue()
        self.serving: list[Member] = []  # those that claim
        self.coming: list[Member] = []  # those that load edited scripts
        self.retired: list[Member] = []  # those that finish what they execute
        self.apart: list[Member] = []  # those that execute suspects, one each, or the runs of one command line
        self.wanted: dict[bytes, None] = {}  # command lines that an executor is to be started for
        self._useless: set[bytes] = set()  # those for which the scripts cannot be loaded, until they are edited
        self._not_before: dict[bytes, float] = {}
        self._restart_at = 0.0
        self._restarts = 0
        self._paused_until = 0.0

    def start(self, *, apart: bool = False, line: bytes | None = None) -> Member:
        """A new executor, which is in no list yet; `apart`: for one suspect; or for the runs of a command line.

        Raises:
            OSError: no process can be started.
        """
        options = self._options
        orders = Orders(
            state=str(options.state),
            scripts=list(options.scripts),
            modules=list(options.modules),
            folder=options.folder,
            queues=list(options.queues),
            slots=1 if apart else options.slots,
            once=options.once,
            suspects=apart,
            line=line,
            pause=max(self._paused_until - steady(), 0.0),
        )
        return Member(orders, self._heard)

    def start_suspects(self, count: int) -> None:
        """There are so many runs that one more death would make a crash loop."""
        mine = [one for one in self.apart if one.line is None]
        about_to = sum(one.loaded is None for one in mine)
        self.apart += [self.start(apart=True) for _ in range(min(count - about_to, APART - len(mine)))]

    def want(self, lines: Sequence[bytes]) -> None:
        """There are runs of these command lines: they go on in executors that are loaded with them."""
        for line in lines:
            known = next((one for one in self.apart if one.line == line), None)
            if known is not None:
                known.look(dead=True)
            elif line not in self._useless:
                self.wanted[line] = None

    def has_apart(self) -> bool:
        """Is there an executor for suspects or for a command line, or to be one?"""
        return bool(self.apart or self.wanted)

    def _start_wanted(self) -> None:
        for line in list(self.wanted):
            if sum(one.line is not None for one in self.apart) == APART:
                return
            if steady() >= self._not_before.get(line, 0.0):
                del self.wanted[line]
                self.apart.append(self.start(line=line))

    def edited(self) -> None:
        """The scripts were edited: what has loaded them before for a command line is of no use any more."""
        self._useless.clear()
        for one in self.apart:
            if one.line is not None:
                one.tell(Retire())

    def _heard(self, member: Member, message: FromExecutor | None) -> None:
        self.messages.put((member, message))
        self._waker.set()

    def everybody(self) -> list[Member]:
        """All of them."""
        return [*self.serving, *self.coming, *self.retired, *self.apart]

    def reap(self, *, leaving: bool = False) -> None:
        """Let go of those that have ended."""
        for group in (self.serving, self.coming, self.retired, self.apart):
            for member in [one for one in group if one.ended() is not None]:
                group.remove(member)
                code = member.ended()
                member.close()
                if leaving:
                    continue
                if member.line is not None:
                    self._not_before[member.line] = steady() + AGAIN
                    self.wanted.pop(member.line, None)
                    if member.loaded is None or member.loaded.broken or (self._options.once and not member.claims):
                        self._useless.add(member.line)
                if group is self.serving and not (self._options.once and member.idle):
                    self._died(member, code)
                elif code and not member.killed:
                    self._say(f"executor {member.pid} ended with {_how(code)}")
                for one in self.serving:
                    one.look(dead=True)

    def _died(self, member: Member, code: int | None) -> None:
        self._restarts = self._restarts + 1 if member.served() < YOUNG else 0
        self._restart_at = steady() + back_off(self._restarts - 1)
        if not member.unusable:
            self._say(f"executor {member.pid} ended with {_how(code)}; its runs go on in another")

    def replace(self) -> None:
        """Start as many as are missing, unless those before have died too soon."""
        missing = self._options.processes - len(self.serving)
        if missing > 0 and steady() >= self._restart_at:
            try:
                self.serving += [self.start() for _ in range(missing)]
            except OSError as error:
                self._say(f"no executor can be started: {error}")
                self._restart_at = steady() + SLOWEST
        if self.wanted:
            try:
                self._start_wanted()
            except OSError as error:
                self._say(f"no executor can be started: {error}")

    def pause(self, seconds: float) -> None:
        """Nobody claims anything for so long, those that are started meanwhile included."""
        self._paused_until = steady() + seconds
        for one in self.everybody():
            one.tell(Pause(seconds))


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        with suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"
