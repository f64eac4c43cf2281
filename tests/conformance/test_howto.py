"""docs/cluster.md, done as it says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.conformance.conftest import Server

import warm

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
ADDRESS = "temporal://localhost:7233/default"


def blocks(language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Each command of a block, and what it prints if the page says so."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def execute(block: str, server: Server, tmp_path: Path) -> int:
    """Do what a block says, on the server of the tests; returns how many commands that was."""
    (script,) = blocks("python")
    (tmp_path / "receipts.py").write_text(script)
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PERDURE_ENGINE": server.url()}
    behind: list[subprocess.Popen[bytes]] = []
    done = 0
    try:
        for command, expected in commands(block):
            done += 1
            words = [word.replace("$PERDURE_ENGINE", server.url()) for word in shlex.split(command)]
            match words:
                case ["pip", "install", package, *tools]:
                    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
                    assert package.startswith("perdure[")
                    assert set(package[8:-1].split(",")) <= set(extras)
                    assert all(any(each.startswith(tool) for each in extras["dev"]) for tool in tools)
                case ["echo", *_]:
                    subprocess.run(command, cwd=tmp_path, shell=True, check=True)
                case ["export", "PERDURE_ENCRYPTION_KEYS_FILE=keys"]:
                    env["PERDURE_ENCRYPTION_KEYS_FILE"] = "keys"
                case ["temporal", *rest]:
                    assert rest == ["server", "start-dev", "&"], "as the fixture does"
                case ["export", setting]:
                    name, _, value = setting.partition("=")
                    assert value == ADDRESS
                    env[name] = server.url()
                case ["perdure", *rest, "&"]:
                    behind.append(warm.Popen([sys.executable, "-m", "perdure", *rest], cwd=tmp_path, env=env))
                case ["perdure", *rest]:
                    run = [sys.executable, "-m", "perdure", *rest]
                    answer = warm.run(run, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
                    assert answer.returncode == 0, answer.stderr
                    assert answer.stdout
                    assert expected in ("", answer.stdout)
                case _:
                    raise AssertionError(f"nobody executes {command!r}")
    finally:
        for each in behind:
            each.terminate()
            each.wait(60)
    return done


def test_the_howto(server: Server, tmp_path: Path) -> None:
    """The ten lines do what they say."""
    assert execute(blocks("console")[0], server, tmp_path) == 10


def test_encryption(server: Server, tmp_path: Path) -> None:
    """A key that is made as the page says encrypts a run, and it can be looked at."""
    assert execute(blocks("console")[1], server, tmp_path) == 5
    assert len((tmp_path / "keys").read_text().splitlines()) == 1
