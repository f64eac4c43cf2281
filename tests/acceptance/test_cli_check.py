"""`perdure check FILE`: what it prints, its exit codes, and the recorded steps that a script no longer defines."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import warm
from perdure.cli import main

ERROR = (
    "import requests\nfrom perdure import step\n\n@step\ndef fetch(url):\n    requests.get(url).raise_for_status()\n"
)
WARNING = "from perdure import step\n\n@step\ndef note(text):\n    open('x', 'a').write(text)\n"
HINT = "from perdure import workflow\n\n@workflow\ndef main():\n    return 1\n"

SCRIPT = """
from perdure import step, workflow

@step
def price(item: str) -> int:
    return 7

@step(retry=None)
def total(amount: int) -> int:
    raise RuntimeError("seven?")

@workflow
def invoice() -> int:
    return total(price("apple"))

if __name__ == "__main__":
    invoice()
"""


def written(folder: Path, text: str, name: str = "job.py") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_a_finding_names_its_place_and_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """FILE:LINE:COLUMN, severity, code, one sentence; then the fix; then how much was checked."""
    script = written(tmp_path, ERROR)
    assert main(["check", script]) == 1
    first, fix, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{script}:6:5: error [no-timeout] requests.get has no timeout")
    assert fix.startswith("    give the call a timeout")
    assert last == "1 file checked: 1 error"


def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """1 for errors, with --strict for warnings too, never for hints; 2 if a file cannot be checked."""
    warning, hint = written(tmp_path, WARNING, "warning.py"), written(tmp_path, HINT, "hint.py")
    assert main(["check", warning, hint]) == 0
    assert main(["check", warning, "--strict"]) == 1
    assert main(["check", hint, "--strict", "--hints"]) == 0
    assert "hint [no-alert]" in capsys.readouterr().out
    broken = written(tmp_path, "def f(:\n", "broken.py")
    assert main(["check", broken, written(tmp_path, ERROR)]) == 2
    printed = capsys.readouterr().out
    assert f"{broken}: not checked: " in printed
    assert "[no-timeout]" in printed
    assert main(["check"]) == 2
    assert main(["check", str(tmp_path / "missing.py")]) == 2


def test_json_has_all_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for programs, with the same content."""
    script = written(tmp_path, ERROR)
    broken = written(tmp_path, "def f(:\n", "broken.py")
    main(["check", script, broken, "--json"])
    report = json.loads(capsys.readouterr().out)
    assert set(report) == {"files", "findings", "problems", "not_seen", "runs"}
    (finding,) = report["findings"]
    assert {key: finding[key] for key in ("file", "line", "col", "code", "severity")} == {
        "file": script, "line": 6, "col": 5, "code": "no-timeout", "severity": "error",
    }  # fmt: skip
    assert finding["fix"]
    assert [one["file"] for one in report["problems"]] == [broken]


def test_a_step_that_was_renamed_after_a_failure_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its results would not be found; with the recorded name, or in another script, nothing is said."""
    script = written(tmp_path, SCRIPT)
    warm.run([sys.executable, script], cwd=tmp_path, capture_output=True, check=False)
    assert main(["check", script]) == 0
    written(tmp_path, SCRIPT.replace("price", "cost"))
    assert main(["check", script]) == 1
    printed = capsys.readouterr().out
    assert "error [renamed] run invoice-" in printed
    assert "1 result of step 'price', which is not defined any more" in printed
    assert main(["check", script, "--state", str(tmp_path / ".perdure" / "state.db")]) == 1
    written(tmp_path, SCRIPT.replace("price", "cost").replace("@step\n", "@step(name='price')\n"))
    assert main(["check", script]) == 0
    written(tmp_path, SCRIPT.replace("price", "cost"), "other.py")
    assert main(["check", str(tmp_path / "other.py")]) == 0
    assert main(["check", script, "--state", str(tmp_path / "missing.db")]) == 2


def test_a_state_file_that_cannot_be_read_keeps_nothing_from_being_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one beside a script is only a help: the line says that renamed steps were not looked for."""
    script = written(tmp_path, SCRIPT)
    (tmp_path / ".perdure").mkdir(mode=0o700)
    (tmp_path / ".perdure" / "state.db").write_bytes(b"not a database, and long enough to be looked at" * 20)
    assert main(["check", script]) == 0
    assert "not seen: whether steps were renamed" in capsys.readouterr().out
    assert main(["check", script, "--state", str(tmp_path / ".perdure" / "state.db")]) == 1


def test_a_file_that_was_not_read_does_not_count_as_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last line does not say that nothing was found in it."""
    (tmp_path / "noise.py").write_bytes(b"\xff\xfe\x00 def")
    written(tmp_path, HINT)
    main(["check", str(tmp_path)])
    assert capsys.readouterr().out.splitlines()[-1] == "1 file checked, 1 not checked: nothing found"
