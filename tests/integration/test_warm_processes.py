"""Processes that begin warm are told apart from fresh ones by nothing that a script is to see."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import warm

ABOUT = """
import atexit, os, sys, threading
main = sys.modules["__main__"]
print(__name__, main.__dict__ is globals(), __file__, __spec__, sys.argv, sys.orig_argv, sys.path[0], os.getcwd())
print(sys.stdin.read(), sys.stdout.encoding, sys.stdout.errors, sys.stdout.line_buffering, sys.stderr.errors)
print(sorted(os.environ.items()), os.getpgrp() == os.getpid(), sorted(os.listdir("/proc/self/fd"))[:4])
class Kept:
    def __del__(self):
        os.write(1, b"taken down\\n")
kept = Kept()
from perdure.config import command_line
print(command_line._GIVEN, command_line.given())
atexit.register(print, "registered")
threading.Timer(0, print, ["by a thread"]).start()
"""
PROGRAMS = {
    "what it has": ABOUT,
    "an error": "import helper\nhelper.fail()\n",
    "an error of an error": "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise KeyError(3) from error\n",
    "a syntax error": "def x(:\n",
    "an import that fails": "import nothing_of_that_name\n",
    "an exit code": "import sys\nsys.exit(7)\n",
    "a text at the exit": "import sys\nsys.exit('over')\n",
    "an interrupt": "raise KeyboardInterrupt\n",
    "a kill": "import os\nos.kill(os.getpid(), 9)\n",
    "an immediate end": "import os\nprint('lost', end='')\nos._exit(4)\n",
}
HOW: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 60}


def both(words: Sequence[str], **options: Any) -> list[tuple[int, str, str]]:
    """How a command ends and what it says, fresh and warm."""
    done = [run([sys.executable, *words], **HOW, **options) for run in (subprocess.run, warm.run)]
    return [(each.returncode, each.stdout, each.stderr) for each in done]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_script_is_as_in_a_fresh_process(name: str, tmp_path: Path) -> None:
    """Its arguments, path, variables, streams and folder, its traceback, its exit code and the order of its end."""
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "script.py").write_text(PROGRAMS[name])
    (tmp_path / "place" / "helper.py").write_text("def fail():\n    raise ValueError('no')\n")
    env = {**os.environ, "TZ": "Asia/Tokyo", "SOME": "thing", "PYTHONPATH": f"{tmp_path}/one{os.pathsep}{tmp_path}/two"}
    fresh, forked = both(
        ["place/script.py", "a", "--b"], cwd=tmp_path, env=env, input="given\n", start_new_session=True
    )
    assert forked == fresh
    assert any(fresh)


@pytest.mark.parametrize(
    "words",
    [
        ["-m", "there.mod", "-x", "1"],
        ["-m", "nothing_of_that_name"],
        ["-c", "import sys; print(sys.argv, sys.path); 1 / 0", "x"],
        ["nothing.py"],
    ],
)
def test_a_command_line_is_as_in_a_fresh_process(words: list[str], tmp_path: Path) -> None:
    """A module, a program that was typed, a file that is missing."""
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mod.py").write_text("import sys\nprint(__name__, __package__, sys.argv, sys.path)\n1 / 0\n")
    fresh, forked = both(words, cwd=tmp_path)
    assert (forked[0] != 0, forked[1]) == (fresh[0] != 0, fresh[1])
    assert forked[2].splitlines()[-1] == fresh[2].splitlines()[-1] or words == ["nothing.py"]


def test_a_warm_process_is_signalled_waited_for_and_reaped() -> None:
    """As a child: its pid is its own until it has been waited for."""
    with warm.Popen([sys.executable, "-c", "print(1, flush=True); input()"], stdin=-1, stdout=-1, text=True) as process:
        assert process._exit is not None  # it was forked
        assert process.stdout.readline() == "1\n"
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.until_dead()
        os.kill(process.pid, 0)
        assert process.wait(60) == -signal.SIGTERM
        with pytest.raises(ProcessLookupError):
            os.kill(process.pid, 0)


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ([sys.executable, "-P", "-c", "import sys; print(sys.flags.safe_path)"], {}),
        ([sys.executable, "-c", "import sys; print(sys.flags.utf8_mode == 1)"], {"PYTHONUTF8": "1"}),
    ],
)
def test_what_python_reads_at_its_start_begins_fresh(words: list[str], options: dict[str, str]) -> None:
    """Options, and variables that cannot be given later."""
    assert warm.run(words, **HOW, env={**os.environ, **options}).stdout == "True\n"
