"""A script that is edited while a worker loads it is loaded once more, however the edit came to its place."""

from __future__ import annotations

import importlib
import os
import py_compile
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.config.script_loader import load_script
from perdure.config.script_reload import load_current
from perdure.engines.local.worker.edited_scripts import Edits
from perdure.engines.local.worker.loaded_scripts import Program, digest_of
from perdure.engines.registry import forget_files

NEXT = "from perdure import workflow\n@workflow\ndef served_next(): pass\n"
WRITTEN = "from pathlib import Path\nPath(__file__).write_text(Path(__file__ + '.next').read_text())\n"
MOVED = "import os\nos.replace(__file__ + '.next', __file__)\n"
"""As by `mv`, or `rsync -a`: the file keeps the time of its content, which is long ago."""


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Path]:
    modules, paths = set(sys.modules), list(sys.path)
    draft = tmp_path / "edited_while_loaded.py.next"
    draft.write_text(NEXT, encoding="utf-8")
    os.utime(draft, (1_000_000_000, 1_000_000_000))
    yield tmp_path / "edited_while_loaded.py"
    for name in set(sys.modules) - modules:
        del sys.modules[name]
    sys.path[:] = paths


@pytest.mark.parametrize("end", ["", "raise ValueError('half of an edit')\n"], ids=["sound", "broken"])
@pytest.mark.parametrize("edit", [WRITTEN, MOVED], ids=["written", "moved"])
def test_a_worker_sees_an_edit_that_comes_while_it_loads(script: Path, edit: str, end: str) -> None:
    """Else a script that was broken is not served any more, although it was mended."""
    script.write_text(edit + end, encoding="utf-8")
    program = Program(script.with_name("state.db"), [str(script)], [], str(script.parent), None)
    assert [one.path for one in program.broken] == ([str(script)] if end else [])
    edits = Edits()
    edits.watch(program.all_files())
    assert edits.look() == []
    assert edits.look() == [os.path.realpath(script)]


@pytest.mark.parametrize("edit", [WRITTEN, MOVED], ids=["written", "moved"])
def test_a_page_sees_an_edit_that_comes_while_it_loads(script: Path, edit: str) -> None:
    """The next look at the script gives what is there now."""
    script.write_text(edit, encoding="utf-8")
    assert not hasattr(load_current(script, forget_files), "served_next")
    assert hasattr(load_current(script, forget_files), "served_next")


def test_bytecode_of_an_earlier_edition_is_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes by the second and the size of its source, which an edit may leave as they were: a script is executed as
    it is, and of a module of its own that was edited the bytecode goes."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.syspath_prepend(str(tmp_path))
    modules = set(sys.modules)

    def write(name: str, version: int) -> Path:
        path = tmp_path / f"{name}.py"
        path.write_text(f"VERSION = {version}\n", encoding="utf-8")
        os.utime(path, (1_000_000_000, 1_000_000_000))
        return path

    script, helper = write("kept_script", 1), write("kept_helper", 1)
    for path in (script, helper):
        py_compile.compile(str(path))
    edits = Edits()
    edits.watch({str(helper): digest_of(str(helper))})
    for name in ("kept_script", "kept_helper"):
        write(name, 2)
    edits.look()
    assert edits.look() == [str(helper)]
    assert load_script(script).VERSION == 2
    assert importlib.import_module("kept_helper").VERSION == 2
    for name in set(sys.modules) - modules:
        del sys.modules[name]
