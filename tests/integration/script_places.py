"""Folders with scripts, packages and what runs them, for the tests of whose function is called."""

from __future__ import annotations

import subprocess
import sys

import warm
from conftest import SOURCE, Scripts, _clean

JOB = """
import os, perdure
from perdure import step, workflow
class Declined(Exception): pass
@step(retry=None)
def charge(): print("CHARGE", flush=True); raise Declined("card")
@step(retry=None)
def clean(x): print("CLEAN", x, flush=True)
@step(retry=None)
def crash_once():
    if not os.path.exists("crashed"):
        open("crashed", "w").close(); os.kill(os.getpid(), 9)
@workflow
def main():
    perdure.defer(clean, 1)
    try: charge()
    except Declined: print("handled", flush=True)
    crash_once()
if __name__ == "__main__": main()
"""


class Place(Scripts):
    """A folder with scripts, and what Python says when it executes them."""

    def python(self, *args: str, status: int | None = None, **env: str) -> str:
        done = warm.run(
            [sys.executable, *args],
            cwd=self.folder,
            env={**_clean(), "PYTHONPATH": str(SOURCE), **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert status is None or done.returncode == status, done.stdout
        return done.stdout

    def perdure(self, *args: str, status: int | None = None, **env: str) -> str:
        return self.python("-m", "perdure", *args, status=status, **env)
