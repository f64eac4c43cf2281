"""A process that has loaded a script and does nothing but make copies of itself, which make attempts.

A copy costs a fork instead of a start of Python and a load of the script. It is made only if it is no different from a
process that has loaded the script itself: no threads, no open files, nothing to be done at exit. A process that runs a
workflow is never copied. The argument of the program is the descriptor of its socket.
"""

from __future__ import annotations

import atexit
import gc
import os
import select
import signal
import socket
import sys
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Any, NoReturn

import msgspec

from perdure.config.command_line import take
from perdure.config.edit_times import changed_at
from perdure.config.script_loader import is_at_end, load_module, only_loads
from perdure.core.exceptions import capture
from perdure.engines import registry
from perdure.engines.processes import child, forwarded_logs
from perdure.engines.processes.messages import FORK, LINE_PART, REPLY, REQUEST, Start, State, import_from

IDLE = 60.0
"""Seconds without a child, after which it ends; the next attempt starts another."""

_PR_SET_PDEATHSIG = 1

_AT_EXIT = "logging", "multiprocessing.util"
"""Modules that have something done at exit, once in each process, that is meant for copies as well."""

_INSTALLED = os.sep + "site-packages" + os.sep, os.sep + "dist-packages" + os.sep, os.path.dirname(os.__file__) + os.sep


def main() -> None:
    """Become the template of a script, and serve."""
    control = socket.socket(fileno=int(sys.argv[1]))
    start = msgspec.msgpack.decode(control.recv(1 << 20), type=Start)
    parent = os.pidfd_open(start.parent)
    if os.getppid() != start.parent:
        return  # it has died meanwhile
    line = b"".join(control.recv(LINE_PART) for _ in range(start.line))
    take(msgspec.msgpack.decode(line, type=list[bytes]))
    only_loads()
    import_from(start.path)
    forwarded_logs.set_up(start.logs)
    template = Template(control, parent)
    if start.load:
        template.load(start.module, os.fsdecode(start.file))
    template.serve()
    is_at_end()


class _Copy:
    """A child: the number that the parent knows it by, its process, the pipe that says what becomes of it."""

    def __init__(self, number: int, pid: int, state: int) -> None:
        self.number = number
        self.pid = pid
        self.state = state

    def kill(self) -> None:
        """End it and its group. It has not been waited for, so the number is its own."""
        with suppress(OSError):  # it has not become the first of its group yet
            os.killpg(self.pid, signal.SIGKILL)
        with suppress(OSError):
            os.kill(self.pid, signal.SIGKILL)


