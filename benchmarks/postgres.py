"""A PostgreSQL of one's own: made in a folder, with Debian's settings of a new cluster, and gone afterwards."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

USER = "postgres"
"""Who it runs as if root asks, which it refuses to."""
PATIENCE_S = 60


def server() -> Path | None:
    """The folder of its programs: the newest that Debian's packages have installed, or what is on the path."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    found = shutil.which("postgres")
    newest = installed[-1] if installed else Path(found) if found else None
    return None if newest is None else newest.parent


@contextlib.contextmanager
def running(programs: Path) -> Iterator[str]:
    """It runs: where it is, for a client. It flushes each commit, as it comes (`fsync` and `synchronous_commit`).

    Args:
        programs: the folder of its programs, see `server`.

    Raises:
        subprocess.CalledProcessError: its files cannot be made.
        RuntimeError: it does not answer.
    """
    who = pwd.getpwnam(USER) if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as place:
        os.chown(place, who.pw_uid, who.pw_gid)
        data, name = Path(place, "data"), "bench"
        how = {"user": who.pw_uid, "group": who.pw_gid, "cwd": place, "stdout": subprocess.DEVNULL}
        initdb = [programs / "initdb", "--auth=trust", f"--username={name}", "--pgdata", data]
        subprocess.run(initdb, check=True, **how)  # type: ignore[call-overload]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        options = ["-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={place}"]
        command = [programs / "postgres", "-D", data, *options]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, **how)  # type: ignore[call-overload]
        try:
            _await(programs, port, process)
            subprocess.run([programs / "createdb", "-h", "127.0.0.1", "-p", str(port), "-U", name, name], check=True)
            yield f"postgresql://{name}@127.0.0.1:{port}/{name}"
        finally:
            process.terminate()  # it waits for its clients; they are gone
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


def _await(programs: Path, port: int, process: subprocess.Popen[bytes]) -> None:
    ask = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
    until = time.monotonic() + PATIENCE_S
    while subprocess.run(ask, check=False).returncode:
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"PostgreSQL of {programs} does not answer")
        time.sleep(0.1)
