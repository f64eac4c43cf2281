"""A program that a step runs: in a session of its own, which is ended with the attempt, in whatever way that ends."""

from __future__ import annotations

import _thread
import atexit
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any, ClassVar

from perdure.config import secrets
from perdure.config.steady_clock import steady
from perdure.core.durations import show
from perdure.core.execution.spec import Call
from perdure.core.process_marks import PROCESS, STEP
from perdure.engines.interface import StepContext, here
from perdure.engines.runtime import orphans
from perdure.errors import PerdureError, StepTimeout, UsageError

Words = Sequence[str | os.PathLike[str]]

TAIL = 4_000
"""Characters of standard error that an error keeps, the last ones."""

GRACE = 2.0
LOOK = 0.01
"""Seconds: a group that is asked to end has so long; so often it is looked at."""

BLOCK = 1 << 16
"""Bytes of output that are read at a time: as many as a pipe holds."""

DRAIN = 5.0
LATE = 0.5
"""Seconds that output is waited for after the end, if a program that has left the group holds it: in time, late."""


class CommandFailed(PerdureError, subprocess.CalledProcessError):
    """A program ended with an exit code that is not 0, or by a signal.

    Args:
        returncode: as in subprocess.
        cmd: the command as a text, with credentials taken out.
        output: what it wrote to standard output.
        stderr: the last part of what it wrote to standard error.
    """

    code: ClassVar[str] = "command-failed"

    def __init__(self, returncode: int, cmd: str, output: str | None = None, stderr: str | None = None) -> None:
        subprocess.CalledProcessError.__init__(self, returncode, cmd, output, stderr)
        how = f"exit code {returncode}" if returncode >= 0 else _signal(-returncode)
        last = (stderr or "").rstrip().rpartition("\n")[2].strip()
        self.what = f"{cmd} ended with {how}" + (f": {last}" if last else "")
        self.hint = "run the command by hand, or handle perdure.CommandFailed where an exit code is expected"

    __str__ = PerdureError.__str__


class Program:
    """A program under way; making one starts it.

    Args:
        command: the program and its arguments, or one text for the shell.
        shell: `command` is a text for the shell.
        cwd: its working directory.
        env: its environment; that of this process if it is None.
        given: is written to its standard input, which is empty otherwise.
        stdout: a file that its standard output goes to, instead of being returned.

    Raises:
        OSError: it cannot be started.
        UsageError: called in a workflow outside a step, or with a text that is not for the shell.
    """

    def __init__(
        self,
        command: Words | str,
        *,
        shell: bool = False,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        given: str | None = None,
        stdout: IO[Any] | None = None,
    ) -> None:
        words = _checked(command, shell=shell)
        self.text = secrets.conceal(command if isinstance(command, str) else shlex.join(str(word) for word in command))
        context = here.get()
        if context is not None and not isinstance(context, StepContext):
            raise UsageError(
                "perdure.sh() was called in a workflow, outside a step", "call it in a function decorated with @step"
            )
        self._call: Call | None = context.call if context is not None else None
        orphans.mark_process()
        marked = dict(os.environ if env is None else env) | {PROCESS: os.environ[PROCESS]}
        if context is not None:
            marked[STEP] = orphans.mark_of(context)
        self._output: list[str] = []
        self._tail = ""
        self._lock = threading.Lock()
        self._ended = False
        options = {"shell": shell, "cwd": cwd, "env": marked, "stdout": subprocess.PIPE if stdout is None else stdout}
        self._pumps: list[threading.Thread] = []
        _uninterrupted(lambda: self._start(words, given, **options), self)

    def _start(self, words: Words | str, given: str | None, **options: Any) -> None:
        stdin = subprocess.DEVNULL if given is None else subprocess.PIPE
        self._process = subprocess.Popen(words, stdin=stdin, stderr=subprocess.PIPE, start_new_session=True, **options)
        _add(self._call, self)
        pumps = [
            threading.Thread(target=pump, args=(stream,), daemon=True)
            for pump, stream in (
                (self._read_output, self._process.stdout),
                (self._read_errors, self._process.stderr),
            )
            if stream is not None
        ]
        if given is not None:
            pumps.append(threading.Thread(target=self._feed, args=(given,), daemon=True))
        try:
            for each in pumps:
                each.start()
                self._pumps.append(each)
        except BaseException:  # no thread is to be had
            self.end()
            for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
                if pipe is not None:
                    pipe.close()
            raise

    def wait(self, timeout: float | None = None) -> str:
        """Wait until it has ended; returns what it wrote to standard output.

        However this is left, no program of its group runs any more.

        Raises:
            CommandFailed: it ended with another exit code than 0.
            StepTimeout: it did not end in time.
        """
        in_time = False
        try:
            in_time = self._wait_for_exit(timeout)
        finally:
            self.end(DRAIN if in_time else LATE)
        output, tail = "".join(self._output), self._tail
        if not in_time:
            assert timeout is not None
            error: PerdureError = StepTimeout(
                f"{self.text} did not end within {show(timeout)}, and was ended with its process group",
                "give it more time, or find out what it waits for",
            )
        elif self._process.returncode:
            error = CommandFailed(self._process.returncode, self.text, output, tail)
        else:
            return output
        if tail.strip():
            error.add_note(f"the end of its standard error:\n{tail.rstrip()}")
        raise error

    def end(self, drain: float = DRAIN) -> None:
        """End it and every program of its group: asked first, then killed; its output is waited for so many seconds."""
        with self._lock:
            if self._ended:
                return
            self._ask_and_kill()
            self._ended = True
        _remove(self._call, self)
        until = steady() + drain
        for each in self._pumps:
            each.join(max(until - steady(), 0.0))

    def _ask_and_kill(self) -> None:
        self._signal(signal.SIGTERM)
        until = steady() + GRACE
        while self._is_alive():
            if steady() > until:
                self._signal(getattr(signal, "SIGKILL", signal.SIGTERM))
                break
            time.sleep(LOOK)
        self._process.wait()

    def _is_alive(self) -> bool:
        ended = self._process.poll() is not None
        if not hasattr(os, "killpg"):
            return not ended
        try:
            os.killpg(self._process.pid, 0)
        except OSError:
            return False
        return True

    def _signal(self, number: int) -> None:
        # A group keeps its number from being given again for as long as one process of it is there.
        with suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, number)
            else:
                self._process.kill()

    def _wait_for_exit(self, timeout: float | None) -> bool:
        if not hasattr(os, "pidfd_open"):
            return _polled(self._process, timeout)
        import select

        try:
            descriptor = os.pidfd_open(self._process.pid)
        except OSError:  # it is over already, or the system is an older one
            return _polled(self._process, timeout)
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            if not poll.poll(None if timeout is None else timeout * 1000):
                return False
        finally:
            os.close(descriptor)
        self._process.wait()
        return True

    # -- what it writes -----------------------------------------------------------------------------------------------

    def _read_output(self, stream: IO[bytes]) -> None:
        with stream:
            for text in _lines(stream):
                self._output.append(text)
                _show(secrets.conceal(text))

    def _read_errors(self, stream: IO[bytes]) -> None:
        with stream:
            for text in _lines(stream):
                shown = secrets.conceal(text)
                self._tail = (self._tail + shown)[-TAIL:]
                _show(shown)

    def _feed(self, given: str) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # it does not read all of it
            self._process.stdin.write(given.encode())
        with suppress(OSError):
            self._process.stdin.close()


