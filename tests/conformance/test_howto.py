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

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
ADDRESS = "temporal://localhost:7233/default"


def blocks(language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def commands() -> Iterator[tuple[str, str]]:
    """Each command of the page, and what it prints if the page says so."""
    (block,) = blocks("console")
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def test_the_howto(server: Server, tmp_path: Path) -> None:
    """The ten lines do what they say, on the server of the tests."""
    (script,) = blocks("python")
    (tmp_path / "receipts.py").write_text(script)
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    behind: list[subprocess.Popen[bytes]] = []
    done = 0
    try:
        for command, expected in commands():
            done += 1
            words = [word.replace("$PERDURE_ENGINE", server.url()) for word in shlex.split(command)]
            match words:
                case ["pip", "install", extra, tool]:
                    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
                    assert extra == "perdure[temporal]"
                    assert "temporal" in project["optional-dependencies"]
                    assert any(each.startswith(tool) for each in project["optional-dependencies"]["dev"])
                case ["temporal", *rest]:
                    assert rest == ["server", "start-dev", "&"], "as the fixture does"
                case ["export", setting]:
                    name, _, value = setting.partition("=")
                    assert value == ADDRESS
                    env[name] = server.url()
                case ["perdure", *rest, "&"]:
                    behind.append(subprocess.Popen([sys.executable, "-m", "perdure", *rest], cwd=tmp_path, env=env))
                case ["perdure", *rest]:
                    run = [sys.executable, "-m", "perdure", *rest]
                    answer = subprocess.run(run, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
                    assert answer.returncode == 0, answer.stderr
                    assert answer.stdout
                    assert expected in ("", answer.stdout)
                case _:
                    raise AssertionError(f"nobody executes {command!r}")
    finally:
        for each in behind:
            each.terminate()
            each.wait(60)
    assert done == 10
