"""What starts cost, in machine instructions (callgrind: `apt-get install valgrind`): nearly the same on a busy machine.

    python benchmarks/starts.py [--python PYTHON]

Each whole process in millions of instructions, and in multiples of a Python that does nothing. PYTHON is an interpreter
that has perdure, by default this one; one with nothing else says what users pay.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = str(Path(__file__).parent / "peers" / "program_perdure.py")
STARTS = {
    "python -I -c pass": ["-I", "-c", "pass"],
    "import msgspec": ["-c", "import msgspec"],
    "from perdure import step, workflow": ["-c", "from perdure import step, workflow"],
    "three steps, a new state file": [PROGRAM],
    "three steps, with two arguments": [PROGRAM, "--day", "2026-11-28"],
    "perdure --version": ["-m", "perdure", "--version"],
    "perdure ps": ["-m", "perdure", "ps"],
    "perdure why last": ["-m", "perdure", "why", "last"],
}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has perdure")
    python = parser.parse_args().python
    bare = 0
    for title, arguments in STARTS.items():
        count = instructions(python, arguments)
        bare = bare or count
        print(f"{count / 1e6:>8.0f}  {count / bare:>6.2f}  {title}")


def instructions(python: str, arguments: list[str]) -> int:
    """What a whole process executes, in a folder of its own whose state file has one run if a command looks at it."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PERDURE_", "WORKFLOW_", "PYTHON"))}
    with tempfile.TemporaryDirectory() as folder:
        environment = {**kept, "PYTHONHASHSEED": "0", "PERDURE_STATE": os.path.join(folder, "state.db")}

        def run(*command: str) -> str:
            done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=True)
            return done.stderr

        if arguments[0] == "-m":
            run(python, PROGRAM)
        run(python, *arguments)  # so that all modules are compiled
        if arguments[0] == PROGRAM:
            environment["PERDURE_STATE"] = os.path.join(folder, "counted.db")
        said = run("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", python, *arguments)
    found = re.search(r"Collected : (\d+)", said)
    assert found is not None, said
    return int(found[1])


if __name__ == "__main__":
    main()
