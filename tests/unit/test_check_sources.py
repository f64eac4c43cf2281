"""What `perdure check` reads: it never runs it, follows imports, survives any bytes, and says what it cannot see."""

from __future__ import annotations

import os
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from perdure.check import sources
from perdure.check.checker import check
from perdure.check.findings import Report

STEP = "import requests\nfrom perdure import step\n\n@step\ndef fetch(url):\n    return requests.get(url).json()\n"


def codes(report: Report) -> list[tuple[str, int, str]]:
    return [(Path(one.file).name, one.line, one.code) for one in report.findings]


def test_a_script_is_never_imported_or_run(tmp_path: Path) -> None:
    """Neither the script nor what it imports of its project is executed, and no module appears."""
    (tmp_path / "helper.py").write_text("raise SystemExit('imported')\n")
    (tmp_path / "job.py").write_text(f"import helper\nopen({str(tmp_path / 'ran')!r}, 'w')\n{STEP}")
    before = set(sys.modules)
    assert ("job.py", 8, "no-timeout") in codes(check([tmp_path / "job.py"]))
    assert not (tmp_path / "ran").exists()
    assert {name for name in set(sys.modules) - before if not name.startswith(("perdure", "encodings"))} == set()


def test_the_same_bytes_give_the_same_findings(tmp_path: Path) -> None:
    """In the same order, also if the files are named in another."""
    for name in "abc":
        (tmp_path / f"{name}.py").write_text(STEP)
    files = [tmp_path / f"{name}.py" for name in "abc"]
    assert check(files) == check(files[::-1]) == check([tmp_path]) != check(files[:1])


def test_imports_of_the_project_are_followed(tmp_path: Path) -> None:
    """A step, a client and a helper that lie in other files are known: relative, absolute, renamed, in a package."""
    package = tmp_path / "app"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "clients.py").write_text(
        "import requests\n\nsession = requests.Session()\n\ndef now():\n    import time\n    return time.time()\n"
    )
    (package / "steps.py").write_text(
        "from perdure import step as durable\nfrom .clients import session as http\n\n"
        "@durable\ndef load(url):\n    answer = http.get(url)\n    answer.raise_for_status()\n    return answer.text\n"
    )
    (package / "job.py").write_text(
        "import perdure as p\nfrom app import steps, clients\n\n"
        "@p.workflow\ndef main():\n    return steps.load(str(clients.now()))\n"
    )
    assert codes(check([package / "job.py"])) == [
        ("job.py", 6, "nondeterministic-input"),
        ("steps.py", 6, "no-timeout"),
    ]


def test_what_cannot_be_seen_is_said(tmp_path: Path) -> None:
    """A star import, a table of functions and an import that cannot be parsed are named with their lines."""
    (tmp_path / "broken.py").write_text("def f(:\n")
    (tmp_path / "job.py").write_text(
        "from perdure import workflow\nfrom somewhere import *\nimport broken\n\n@workflow\ndef main(kind):\n"
        "    TABLE[kind]()\n    exec('1')\n    broken.f()\n"
    )
    said = [(Path(one.file).name, one.line) for one in check([tmp_path / "job.py"]).not_seen]
    assert said == [("broken.py", 1), ("job.py", 2), ("job.py", 7), ("job.py", 8)]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"def f(:\n", "line 1"),
        (b"x = '\xff\xfe'\n", "UTF-8"),
        (b"# coding: no-such-thing\n", "UTF-8"),
        (b"x = 1\0\n", "cannot parse"),
        (b"x = " + b"(" * 5_000 + b")" * 5_000, "parse|deep"),
        (b"x = " + b"-" * 100_000 + b"1", "parse|deep"),
        (b"from perdure import workflow\n@workflow\ndef f(a):\n    return " + b"+".join([b"a"] * 900) + b"\n", ""),
        (b"from perdure import workflow\n@workflow\ndef f(a):\n    return a" + b".b" * 990 + b"()\n", ""),
        (b"x = 1" * 30_000_000, "MB"),
    ],
    ids=["syntax", "bytes", "encoding", "null", "parentheses", "minus", "sum", "attributes", "large"],
)
def test_a_file_that_cannot_be_checked_is_a_line(tmp_path: Path, content: bytes, text: str) -> None:
    """Whatever it holds, it is named with the reason, and the other files are checked all the same."""
    (tmp_path / "a.py").write_bytes(content)
    (tmp_path / "b.py").write_text(STEP)
    report = check([tmp_path])
    assert [name for name, _, _ in codes(report)] == ["b.py", "b.py"]
    words = [one.text for one in report.problems if one.file.endswith("a.py")]
    assert report.files == (1 if words else 2)
    if text:
        assert len(words) == 1
        assert any(part in words[0] for part in text.split("|")), words


def _loops(depth: int) -> str:
    lines = [f"{'  ' * (n + 1)}for a{n} in a:" for n in range(depth)]
    return "\n".join(["@workflow", "def f(a):", *lines, f"{'  ' * (depth + 1)}g(a)"]) + "\n"


def _helpers(width: int) -> str:
    names = [f"h{n}" for n in range(7)]
    bodies = [f"def {one}(a):\n  " + f"a = {two}(a)\n  " * width + "return a\n" for one, two in pairwise(names)]
    return "def h6(a):\n  return a\n" + "".join(bodies) + "@workflow\ndef f(a):\n  return g(h0(a))\n"


@pytest.mark.parametrize(
    "text",
    [
        _loops(60),
        _helpers(12),
        "@workflow\ndef f(a):\n" + "".join("  a = g(a)\n" for _ in range(3_000)),
        "import requests\n@step\ndef f(a):\n" + "  r = requests.get(a)\n  r.json()\n" * 1_500,
        "@workflow\ndef f(a):\n  if a: pass\n" + "".join("  elif a: g(a)\n" for _ in range(90)),
    ],
    ids=["loops", "helpers", "assignments", "requests", "branches"],
)
def test_scripts_that_branch_without_end_are_checked_in_bounded_work(tmp_path: Path, text: str) -> None:
    """What doubles with each level (loops in loops, helpers of helpers) is bounded: this ends at all."""
    (tmp_path / "a.py").write_text(f"from perdure import step, workflow\n@step\ndef g(a):\n  return a\n{text}")
    assert check([tmp_path]).problems == []


def test_links_and_what_is_no_file(tmp_path: Path) -> None:
    """A loop of links, a link to the folder above, a pipe and a missing file are lines, or left out; nothing hangs."""
    (tmp_path / "a.py").write_text(STEP)
    (tmp_path / "same.py").symlink_to(tmp_path / "a.py")
    (tmp_path / "loop.py").symlink_to(tmp_path / "loop.py")
    (tmp_path / "up").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "x.py").write_text("def f(:\n")
    report = check([tmp_path, tmp_path / "missing.py", tmp_path / "loop.py"])
    assert [name for name, _, _ in codes(report)] == ["a.py", "a.py"]
    assert sorted({Path(one.file).name for one in report.problems}) == ["loop.py", "missing.py", "pipe.py"]


def test_large_files_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their size alone decides."""
    big = tmp_path / "big.py"
    big.touch()
    os.truncate(big, 50_000_000)
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("it was opened"))
    with pytest.raises(sources.Unreadable, match="50 MB"):
        sources.read(big)
