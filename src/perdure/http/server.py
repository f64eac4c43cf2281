"""Serves links beside a worker, in a thread of its own."""

from __future__ import annotations

import contextlib
import ipaddress
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from perdure.errors import OptionError
from perdure.http.listening import listening, server, stop

if TYPE_CHECKING:
    from starlette.applications import Starlette

AT_ONCE = 64
"""Requests that are served at a time; further ones are answered 503."""


class LinkServer:
    """A server that is listening. `address` is where, such as "http://127.0.0.1:8787"."""

    def __init__(self, links: Starlette, host: str, port: int) -> None:
        try:
            listener = listening(host, port, AT_ONCE)  # who comes before the thread is there waits
        except OSError as error:
            raise OptionError(
                f"--http cannot listen on {host}:{port} ({error.strerror})", "give another port; 0 takes a free one"
            ) from None
        self._listener = listener
        shown = f"[{host}]" if ":" in host else host
        self.address = f"http://{shown}:{listener.getsockname()[1]}"
        self._server = server(links, AT_ONCE, timeout_graceful_shutdown=5)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="perdure-http", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Answer what has come, and serve no more."""
        stop(self._server)
        self._thread.join(10)
        self._listener.close()


@contextlib.contextmanager
def serving(state: Path | None, address: str, public_url: str, engine: str | None = None) -> Iterator[LinkServer]:
    """Serve the links of a state file, or of a cluster, while the block runs.

    Args:
        state: the state file; None for a cluster.
        address: where to listen, as `--http` has it: "127.0.0.1:8787", "[::1]:8787", "8787".
        public_url: how that is reached from outside; empty: it is not.
        engine: the address of the cluster.

    Raises:
        OptionError: the address is none, or in use; or it is open to others and no public address is named; or what it
            needs is not installed.
    """
    host, port = parsed(address)
    if not is_loopback(host) and not public_url:
        raise OptionError(
            f"--http {address} can be reached from other machines, and --public-url does not say how",
            "give 127.0.0.1; or name the address in front of it, with TLS: --public-url https://host/path",
        )
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise OptionError(
            f"--http needs the package {missing[0]}, which is not installed", 'pip install "perdure[web]"'
        )
    from perdure.http.app import app

    server = LinkServer(app(state, engine=engine), host, port)
    try:
        yield server
    finally:
        server.close()


def parsed(address: str) -> tuple[str, int]:
    """Host and port of an address such as "127.0.0.1:8787", "[::1]:8787" or "8787".

    Raises:
        OptionError: it is none.
    """
    given = f"127.0.0.1:{address}" if address.isdecimal() else address
    try:
        parts = urlsplit(f"//{given}")
        host, port = parts.hostname, parts.port
        bare = parts.netloc == given and parts.username is None
    except ValueError:
        host, port, bare = None, None, False
    if not host or port is None or not bare:
        raise OptionError(f"--http is {address!r}", "give a host and a port, such as 127.0.0.1:8787")
    return host, port


def is_loopback(host: str) -> bool:
    """Is that host this machine alone? A name may be anything, but for localhost."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
