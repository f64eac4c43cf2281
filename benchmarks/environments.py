"""A virtual environment for each peer, made when it is missing or out of date."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent
_ENVIRONMENTS = HERE / ".venvs"
_INSTALLS = {
    "floor": ["apsw>=3.51.3"],
    "dbos": ["dbos"],
    "perdure": [str(CHECKOUT)],
    "stitch": ["stitch-durable"],
    "huey": ["huey"],
    "queues": ["huey", "procrastinate", "dbos", "psycopg[binary]"],
}
_VERSIONS = {
    "floor": "import apsw; print('apsw', apsw.apsw_version(), 'SQLite', apsw.sqlite_lib_version())",
    "perdure": "import apsw, importlib.metadata as m; print('perdure', m.version('perdure'),"
    " 'SQLite', apsw.sqlite_lib_version())",
    "dbos": "import sqlite3, importlib.metadata as m; print('DBOS', m.version('dbos'),"
    " 'SQLite', sqlite3.sqlite_version)",
    "stitch": "import sqlite3, importlib.metadata as m; print('stitch-durable', m.version('stitch-durable'),"
    " 'SQLite', sqlite3.sqlite_version)",
    "huey": "import sqlite3, importlib.metadata as m; print('huey', m.version('huey'),"
    " 'SQLite', sqlite3.sqlite_version)",
    "queues": "import sqlite3, importlib.metadata as m; print('huey', m.version('huey'), 'procrastinate',"
    " m.version('procrastinate'), 'DBOS', m.version('dbos'), 'SQLite', sqlite3.sqlite_version)",
}


def environment_of(peer: str) -> str:
    """The name of the environment that a peer runs in; DBOS has one for both of its configurations."""
    return "dbos" if peer == "dbos-full" else peer


def python_of(peer: str) -> Path:
    """The interpreter of a peer's environment."""
    return _ENVIRONMENTS / environment_of(peer) / "bin" / "python"


def prepare(peer: str) -> str:
    """Makes the peer's environment if need be, and says what is installed in it.

    perdure is installed anew (not editable) whenever a file of its sources changed.

    Raises:
        subprocess.CalledProcessError: it cannot be installed.
        OSError: what installs it is not there.
    """
    name = environment_of(peer)
    folder = _ENVIRONMENTS / name
    stamp = folder / "installed.json"
    wanted = {"install": _INSTALLS[name], "python": sys.version, "sources": _digest() if name == "perdure" else ""}
    if not stamp.exists() or json.loads(stamp.read_text()) != wanted:
        print(f"preparing the environment of {name}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(python_of(peer)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        # what pip says goes to standard error: standard output is for the table alone
        subprocess.run([*pip, *wanted["install"]], check=True, stdout=sys.stderr)
        stamp.write_text(json.dumps(wanted))
    answer = subprocess.run([str(python_of(peer)), "-c", _VERSIONS[name]], check=True, capture_output=True, text=True)
    return answer.stdout.strip()


def _digest() -> str:
    digest = hashlib.sha256((CHECKOUT / "pyproject.toml").read_bytes())
    for path in sorted((CHECKOUT / "src").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(str(path.relative_to(CHECKOUT)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