def _uninterrupted(start: Callable[[], None], program: Program) -> None:
    """Start it where no signal's handler (Ctrl-C, a timeout) breaks in between the fork and what ends the program.

    On the main thread that is a thread of its own. What breaks in meanwhile is raised when the program has been ended.
    """
    if threading.current_thread() is not threading.main_thread():
        start()
        return
    raised: list[BaseException] = []
    ended: list[bool] = []
    over = threading.Lock()
    over.acquire()

    def work() -> None:
        try:
            start()
        except BaseException as error:  # noqa: BLE001  it is the caller's
            raised.append(error)
        finally:
            ended.append(True)
            over.release()

    try:
        _thread.start_new_thread(work, ())  # in one instruction: a Thread's start can be broken off in the middle
        over.acquire()
    except BaseException as error:
        if "start new thread" in str(error):
            raise
        if not ended:  # else what breaks in may have come just when the lock was had
            over.acquire()
        if not raised:
            program.end()
        raise
    if raised:
        raise raised[0]


def end_programs(call: Call) -> None:
    """An attempt of this call is over, although its thread does not know: end its programs, and do not wait."""
    for program in _running.get(id(call), [])[:]:
        threading.Thread(target=program.end, daemon=True).start()


_running: dict[int, list[Program]] = {}
_mutex = threading.Lock()


def _add(call: Call | None, program: Program) -> None:
    with _mutex:
        _running.setdefault(id(call), []).append(program)


def _remove(call: Call | None, program: Program) -> None:
    with _mutex:
        left = [each for each in _running.get(id(call), []) if each is not program]
        if left:
            _running[id(call)] = left
        else:
            _running.pop(id(call), None)


@atexit.register
def _end_all() -> None:
    """The process ends while threads that it leaves behind run programs still."""
    for programs in list(_running.values()):
        for program in programs:
            program.end()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_running.clear)


def _checked(command: Words | str, *, shell: bool) -> Words | str:
    if isinstance(command, str) != shell:
        raise UsageError(
            f"perdure.sh() was given {'a text without shell=True' if not shell else 'a list with shell=True'}",
            'give a list, such as ["pg_dump", "-f", path]; one text is for the shell, with shell=True',
        )
    return command


def _polled(process: subprocess.Popen[bytes], timeout: float | None) -> bool:
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        return False
    return True


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _lines(stream: Any) -> Iterator[str]:
    """Whole lines, as many at a time as are there: all that a program has left is read within `DRAIN`."""
    begun: list[bytes] = []
    while data := stream.read1(BLOCK):
        lines, end, rest = data.rpartition(b"\n")
        if end:
            yield b"".join([*begun, lines, end]).decode(errors="replace")
            begun.clear()
        begun.append(rest)
    if last := b"".join(begun):
        yield last.decode(errors="replace")


def _show(text: str) -> None:
    with suppress(OSError, ValueError):  # standard error is closed
        sys.stderr.write(text)
        sys.stderr.flush()
