"""Chromium for the tests of the page. As a program: installs it where that needs nobody, and says where it cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
APT = ("apt-get", "-qq", "-o", "Acquire::http::Timeout=20", "-o", "Acquire::Retries=1", "-o", "DPkg::Lock::Timeout=60")

SECONDS = 240
"""For each command of apt-get: the tests go on without a browser where a mirror is that slow."""


def find() -> str | None:
    """Where Chromium is; None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def install() -> str:
    """Install Debian's Chromium; returns why that cannot be done, or nothing."""
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return "apt-get, and root to use it, are not there"
    for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
        try:
            done = subprocess.run(
                [*APT, *command],
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"apt-get {command[0]}: not done within {SECONDS} s"
        if done.returncode:
            return f"apt-get {command[0]}: {(done.stdout.strip().splitlines() or ['it failed'])[-1]}"
    return "" if find() else "the package chromium has no program of that name"


if __name__ == "__main__" and find() is None:
    why = install()
    if why:
        print(f"The page is not tested in a browser: Chromium cannot be installed ({why})", file=sys.stderr)
    else:
        print(f"Chromium was installed for the tests of the page: {find()}", file=sys.stderr)
