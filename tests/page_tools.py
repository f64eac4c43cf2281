"""Programs of npm for those who change the page, in versions that are pinned. As a program: makes `page/made/`.

Who uses perdure, or changes its Python, needs none of them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from perdure.web import packing

ESBUILD = "esbuild@0.28.2"
PRETTIER = "prettier@3.6.2"
TERSER = "terser@5.51.4"
TYPESCRIPT = "typescript@5.9.3"

LAYOUT = ("--log-level=warn", "--print-width=120", "--arrow-parens=avoid", "--object-wrap=collapse")
TYPES = (
    *("--noEmit", "--skipLibCheck", "--allowJs", "--checkJs", "--pretty", "false"),
    *("--target", "es2022", "--module", "es2022", "--moduleResolution", "bundler", "--lib", "es2023,dom,dom.iterable"),
)

SECONDS = 240
"""For npm, which fetches the programs once, and for each of them, which takes a few."""


class Missing(Exception):
    """npm is not there, or cannot fetch a program."""


def npm(program: str, *args: str, cwd: Path = packing.PAGE) -> subprocess.CompletedProcess[str]:
    """Run one of the programs; raises `Missing` if they are not to be had."""
    return _told((program, *args), cwd, {**os.environ, "PATH": _path()})


@cache
def _path() -> str:
    """Where the programs are found: npm is asked once, since it takes longer than most of them."""
    found = shutil.which("npm")
    if found is None:
        raise Missing("npm is not installed (Debian: apt-get install npm)")
    packages = [f"--package={each}" for each in (ESBUILD, PRETTIER, TERSER, TYPESCRIPT)]
    words = (found, "exec", "--yes", "--prefer-offline", "--fetch-retries=1", *packages, "-c", 'echo "$PATH"')
    try:
        told = _told(words, packing.PAGE, os.environ)
    except subprocess.TimeoutExpired:
        raise Missing(f"programs of npm are not fetched within {SECONDS} s") from None
    if told.returncode:
        raise Missing(f"a program cannot be fetched: {(told.stderr.strip().splitlines() or ['npm failed'])[-1]}")
    return told.stdout.strip()


def _told(words: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def commands(to: Path) -> Iterator[tuple[str, ...]]:
    """What makes the script and the stylesheet of the page in a folder, one command after the other.

    esbuild joins the modules; of what it has made small, terser leaves out another twentieth, packed.
    """
    small = ("--minify", "--charset=utf8", "--log-level=warning")
    script = str(to / "page.js")
    yield "esbuild", packing.FIRST, *small, "--bundle", "--format=esm", "--target=es2022", f"--outfile={script}"
    yield "terser", script, "--module", "--compress", "passes=3,unsafe=true", "--mangle", "--output", script
    yield "esbuild", "style.css", *small, "--bundle", f"--outfile={to / 'style.css'}"


def make() -> None:
    """Lay out the modules and the stylesheet of the page, and make what browsers get of them anew."""
    made = packing.PAGE / packing.MADE
    for command in (("prettier", *LAYOUT, "--write", *packing.sources()), *commands(made)):
        done = npm(*command)
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
    (made / packing.STAMP).write_text(f"{packing.stamp(packing.sources())}\n", encoding="ascii")


if __name__ == "__main__":
    try:
        make()
    except Missing as missing:
        sys.exit(f"The page is not made anew: {missing}")
