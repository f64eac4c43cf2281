"""Every block of code in the README and the guides runs, and prints what the page says it prints.

A block after `<!-- file: NAME -->` is written to that file; the first one of each name is there from the beginning,
since a page may show what a script does before the script. A `python` block without one is run as a script; a `py`
block shows what one should not do, and is only written to its file. In a `console` block the lines after `$ ` are run
by a shell, and what they print must match the lines below, where `...` stands for anything. A page with
`<!-- needs: MODULE -->` is left out where that library is not installed.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import warm

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *(page for folder in ("docs", "docs/how-to") for page in sorted((ROOT / folder).glob("*.md"))),
]
BLOCK = re.compile(r"(?:<!-- file: (?P<file>\S+) -->\n+)?```(?P<kind>python|py|console)\n(?P<body>.*?)```", re.DOTALL)
LINK = re.compile(r"\]\(([\w./-]+\.\w+)(?:#[\w-]+)?\)")
NEEDS = re.compile(r"^<!-- needs: (\S+) -->$", re.MULTILINE)
PLAIN = re.compile(
    r"(?P<variables>(?:[A-Z_]+=[\w:/.]* )*)(?P<program>python|perdure)"
    r"(?P<words>(?: (?:[\w./:=@-]+|'[^']*'|\"[^\"$`\\]*\"))*)(?P<errors> 2>/dev/null| 2>&1)?"
    r"(?: \| (?P<filter>(?:cut|grep|head|sort|tail) [^\n]*)|(?P<code>; echo \"exit code \$\?\"))?"
)
"""One command of Python's. A shell would do no more than start it, hand its output to others or show its exit code."""
VARIABLES = {"PYTHONUNBUFFERED": "1"}
CLUSTER = "temporal"  # pages that need a cluster have a test of their own, with one


