"""The processes that copies are made of, one for each module: started when they are needed, and given up when not."""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from functools import partial
from itertools import count

import msgspec

from perdure.config.command_line import packed
from perdure.config.interpreter import module_command
from perdure.config.steady_clock import steady
from perdure.core.execution.spec import Spec
from perdure.core.process_marks import STEP, TEMPLATE
from perdure.engines.processes import forwarded_logs
from perdure.engines.processes.attempt_output import levels
from perdure.engines.processes.child_process import ChildProcess, Ended, TimeOver
from perdure.engines.processes.messages import FORK, KILL, LINE_PART, REPLY, REQUEST, Setup, Start, State, folders

TRIES = 8
"""Templates that are tried for a child: each may find that it was edited, or be killed."""

PATIENCE = 60.0
"""Seconds that it may take to load a script; a process that makes attempts has the step's timeout if that is longer."""

Key = tuple[str, str]


class Template:
    """One of them, as the process sees it that has started it.

    Args:
        key: the module's name and its file.
        load: it is to load the script; else each child does that by itself.
    """

    def __init__(self, key: Key, load: bool) -> None:
        self.load = load
        self.proven = False  # it has made a child
        self._born = steady()
        self._numbers = count(1)
        module, file = key
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._process = subprocess.Popen(
                module_command("perdure.engines.processes.template_main", str(theirs.fileno())),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, STEP: TEMPLATE},
            )
        except BaseException:
            self._control.close()
            raise
        finally:
            theirs.close()
        with suppress(OSError):  # it has ended already, which is seen when a child is asked for
            line = msgspec.msgpack.encode(packed())
            parts = [line[at : at + LINE_PART] for at in range(0, len(line), LINE_PART)]
            start = Start(module, os.fsencode(file), folders(), os.getpid(), load, forwarded_logs.wanted(), len(parts))
            for message in (msgspec.msgpack.encode(start), *parts):
                self._control.send(message)

    def fork(self) -> ChildProcess:
        """Ask for a child; what comes of that, it says itself."""
        number = next(self._numbers)
        ours, theirs = socket.socketpair()
        state, writing = os.pipe()
        with theirs:
            try:
                streams = [_stream(1), _stream(2)]
                with suppress(OSError):  # it has ended, which is seen at the other end of the pipe
                    socket.send_fds(self._control, [REQUEST.pack(FORK, number)], [theirs.fileno(), writing, *streams])
            finally:
                os.close(writing)
        return ChildProcess(ours, state, partial(self._kill, number))

    def _kill(self, number: int) -> None:
        with suppress(OSError):
            self._control.send(REQUEST.pack(KILL, number))

    def hangs(self) -> bool:
        """Has it not come to an end with what it loads, in a long while?"""
        return not self.proven and steady() >= self.late_at

    @property
    def late_at(self) -> float:
        """When it has to have loaded the script at the latest, by the steady clock."""
        return self._born + PATIENCE

    def retire(self) -> None:
        """It is asked for no more children, and ends with the last of those that it has."""
        self._control.close()
        self.forget()

    def end(self) -> int:
        """End it at once, with all of its children; returns its exit code."""
        self._control.close()
        self._process.kill()
        return self._process.wait()

    def code(self) -> int:
        """The exit code of one that answers no more. It has ended, or is ended."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        return self.end()

    def forget(self) -> None:
        """Do not wait for its end."""
        if self._process.poll() is None:
            _left.append(self._process)

    def leave(self) -> None:
        """In a copy of the process that has started it: it is not this one's."""
        self._control.close()
        self._process.returncode = 0


def _stream(descriptor: int) -> int:
    """A standard stream of this process; if it is closed, one that leads nowhere."""
    global _nowhere
    try:
        os.fstat(descriptor)
    except OSError:
        if _nowhere < 0:
            _nowhere = os.open(os.devnull, os.O_WRONLY)
        return _nowhere
    return descriptor


_nowhere = -1

_templates: dict[Key, Template] = {}
_unlike: set[Key] = set()
"""Modules that each child has to load by itself."""
_left: list[subprocess.Popen[bytes]] = []
"""Those that end by themselves, not waited for yet."""
_lock = threading.Lock()
_readying = threading.Lock()


def start_child(spec: Spec, until: float) -> ChildProcess:
    """A process that makes attempts of the step, and of others of its module.

    Raises:
        TimeOver: there is none by then.
        Ended: it cannot be made: what should do it ends.
        OSError: the system gives no process.
    """
    key = spec.module, spec.file
    child = _copy(key, until) if _can_copy() else _spawn()
    child.send(msgspec.msgpack.encode(_setup(key)))
    return child


