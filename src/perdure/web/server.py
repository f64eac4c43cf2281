"""`perdure ui`: listens, lets the browser in, and serves until it is ended. Nothing of a run depends on it."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from perdure.errors import OptionError, PerdureError
from perdure.http.listening import listening, server

if TYPE_CHECKING:
    from perdure.operations.location import Location
    from perdure.web.endpoints import Desk
    from perdure.web.session import Session

PORT: Final = 8737
"""Where it listens if nothing is said and the port is free; else a free one."""

AT_ONCE: Final = 32
"""Connections; further ones are answered 503."""


class Options(msgspec.Struct, frozen=True):
    """How to serve.

    Attributes:
        host: where to listen.
        port: at which port; None: the usual one, or a free one.
        socket: a Unix socket to listen at instead.
        allow_hosts: further names, with their ports, that the server goes by.
        allow_actions: something may be changed although others than this machine can reach it.
        read_only: nothing may be changed.
        open: open the browser.
        root_path: the path below which a proxy serves it: "/perdure".
    """

    host: str = "127.0.0.1"
    port: int | None = None
    socket: Path | None = None
    allow_hosts: Sequence[str] = ()
    allow_actions: bool = False
    read_only: bool = False
    open: bool = True
    root_path: str = ""


def serve(location: Location, options: Options, say: Callable[[str], None]) -> None:
    """Serve a state file until Ctrl-C or SIGTERM.

    Args:
        location: the state file.
        options: how.
        say: tells the user a line.

    Raises:
        OptionError: an option is not valid, the port is in use, or a package is not installed.
        NotFound: there is no state file.
        StateError: it cannot be used.
    """
    for name in ("starlette", "uvicorn"):
        if find_spec(name) is None:
            raise OptionError(
                f"perdure ui needs the package {name}, which is not installed", 'pip install "perdure[ui]"'
            )
    if options.root_path and re.fullmatch(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]{1,64}){1,8}", options.root_path) is None:
        raise OptionError(
            f"--root-path {options.root_path} is no path", 'give one that begins with "/" and does not end so: /perdure'
        )
    from perdure.operations.location import opened
    from perdure.web.guard import is_loopback
    from perdure.web.session import Session

    loopback = options.socket is not None or is_loopback(options.host)
    if not loopback and not options.allow_hosts:
        raise OptionError(
            f"--host {options.host} can be reached from other machines, and --allow-host does not say by which name",
            "give 127.0.0.1; or name how it is reached: --allow-host HOST:PORT, behind TLS",
        )
    with opened(location):
        pass  # what is wrong with the file is said here, and not on a page
    read_only = options.read_only or (not loopback and not options.allow_actions)
    session = Session(_token())
    listener, address, hosts = _listen(options)
    try:
        _Serving(location, session, listener, address, read_only).run(hosts, options, say)
    finally:
        listener.close()
        if options.socket is not None:
            options.socket.unlink(missing_ok=True)


def _token() -> str | None:
    from perdure.web.session import SHORTEST

    token = os.environ.get("PERDURE_UI_TOKEN")
    if token and (len(token) < SHORTEST or not token.isascii() or not token.isprintable() or " " in token):
        raise OptionError("PERDURE_UI_TOKEN is too short, or no token", "give at least 32 random characters")
    return token or None


class _Serving:
    """A server that listens. `address` is how the browser gets there; empty for a socket."""

    def __init__(
        self, location: Location, session: Session, listener: socket.socket, address: str, read_only: bool
    ) -> None:
        self._location = location
        self._session = session
        self._listener = listener
        self._address = address
        self._read_only = read_only
        self._outside = ""  # how a proxy is reached

    def run(self, hosts: Sequence[str], options: Options, say: Callable[[str], None]) -> None:
        """Serve until the end. A browser is started first: it takes a while to come, as what answers takes to load."""
        self._address += options.root_path if self._address else ""
        named = f"https://{options.allow_hosts[0]}" if options.allow_hosts else "http://localhost:PORT"
        self._outside = f"{named}{options.root_path}"
        say(f"state file  {self._location.path}{'  (read-only)' if self._read_only else ''}")
        if self._address:
            say(f"listens at  {self._address}/")
        else:
            say(f"listens at  {options.socket}")
        say("ends with   Ctrl-C; no run is affected")
        page = self._open(say) if options.open and self._address else None
        if page is None:
            self._say_link(say)
        try:
            with suppress(KeyboardInterrupt):
                self._answer(hosts, options, say)
        finally:
            if page is not None:
                shutil.rmtree(page.parent, ignore_errors=True)

    def _answer(self, hosts: Sequence[str], options: Options, say: Callable[[str], None]) -> None:
        # The server raises the signal that ended it once more: as Ctrl-C, so that what was made for it is removed.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        from perdure.web.app import make_app
        from perdure.web.connections import Connection
        from perdure.web.endpoints import Desk
        from perdure.web.guard import Hosts
        from perdure.web.jobs import Jobs

        desk = Desk(self._location, self._read_only, Jobs())
        app = make_app(
            desk,
            self._session,
            Hosts((*hosts, *options.allow_hosts), any_port=options.socket is not None),
            options.root_path,
        )
        served = server(app, AT_ONCE, http=Connection, timeout_graceful_shutdown=1)
        if sys.stdin is not None and sys.stdin.isatty():
            say("            Enter prints another link")
            threading.Thread(target=self._links, args=(say,), name="perdure-ui-links", daemon=True).start()
        threading.Thread(target=self._prepare, args=(desk,), name="perdure-ui-prepare", daemon=True).start()
        asyncio.run(served.serve(sockets=[self._listener]))

    def _prepare(self, desk: Desk) -> None:
        """Make what the first page needs, before it is asked for: the script, and the modules behind the overview."""
        from perdure.web import api_reading, packing
        from perdure.web.answers import answer
        from perdure.web.endpoints import Nothing

        for made in packing.assets().values():
            packing.packed(made)
        with suppress(PerdureError):  # whoever asks is told
            api_reading.about(desk, {}, Nothing())
            answer(api_reading.first_page(desk, {}, Nothing()))

    def _links(self, say: Callable[[str], None]) -> None:
        for _ in sys.stdin:
            self._say_link(say)

    def _say_link(self, say: Callable[[str], None]) -> None:
        where = self._address or self._outside
        say(f"open        {where}/#{self._session.new_code()}   (once, within a minute)")

    def _open(self, say: Callable[[str], None]) -> Path | None:
        """Open the browser on a file that only this user can read: an argument would be seen by others."""
        starter = _starter()
        if starter is None:
            return None
        folder = Path(tempfile.mkdtemp(prefix="perdure-ui-"))
        page = folder / "open.html"
        target = f"{self._address}/#{self._session.new_code()}"
        page.write_text(
            '<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
            f'<meta http-equiv="refresh" content="0; url={escape(target)}"><title>perdure</title>'
            f'<a href="{escape(target)}">perdure ui</a>\n',
            encoding="utf-8",
        )
        page.chmod(0o600)
        try:
            subprocess.Popen(
                [*starter, page.as_uri()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            return None
        say("            the browser is opened")
        return page


def _starter() -> list[str] | None:
    """The program that opens files in the user's browser; None where there is none, or no screen."""
    if sys.platform == "darwin":
        return ["open"]
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return None
    found = shutil.which("xdg-open")
    return [found] if found else None


