"""No Python that perdure starts executes what happens to lie in the working directory."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.alerts.watchdog import client
from perdure.config.interpreter import bare_command, module_command, script_command

PLANTED = "import pathlib; pathlib.Path(__file__).with_name('executed').touch()\n"


@pytest.mark.parametrize(
    "command",
    [
        module_command("perdure.alerts.channels.apprise_process"),
        module_command("perdure.engines.processes.child", "0"),
        module_command("perdure.engines.processes.template_main", "0"),
        module_command("perdure.demo.server", "orders", "ledger"),
        bare_command("import json, struct"),
    ],
    ids=["apprise", "isolated", "template", "server", "bare"],
)
def test_a_module_in_the_working_directory(command: list[str], tmp_path: Path) -> None:
    """It is not executed, whatever it is called."""
    assert not executes_planted(command, tmp_path)


def test_the_reporter_of_a_death(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watchdog process, which imports nothing of perdure's, starts it as any other Python of perdure's."""
    monkeypatch.syspath_prepend(str(Path(client.__file__).parent))
    command = importlib.import_module("process").reporter_command(sys.executable)
    assert not executes_planted(command, tmp_path)
    assert executes_planted([word for word in command if word != "-P"], tmp_path)


def executes_planted(command: list[str], folder: Path) -> bool:
    """Whether a command executes one of the modules that lie in the folder that it is started in."""
    for name in ("msgspec", "perdure", "json", "struct", "importlib", "apprise", "logging"):
        (folder / f"{name}.py").write_text(PLANTED)
    subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    return (folder / "executed").exists()


SCRIPT = """
import sys
import beside
from perdure import step, workflow

@step(isolate=True)
def double(n: int) -> int:
    return beside.double(n)

@workflow
def job() -> int:
    return double(4)

if __name__ == "__main__":
    print("result", job())
"""


def test_an_isolated_step_finds_the_modules_of_its_script_only(tmp_path: Path) -> None:
    """Those beside the script are imported, as in the script itself; those in the working directory are not."""
    scripts, working = tmp_path / "scripts", tmp_path / "working"
    scripts.mkdir()
    working.mkdir()
    (scripts / "job.py").write_text(SCRIPT)
    (scripts / "beside.py").write_text("def double(n):\n    return 2 * n\n")
    for name in ("msgspec", "beside", "perdure"):
        (working / f"{name}.py").write_text(PLANTED)
    done = subprocess.run(
        script_command(scripts / "job.py"), cwd=working, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "result 8\n", done.stderr
    assert not (working / "executed").exists()
    assert sys.executable in script_command("x")
