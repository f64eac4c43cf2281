"""Processes of Python that begin warm: `Popen` and `run` are those of `subprocess`, without most of the imports.

A fresh interpreter spends a fifth of a second of processor time on imports before a script does anything, and the
tests start thousands. Here a process (`warm_server`) has imported perdure once, and forks for each command. The child
has what it would have had: its arguments, environment, folder, path, descriptors, session, `__main__`, and its end.
What is different: modules are imported already, hashes have one seed, and /proc shows the server's command line.

A test that is about one of these uses `subprocess`. What begins otherwise (another interpreter, options of Python,
a shell, variables that Python reads at its start) is started afresh by itself.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SAME = ("LANG", "LC_", "LD_", "MALLOC_", "PYTHON")
"""How the variables begin that a process reads before it can be given others; PYTHONPATH can be given."""
OURS = ("PERDURE_", "WORKFLOW_", "STEP_TIMEOUT")
"""How the variables begin that say something to perdure."""


class _Server:
    """A process that forks: asked for one thing at a time, over a socket. It ends with this process."""

    def __init__(self, environment: Mapping[str, str], modules: Sequence[str] = ()) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            os.set_inheritable(theirs.fileno(), True)
            self._process = subprocess.Popen(
                [sys.executable, str(HERE / "warm_server.py"), str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                env={name: value for name, value in environment.items() if not name.startswith(OURS)},
                stdin=subprocess.DEVNULL,
            )
        self._lines = self._socket.makefile("rb")
        self._lock = threading.Lock()
        self.ended = False
        atexit.register(self.end)
        if modules:
            self.ask(load=modules)

    def end(self) -> None:
        """End the process; what it has forked goes on."""
        self.ended = True
        self._socket.shutdown(socket.SHUT_WR)
        self._process.wait(60)
        self._lines.close()
        self._socket.close()

    def ask(self, descriptors: Sequence[int] = (), **request: Any) -> Any:
        """Its answer."""
        with self._lock:
            line = json.dumps(request).encode() + b"\n"
            if descriptors:
                socket.send_fds(self._socket, [b"+"], descriptors)
            self._socket.sendall(line)
            answer = self._lines.readline()
        assert answer, "the process that forks the others has ended"
        return json.loads(answer)


_servers: dict[frozenset[tuple[str, str]], _Server] = {}
"""By what they have of the variables that a process reads before it can be given others."""
_others: dict[frozenset[tuple[str, str]], tuple[dict[str, str], Sequence[str]]] = {}
"""What else there is a server for: its environment, and what it imports."""


def begins_with(variables: Mapping[str, str], *modules: str) -> None:
    """From now on, what has these variables of Python begins warm too, with these modules."""
    environment = {**os.environ, **variables}
    _others[_same(environment)] = environment, modules


def _running(environment: Mapping[str, str] = os.environ) -> _Server:
    same = _same(environment)
    if same not in _servers:
        _servers[same] = _Server(*_others.get(same, (dict(os.environ), ())))
    return _servers[same]


@contextmanager
def loaded(*modules: str) -> Iterator[None]:
    """In the block, what begins warm has imported these too."""
    _running().ask(load=modules)
    try:
        yield
    finally:
        _begin_anew()


def _begin_anew() -> None:
    server = _servers.pop(_same(os.environ))
    atexit.unregister(server.end)
    server.end()


def _same(environment: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(each for each in environment.items() if each[0].startswith(SAME) and each[0] != "PYTHONPATH")


def _can_fork(args: Any, environment: Mapping[str, str]) -> bool:
    """Is this a script, a module or a program on the command line, for this interpreter as it is?"""
    if not isinstance(args, list | tuple) or len(args) < 2 or not hasattr(os, "pidfd_open"):
        return False
    words = [os.fsdecode(each) for each in args]
    plain = not words[1].startswith("-") or (words[1] in ("-m", "-c") and len(words) > 2)
    same = _same(environment)
    return plain and words[0] == sys.executable and (same == _same(os.environ) or same in _others)


class Popen(subprocess.Popen[Any]):
    """As `subprocess.Popen`."""

    _exit: int | None = None
    """A descriptor of the process, if it was forked."""
    _server: _Server

    def _execute_child(self, args: Any, executable: Any, preexec_fn: Any, close_fds: bool, *rest: Any) -> None:
        pass_fds, cwd, env, _startup, _flags, shell, p2cread, _, _, c2pwrite, _, errwrite, restore, *others = rest
        *users, umask, session, _group = others
        special = executable or preexec_fn or pass_fds or shell or any(each is not None for each in users)
        odd = special or not (close_fds and restore) or umask != -1 or _group not in (None, -1)
        environment = {
            os.fsdecode(name): os.fsdecode(value) for name, value in (os.environ if env is None else env).items()
        }
        if odd or not _can_fork(args, environment):
            super()._execute_child(args, executable, preexec_fn, close_fds, *rest)  # type: ignore[misc]
            return
        self._server = _running(environment)
        self.pid = self._server.ask(
            [each if each != -1 else number for number, each in enumerate((p2cread, c2pwrite, errwrite))],
            argv=[os.fsdecode(each) for each in args],
            env=environment,
            cwd=os.fsdecode(os.path.abspath(cwd or ".")),
            session=bool(session),
        )
        self._child_created = True
        self._exit = os.pidfd_open(self.pid)
        self._close_pipe_fds(*rest[6:12])  # type: ignore[attr-defined]

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if self._exit is None:
            return super()._try_wait(wait_flags)  # type: ignore[misc,no-any-return]
        if not self._is_dead(0 if wait_flags & os.WNOHANG else None):
            return 0, 0
        os.close(self._exit)
        self._exit = None
        return self.pid, 0 if self._server.ended else int(self._server.ask(reap=self.pid))

    def _is_dead(self, milliseconds: int | None) -> bool:
        poller = select.poll()
        poller.register(self._exit, select.POLLIN)  # type: ignore[arg-type]
        return bool(poller.poll(milliseconds))

    def until_dead(self) -> None:
        """Wait until it is dead; its pid is no other process's yet."""
        if self._exit is None:
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        else:
            self._is_dead(None)

    def _internal_poll(self, *args: Any, **options: Any) -> int | None:
        if self._exit is None:
            return super()._internal_poll(*args, **options)  # type: ignore[misc,no-any-return]
        if self.returncode is None and self._waitpid_lock.acquire(False):  # type: ignore[attr-defined]
            try:
                pid, status = self._try_wait(os.WNOHANG)
                if pid == self.pid:
                    self._handle_exitstatus(status)  # type: ignore[attr-defined]
            finally:
                self._waitpid_lock.release()  # type: ignore[attr-defined]
        return self.returncode


def run(
    args: Sequence[str | os.PathLike[str]],
    *,
    input: Any = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **options: Any,
) -> subprocess.CompletedProcess[Any]:
    """As `subprocess.run`."""
    if input is not None:
        options["stdin"] = subprocess.PIPE
    if capture_output:
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Popen(args, **options) as process:
        try:
            out, err = process.communicate(input, timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(process.args, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done