def is_ready(spec: Spec) -> bool:
    """Is a child of the step's module made at once?"""
    found = _templates.get((spec.module, spec.file))
    return not _can_copy() or (found is not None and (found.proven or not found.load))


def make_ready(spec: Spec) -> None:
    """Wait until children of the step's module are made at once, or it has turned out that they are not."""
    with _readying:
        if is_ready(spec):
            return
        with suppress(TimeOver, Ended, OSError):  # an attempt meets the same, and says so
            child = start_child(spec, steady() + PATIENCE)
            child.end() if spec.workers is None else spec.workers.give_back(child)


def prepare(spec: Spec) -> None:
    """Children of the step's module will be asked for: begin with what takes a while."""
    if _can_copy():
        _template((spec.module, spec.file))


def _copy(key: Key, until: float) -> ChildProcess:
    code: int | None = None
    for _ in range(TRIES):
        template = _template(key)
        child = template.fork()
        try:
            found = child.wait_started(until if template.proven else min(until, template.late_at))
        except BaseException as error:
            child.close()
            if not isinstance(error, TimeOver) or not template.hangs():
                raise
            _drop(key, template)
            template.end()
            _unlike.add(key)
            if steady() >= until:
                raise
            continue  # a child loads the script by itself
        if found is not None and found[0] == State.STARTED:
            template.proven = True
            return child
        child.close()
        if found is not None and found[0] == State.FAILED:
            raise OSError(found[1], os.strerror(found[1]))
        _drop(key, template)
        if found is not None:
            if found[0] == State.UNLIKE:
                _unlike.add(key)
            template.retire()
            continue
        code = template.code()
        if not template.proven and template.load:
            _unlike.add(key)  # the script ends the process that loads it: each child comes to that by itself
    raise Ended(code)


def _template(key: Key) -> Template:
    with _lock:
        found = _templates.get(key)
        if found is None:
            _see_to_ends()
            _left[:] = [one for one in _left if one.poll() is None]
            found = _templates[key] = Template(key, key not in _unlike)
        return found


def _drop(key: Key, template: Template) -> None:
    with _lock:
        if _templates.get(key) is template:
            del _templates[key]


def _setup(key: Key) -> Setup:
    module, file = key
    try:
        folder = os.getcwdb()
    except OSError:  # it was removed
        folder = b""
    return Setup(
        module,
        os.fsencode(file),
        folders(),
        folder,
        list(os.environb.items()),
        levels(),
        forwarded_logs.wanted(),
        packed(),
    )


# -- where no copies can be made --------------------------------------------------------------------------------------


def _can_copy() -> bool:
    """Copies need descriptors of processes, which Linux has; elsewhere libraries of the system forbid forks."""
    global _copies
    if _copies is None:
        try:
            os.close(os.pidfd_open(os.getpid()))
            _copies = sys.platform == "linux"
        except (AttributeError, OSError):
            _copies = False
    return _copies


_copies: bool | None = None


def _spawn() -> ChildProcess:
    """A program of its own, which loads the script."""
    ours, theirs = socket.socketpair()
    state, writing = os.pipe()
    with theirs:
        try:
            process = subprocess.Popen(
                module_command("perdure.engines.processes.child", str(theirs.fileno())),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            os.close(state)
            os.close(writing)
            raise
    threading.Thread(target=_report_end, args=(process, writing), name="perdure-child", daemon=True).start()
    return ChildProcess(ours, state, partial(_kill_group, process))


def _report_end(process: subprocess.Popen[bytes], writing: int) -> None:
    code = process.wait()
    with suppress(OSError):
        os.write(writing, REPLY.pack(State.ENDED, code))
    os.close(writing)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    import signal

    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()


# -- the end of this process, and copies of it ------------------------------------------------------------------------


def _end_all() -> None:
    while _templates:
        _templates.popitem()[1].end()
    for process in _left:
        if process.poll() is None:
            process.returncode = 0  # no warning that nobody has waited for it
    _left.clear()


def _leave_all() -> None:
    global _lock, _readying
    _lock, _readying = threading.Lock(), threading.Lock()
    for template in _templates.values():
        template.leave()
    _templates.clear()
    for process in _left:
        process.returncode = 0
    _left.clear()


def _see_to_ends() -> None:
    """At the first template: it ends with this process, and is not one of its copies'."""
    global _sees_to_ends
    if not _sees_to_ends:
        _sees_to_ends = True
        atexit.register(_end_all)
        os.register_at_fork(after_in_child=_leave_all)


_sees_to_ends = False