def _listen(options: Options) -> tuple[socket.socket, str, list[str]]:
    """A socket that listens, how a browser gets there, and the hosts that it goes by."""
    if options.socket is not None:
        return _listen_at(options.socket), "", []
    wanted = (PORT, 0) if options.port is None else (options.port,)
    for port in wanted:
        try:
            listener = listening(options.host, port, AT_ONCE)
        except OSError as error:
            if port != wanted[-1]:
                continue
            raise OptionError(
                f"perdure ui cannot listen on {options.host}:{port} ({error.strerror})",
                "give another port; --port 0 takes a free one",
            ) from None
        break
    bound = listener.getsockname()[1]
    shown = f"[{options.host}]" if ":" in options.host else options.host
    names = dict.fromkeys((shown, "localhost", "127.0.0.1", "[::1]"))
    hosts = [f"{name}:{bound}" for name in names] + ([*names] if bound == 80 else [])
    return listener, f"http://{shown}:{bound}", hosts


def _listen_at(path: Path) -> socket.socket:
    """A Unix socket that only this user can connect to."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                raise OptionError(f"--socket {path} is no socket", "name another path")
            probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            with probe, suppress(ConnectionRefusedError):
                probe.connect(str(path))
                raise OptionError(f"--socket {path} is in use", "end the other server, or name another path")
            path.unlink()
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(AT_ONCE)
    except OSError as error:
        listener.close()
        if isinstance(error, OptionError):
            raise
        raise OptionError(f"perdure ui cannot listen on {path} ({error.strerror})", "name another path") from None
    return listener
