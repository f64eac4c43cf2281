"""Sees what a workflow does to the world, and refuses what would leave the machine or the scratch folder.

Python tells an audit hook of each connection, request, opened file and started program (PEP 578). A hook stays for the
life of a process, so this is only installed in processes that are thrown away.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import msgspec

from perdure.core.execution.idempotency import idempotency_key
from perdure.core.redaction.printable import one_line
from perdure.crashtest import opened_files
from perdure.crashtest.commits import Commits
from perdure.engines.interface import StepContext, here

SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")
"""Requests that only read (RFC 9110, section 9.2.1)."""

DEEPEST = 20
"""Lines that are noted of where an effect comes from."""

_HEADER = re.compile(r"""\bidempotency-key['"]?\s*[:,]\s*b?['"]?([^\r\n'",})]+)""", re.IGNORECASE)
"""The header by which services know a request (draft-ietf-httpapi-idempotency-key-header), as bytes or in a dict."""

LOOPBACK = ("localhost", "ip6-localhost", "::1", "")

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_TRUNC | os.O_CREAT


class Effect(msgspec.Struct):
    """Something that a workflow did to the world.

    Attributes:
        kind: "http", "mail", "append", "write", "sqlite", "program", "log" for a file that a logger has opened, or
            "enqueue", "signal" or "alert".
        what: the method and address, the path or the program.
        step: in which step; empty in the workflow's own code.
        call: the idempotency key of the call; empty outside of steps.
        keyed: that key went along.
        at: the line of the script, as `file:line`.
        through: the lines from which that was called, the nearest first.
        sent: False if one that was noted was refused after all.
        size: bytes of the file before anything was appended.
        key: a digest of the idempotency key that the request has by a key of the script's own.
    """

    kind: str
    what: str
    step: str = ""
    call: str = ""
    keyed: bool = False
    at: str = ""
    through: list[str] = []
    sent: bool = True
    size: int = 0
    key: str = ""


class Refusal(msgspec.Struct, frozen=True):
    """What was refused: kind "host", "path", "program" or "input"."""

    kind: str
    what: str
    step: str
    at: str


Place = tuple[str, str]
"""A step, and the idempotency key of its call."""

NOWHERE: Place = ("", "")
"""The workflow's own code."""


class Refused(PermissionError):
    """What would leave the scratch folder or the machine is not done under `perdure crashtest`."""