class Template:
    """The process itself.

    Args:
        control: where the parent asks for children.
        parent: a descriptor of the process of the parent: with it, all of this ends.
    """

    def __init__(self, control: socket.socket, parent: int) -> None:
        self._control = control
        self._parent = parent
        self._children: dict[int, _Copy] = {}
        self._files: dict[str, tuple[int, int]] = {}
        self._unlike = False
        self._edited = False
        self._steps = child.Steps()
        self._reseed: Callable[[], None] | None = None
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._poll.register(parent, select.POLLIN)
        self._die_with_parent = _death_signal()

    # -- the script ---------------------------------------------------------------------------------------------------

    def load(self, module: str, file: str) -> None:
        """Load the script, and find out whether a copy of this process is like one that has loaded it itself."""
        capture.encode(capture.to_fault(ValueError()))  # what nearly every child needs is imported here
        before, known, began = _traces(), set(sys.modules), time.time_ns()
        try:
            load_module(module, file)
            _prepare(self._steps, module)
        except BaseException:  # noqa: BLE001  each child comes to it by itself, and reports it
            self._unlike = True
            return
        self._unlike = _traces() != before
        self._files = _own_files(known)
        now = time.time_ns()
        self._edited = any(began <= modified <= now for modified, _ in self._files.values())
        numpy_random: Any = sys.modules.get("numpy.random")
        self._reseed = getattr(numpy_random, "seed", None)
        gc.collect()
        gc.freeze()

    def _is_edited(self) -> bool:
        self._edited = self._edited or any(_stamp(file) != stamp for file, stamp in self._files.items())
        return self._edited

    # -- children -----------------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Make children until the parent has ended, or does not need them any more."""
        retired = False
        while not retired or self._children:
            events = self._poll.poll(None if self._children else IDLE * 1000)
            if not events:
                return
            for descriptor, _ in events:
                if descriptor == self._parent:
                    for one in self._children.values():
                        one.kill()
                    return
                if descriptor == self._control.fileno():
                    if not self._take():
                        retired = True
                        self._poll.unregister(self._control)
                elif descriptor in self._children:
                    self._reap(descriptor)

    def _take(self) -> bool:
        """A request of the parent; False if it makes no more."""
        try:
            message, descriptors, _, _ = socket.recv_fds(self._control, REQUEST.size, 4)
        except ConnectionError:
            return False
        if not message:
            return False
        kind, number = REQUEST.unpack(message)
        if kind == FORK:
            data, state, out, err = descriptors
            try:
                self._fork(number, data, state, out, err)
            finally:
                for each in (data, out, err):
                    os.close(each)
        else:
            for one in self._children.values():
                if one.number == number:
                    one.kill()
        return True

    def _fork(self, number: int, data: int, state: int, out: int, err: int) -> None:
        if self._unlike or self._is_edited():
            _say(state, State.UNLIKE if self._unlike else State.EDITED, 0)
            os.close(state)
            return
        try:
            pid = os.fork()
        except OSError as error:
            _say(state, State.FAILED, error.errno or 0)
            os.close(state)
            return
        if pid == 0:
            self._be_child(data, out, err)
        descriptor = os.pidfd_open(pid)
        self._children[descriptor] = _Copy(number, pid, state)
        self._poll.register(descriptor, select.POLLIN)
        _say(state, State.STARTED, pid)

    def _be_child(self, data: int, out: int, err: int) -> NoReturn:
        code = 1
        try:
            self._die_with_parent()
            os.setsid()
            os.dup2(out, 1)
            os.dup2(err, 2)
            os.dup2(data, 3, inheritable=False)
            os.closerange(4, max(map(int, os.listdir("/proc/self/fd"))) + 1)
            if self._reseed is not None:
                self._reseed()
            code = child.serve(socket.socket(fileno=3), self._steps, child.finish)
        finally:
            child.finish()
            os._exit(code)

    def _reap(self, descriptor: int) -> None:
        one = self._children.pop(descriptor)
        self._poll.unregister(descriptor)
        os.close(descriptor)
        _, status = os.waitpid(one.pid, 0)
        _say(one.state, State.ENDED, os.waitstatus_to_exitcode(status))
        os.close(one.state)


def _say(pipe: int, state: State, number: int) -> None:
    with suppress(OSError):  # the parent has lost interest
        os.write(pipe, REPLY.pack(state, number))


def _death_signal() -> Callable[[], None]:
    """What a child calls first, such that it dies with the template."""
    import ctypes

    prctl = ctypes.CDLL(None, use_errno=True).prctl
    template = os.getpid()

    def die_with_parent() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != template:
            os._exit(1)

    return die_with_parent


# -- what a copy would share, or not have -----------------------------------------------------------------------------


def _traces() -> tuple[Any, ...]:
    """What a load may leave behind that a copy of the process would not have, or would have in common with others."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        has_children = True
    except ChildProcessError:
        has_children = False
    return (
        len(os.listdir("/proc/self/task")),
        sorted(os.listdir("/proc/self/fd")),
        atexit._ncallbacks() - sum(name in sys.modules for name in _AT_EXIT),
        len(weakref.finalize._registry),  # type: ignore[attr-defined]
        has_children,
    )


def _prepare(steps: child.Steps, module: str) -> None:
    """Make what the steps of the module need for their first call."""
    for spec in registry.every("step"):
        if spec.module != module:
            continue
        if spec.is_async:
            import asyncio

            del asyncio
        with suppress(Exception):  # said when it is called
            steps.prepare(spec)


def _own_files(known: set[str]) -> dict[str, tuple[int, int]]:
    """The files of the program that were loaded, with their stamps; what is installed does not change."""
    return {
        file: _stamp(file)
        for name, module in list(sys.modules.items())
        if name not in known and name.partition(".")[0] != "perdure" and (file := _file_of(module))
    }


def _file_of(module: ModuleType) -> str:
    file = getattr(module, "__file__", None)
    own = isinstance(file, str) and file.endswith(".py") and not any(part in file for part in _INSTALLED)
    return str(file) if own else ""


def _stamp(file: str) -> tuple[int, int]:
    try:
        found = os.stat(file)
    except OSError:
        return 0, -1
    return changed_at(found), found.st_size


if __name__ == "__main__":
    main()
