"""Makes a state file with the perdure that is on PYTHONPATH; see README.md."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import apsw

from perdure.store import rows

FOLDER = Path("/tmp/orders")
"""Not a temporary name: the file holds where its script was."""
SCRIPT = FOLDER / "orders.py"


def main(target: str) -> None:
    """Make the file `target`."""
    FOLDER.mkdir()
    try:
        shutil.copy(Path(__file__).with_name("orders.py"), SCRIPT)
        state = FOLDER / "state.db"
        env = {**os.environ, "PERDURE_STATE": str(state), "LEDGER": str(FOLDER / "ledger"), "WORKFLOW_ALERTS": ""}

        def run(*command: str, expected: int, **more: str) -> None:
            done = subprocess.run([sys.executable, *command], env={**env, **more}, cwd=FOLDER, check=False)
            assert done.returncode == expected, (command, done.returncode)

        run(str(SCRIPT), "finished", expected=0)
        run(str(SCRIPT), "failed", expected=1)
        run("-c", "import orders; orders.letters(6)", expected=0)
        run("-m", "perdure", "dlq", "redrive", "2", expected=0, MENDED="1")
        run(str(SCRIPT), "killed", expected=-9, DYING="1")
        connection = apsw.Connection(str(state))
        connection.execute("UPDATE holder SET host = 'old-host'")
        if hasattr(rows, "sealed"):  # since version 4
            for row in connection.execute("SELECT hid, token, pid, host, started, gone FROM holder").fetchall():
                connection.execute("UPDATE holder SET crc = ? WHERE hid = ?", (rows.sealed(*row)[-1], row[0]))
        connection.execute("VACUUM INTO ?", (target,))
        connection.close()
    finally:
        shutil.rmtree(FOLDER)
    for row in apsw.Connection(target).execute("SELECT run, seq, name, status, attempts FROM step"):
        print(*row)


if __name__ == "__main__":
    main(str(Path(sys.argv[1]).absolute()))