class Effects:
    """The audit hook of a life.

    Args:
        copy: the copy of the user's folder, in which effects are looked for.
        roots: folders that may be written to.
        hosts: names and addresses beside loopback that may be connected to.
        programs: names of programs that may be started.
        note: is given each effect and refusal.
        reached: is called with the kind of a point and the step, when an effect was answered and before a file is
            changed; may be given what the process does yet before it dies there.
    """

    def __init__(
        self,
        copy: Path,
        roots: Sequence[Path],
        hosts: Sequence[str] = (),
        programs: Sequence[str] = (),
        note: Callable[[Effect | Refusal], None] = lambda effect: None,
        reached: Callable[..., None] = lambda kind, step, last=None: None,
    ) -> None:
        self.copy = copy
        self.note = note
        self._reached = reached
        self._folder = f"{copy}{os.sep}"
        self._roots = tuple(f"{root}{os.sep}" for root in roots)
        self._of_process = f"/proc/{os.getpid()}/"
        self._hosts = set(hosts)
        self._addresses: set[str] = set()
        self._own_name = platform.node()  # clients of mail ask what it is called in whole
        self._programs = set(programs)
        self._busy = threading.local()
        self._thread = threading.local()
        self._started: WeakKeyDictionary[threading.Thread, Place] = WeakKeyDictionary()
        self._refused = 0
        self._handlers: dict[str, Callable[..., object]] = {
            "socket.connect": self._connect,
            "socket.sendto": self._connect,
            "socket.sendmsg": self._connect,
            "socket.getaddrinfo": self._look_up,
            "socket.gethostbyname": self._look_up,
            "socket.gethostbyaddr": self._look_up,
            "builtins.input": self._ask,
            "open": self._open,
            "sqlite3.connect": self._database,
            "subprocess.Popen": self._program,
            "os.posix_spawn": self._program,
            "os.exec": self._program,
            "os.system": lambda command: self._program(None, command),
        }
        for event in ("os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod", "os.chown", "os.utime"):
            self._handlers[event] = lambda path, *more: self._change(path)
        for event in ("os.rename", "os.link", "os.symlink"):
            self._handlers[event] = lambda source, target, *more: self._change(target)

    def install(self) -> None:
        """From now on, until the process ends."""
        sys.addaudithook(self._hook)

    def effect(self, kind: str, what: str, sent: Sequence[object] = (), size: int = 0) -> Effect:
        """Note an effect of the step that is being executed.

        Args:
            kind: of `Effect`.
            what: of `Effect`.
            sent: what goes along; looked through for the idempotency key.
            size: of `Effect`.
        """
        step, call = self._step()
        at, *through = self._lines() or [""]
        keyed = bool(call) and _mentions(sent, call)
        effect = Effect(kind, what, step, call, keyed, at, through, size=size, key=_key(sent))
        self.note(effect)
        return effect

    def performed(self, step: str) -> None:
        """An effect of that step was answered."""
        self._reached("effect", step)

    @contextmanager
    def unless_refused(self, effect: Effect | None) -> Iterator[None]:
        """Around a request that was noted: if it fails since its host is refused, nothing was sent."""
        refused = self._refused
        try:
            yield
        except BaseException:
            if effect is not None and self._refused > refused:
                effect.sent = False
                self.note(effect)
            raise

    def also_sent(self, effect: Effect, sent: object) -> None:
        """More went along with an effect that was noted."""
        if effect.call and not effect.keyed and _mentions((sent,), effect.call):
            effect.keyed = True
            self.note(effect)

    # -- the hook -----------------------------------------------------------------------------------------------------

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        handler = self._handlers.get(event)
        if handler is None or getattr(self._busy, "now", False):
            return
        self._busy.now = True
        try:
            handler(*args)
        finally:
            self._busy.now = False

    def _step(self) -> Place:
        context = here.get()
        if not isinstance(context, StepContext):
            asked = getattr(self._thread, "stands_for", None)
            return asked or self._started.get(threading.current_thread()) or NOWHERE
        call = context.call
        return call.spec.name, idempotency_key(context.run_id, call.spec.name, call.key + call.salt, call.n)

    def _lines(self) -> list[str]:
        """The lines of the user's files that are being executed, the innermost first."""
        lines: list[str] = []
        frame: Any = sys._getframe(2)
        while frame is not None and len(lines) < DEEPEST:
            file = frame.f_code.co_filename
            if file.startswith(self._folder):
                lines.append(f"{file[len(self._folder) :]}:{frame.f_lineno}")
            frame = frame.f_back
        return lines

    def _deny(self, kind: str, what: str, hint: str) -> None:
        self._refused += kind == "host"
        self.note(Refusal(kind, what, self._step()[0], next(iter(self._lines()), "")))
        raise Refused(f"perdure crashtest refuses {what}: {hint}")

    # -- hosts --------------------------------------------------------------------------------------------------------

    def _connect(self, sock: Any, address: Any) -> None:
        if not isinstance(address, tuple) or not address:
            return  # a socket of this machine
        host = str(address[0])
        if _is_loopback(host) or host in self._hosts or host in self._addresses:
            return
        self._deny("host", host, f"allow it with --allow-host {host}, or replace the step with --stub STEP=JSON")

    def _look_up(self, host: Any, *more: Any) -> None:
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")
        if _is_loopback(name) or _is_address(name) or name == self._own_name:
            return
        if name not in self._hosts:
            self._deny("host", name, f"allow it with --allow-host {name}, or replace the step with --stub STEP=JSON")
        import socket

        self._addresses.update(str(found[4][0]) for found in socket.getaddrinfo(name, None))

    # -- threads ------------------------------------------------------------------------------------------------------

    def thread_starts(self, thread: threading.Thread) -> None:
        """What a thread does is done by the step that starts it."""
        place = self._step()
        if place != NOWHERE:
            self._started[thread] = place

    def of_this_step(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function for a thread of a pool: what it does is done by the step that asks for it now."""
        place = self._step()

        def asked(*args: Any, **kwargs: Any) -> Any:
            self._thread.stands_for = place
            try:
                return function(*args, **kwargs)
            finally:
                self._thread.stands_for = None

        return asked if place != NOWHERE else function

    # -- files --------------------------------------------------------------------------------------------------------

    def _open(self, path: Any, mode: Any, flags: Any) -> None:
        if isinstance(path, int) or path is None:
            return
        if mode is None:
            if not flags & _WRITES:
                return
            append = bool(flags & os.O_APPEND)
        else:
            if not any(letter in mode for letter in "wax+"):
                return
            append = "a" in mode
        place = self._allowed(path)
        if not place.startswith(self._folder):
            return
        what = place[len(self._folder) :]
        if opened_files.is_log():
            self.effect("log", what)
            return
        step = self._step()[0]
        self._reached("change", step)
        if append:
            self.effect("append", what, size=opened_files.size(place))
            return
        self.effect("write", what)
        anew = flags & (os.O_TRUNC | os.O_EXCL) if isinstance(flags, int) else 0
        if anew:
            self._reached("cut", step, lambda: opened_files.opened(place, flags))

    def _database(self, name: Any) -> None:
        path = os.fsdecode(name) if isinstance(name, bytes | os.PathLike) else str(name)
        if path in (":memory:", "") or "mode=ro" in path or "mode=memory" in path:
            return
        place = self._allowed(path.removeprefix("file:").partition("?")[0])
        if place.startswith(self._folder):
            self.effect("sqlite", place[len(self._folder) :])
            self._thread.opened = True

    def watch_commits(self, connection: Any) -> None:
        """A database is open (a connection of sqlite3); if it lies in the copy, each of its commits is a change."""
        if getattr(self._thread, "opened", False):
            self._thread.opened = False
            connection.set_trace_callback(Commits(lambda: self._reached("change", self._step()[0])))

    def _change(self, path: Any) -> None:
        place = self._allowed(path)
        if not place.startswith(self._folder):
            return
        if opened_files.is_log():
            self.effect("log", place[len(self._folder) :])
        else:
            self._reached("change", self._step()[0])

    def _allowed(self, path: Any) -> str:
        """Where a file lies that is changed; refused outside of the folders that may be written to."""
        if isinstance(path, int):
            return ""
        place = os.path.realpath(os.fsdecode(path))
        if not f"{place}{os.sep}".startswith((*self._roots, self._of_process)) and not opened_files.is_device(place):
            self._deny("path", place, "it lies outside of the copy; take a path beside the script, or --copy DIR")
        return place

    # -- people -------------------------------------------------------------------------------------------------------

    def _ask(self, prompt: Any) -> None:
        self._deny(
            "input",
            one_line(f"to ask {str(prompt).strip()!r}"),
            "let the workflow take it as an argument, or --stub STEP=JSON",
        )

    # -- programs -----------------------------------------------------------------------------------------------------

    def interpreter(self, words: Sequence[Any]) -> None:
        """Python starts another Python without an audit event: `spawn` and `forkserver` of multiprocessing."""
        texts = [os.fsdecode(each) for each in words]
        if not any("multiprocessing.resource_tracker" in text for text in texts):  # it only removes what others forget
            self._program(sys.executable, texts)

    def _program(self, executable: Any, args: Any = (), *more: Any) -> None:
        words = args.split() if isinstance(args, str) else [os.fsdecode(each) for each in args or ()]
        named = os.path.basename(os.fsdecode(executable)) if executable else ""
        if named in ("sh", "bash") and len(words) >= 3 and words[1] == "-c":  # shell=True
            words = words[2].split()
            named = ""
        name = named or os.path.basename(words[0] if words else "")
        if name not in self._programs:
            self._deny(
                "program", name, f"what it does cannot be seen; allow it with --allow-program {name}, or stub the step"
            )
        self.effect("program", name)


def _key(sent: Sequence[object]) -> str:
    for each in sent:
        found = _HEADER.search(_text(each))
        if found is not None:
            return hashlib.blake2b(found[1].encode("utf-8", "replace"), digest_size=16).hexdigest()
    return ""


def _text(sent: object) -> str:
    return sent.decode("latin-1") if isinstance(sent, bytes | bytearray) else str(sent)


def _mentions(sent: Sequence[object], key: str) -> bool:
    return any(key in _text(each) for each in sent)


def _is_loopback(host: str) -> bool:
    return host in LOOPBACK or host.startswith("127.") or host == "0.0.0.0"  # noqa: S104  where one may listen


def _is_address(host: str) -> bool:
    import ipaddress

    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