def pages_with_code() -> list[Path]:
    return [page for page in PAGES if BLOCK.search(page.read_text()) and CLUSTER not in page.read_text().lower()]


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PERDURE_", "WORKFLOW_"))}
    return kept | VARIABLES | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def run(
    command: list[str], folder: Path, stderr: int = subprocess.STDOUT, given: str | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    return warm.run(
        command,
        cwd=folder,
        env=environment() | variables,
        input=given,
        text=True,
        stdout=subprocess.PIPE,
        stderr=stderr,
        timeout=300,
    )


def typed(line: str, folder: Path) -> tuple[int, str]:
    """What a shell makes of that line. One command of Python's begins warm, as the shell would start it."""
    plain = PLAIN.fullmatch(line)
    if plain is None:
        done = run(["bash", "-c", line], folder)
        return done.returncode, done.stdout
    program = [] if plain["program"] == "python" else [str(Path(sys.executable).parent / "perdure")]
    errors = {" 2>/dev/null": subprocess.DEVNULL, " 2>&1": subprocess.STDOUT}.get(
        plain["errors"], subprocess.PIPE if plain["filter"] else subprocess.STDOUT
    )
    variables = dict(each.split("=", 1) for each in plain["variables"].split())
    done = run([sys.executable, *program, *shlex.split(plain["words"])], folder, errors, **variables)
    if plain["code"]:
        return 0, f"{done.stdout}exit code {done.returncode}\n"
    if plain["filter"]:
        filtered = run(["bash", "-c", plain["filter"]], folder, given=done.stdout)
        return filtered.returncode, (done.stderr or "") + filtered.stdout
    return done.returncode, done.stdout


@pytest.fixture(scope="module", autouse=True)
def begins_warm() -> None:
    warm.begins_with(VARIABLES)


def check_console(body: str, folder: Path) -> None:
    for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        status, printed = typed(command, folder)
        if status == -9:
            printed += "Killed\n"
        pattern = "\n".join(line.rstrip() for line in expected.strip().splitlines())
        actual = "\n".join(line.rstrip() for line in printed.strip().splitlines())
        # [ is a wildcard to fnmatch, and plain text on our pages.
        assert fnmatch.fnmatchcase(actual, pattern.replace("[", "[[]").replace("...", "*")), (
            f"$ {command}\nprinted:\n{actual}\nbut the page says:\n{pattern}"
        )


@pytest.mark.parametrize("page", pages_with_code(), ids=lambda page: str(page.relative_to(ROOT)))
def test_code_on_the_page_runs_and_prints_what_it_says(page: Path, tmp_path: Path) -> None:
    """A reader who types what the page says sees what the page says."""
    for library in NEEDS.findall(page.read_text()):
        pytest.importorskip(library, reason=f"the page is about {library}, which is not installed")
    blocks = list(BLOCK.finditer(page.read_text()))
    for block in reversed(blocks):
        if block["file"]:
            (tmp_path / block["file"]).write_text(block["body"])
    for block in blocks:
        if block["file"]:
            (tmp_path / block["file"]).write_text(block["body"])
        elif block["kind"] == "console":
            check_console(block["body"], tmp_path)
        elif block["kind"] == "python":
            script = tmp_path / "block.py"
            script.write_text(block["body"])
            done = run([sys.executable, str(script)], tmp_path)
            assert done.returncode == 0, f"{block['body']}\n{done.stdout}"


def test_the_pages_for_one_machine_are_run() -> None:
    """None of them is left out because it happens to mention a cluster."""
    named = {page.name for page in pages_with_code()}
    assert {"README.md", "guide.md", "recovery.md", "alerts.md", "secrets.md", "observability.md"} <= named
    how_to = {page.stem for page in (ROOT / "docs" / "how-to").glob("*.md")} - {"README"}
    assert {f"{stem}.md" for stem in how_to} <= named


def test_every_how_to_page_is_short_and_linked() -> None:
    """From the README, and from the list of the how-to pages; with no link that leads nowhere."""
    folder = ROOT / "docs" / "how-to"
    pages = {page for page in folder.glob("*.md") if page.name != "README.md"}
    for place in (ROOT / "README.md", folder / "README.md"):
        linked = {(place.parent / target).resolve() for target in LINK.findall(place.read_text())}
        assert pages <= linked, place
    for page in (folder / "README.md", *pages):
        targets = LINK.findall(page.read_text())
        assert [target for target in targets if not (folder / target).exists()] == [], page
        assert len(page.read_text().splitlines()) <= 110, page


def test_the_readme_is_short_and_begins_with_the_install() -> None:
    """Install by line 20, a run that is killed and resumes by line 30, under 150 lines in all."""
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) < 150
    assert any("pip install perdure" in line for line in lines[:20])
    assert any(line == "Killed" for line in lines[:25])
    assert any(line == "total: 600" for line in lines[:30])


def test_a_wrong_output_on_a_page_is_noticed(tmp_path: Path) -> None:
    """The check of the pages can fail."""
    with pytest.raises(AssertionError, match="but the page says"):
        check_console("$ echo one\ntwo\n", tmp_path)


def test_every_error_is_documented() -> None:
    """docs/errors.md has a row for each class and each code that a user can meet."""
    from perdure import errors

    page = (ROOT / "docs" / "errors.md").read_text()
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.PerdureError)]
    missing = [f"{kind.__name__} ({kind.code})" for kind in kinds if f"`{kind.__name__}`" not in page]
    missing += [kind.code for kind in kinds if kind is not errors.PerdureError and f"`{kind.code}`" not in page]
    assert [each for each in missing if "PerdureError" not in each] == []


def test_files_that_pages_name_exist() -> None:
    """A page that names a file of ours is found out of date when the file has moved."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
    named = re.compile(r"`((?:[\w-]+/)+[\w-]+\.(?:py|sql|md|txt|sh))`")
    homes = (ROOT, ROOT / "src" / "perdure", ROOT / "docs", ROOT / "tests", ROOT / "benchmarks")
    gone = [
        f"{page.relative_to(ROOT)}: {path}"
        for page in pages
        for path in named.findall(page.read_text(encoding="utf-8"))
        if not any((home / path).exists() for home in homes) and not path.startswith(("examples/", ".perdure/"))
    ]
    assert gone == []
