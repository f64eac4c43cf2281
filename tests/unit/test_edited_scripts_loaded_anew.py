"""A process that outlives a version of a script loads the next one whole, or goes on with the one that it has."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from perdure.config.script_reload import load_current
from perdure.engines.registry import forget_files, steps_named
from perdure.errors import NotFound
from perdure.operations.scripts import find_workflow

JOB = """
from perdure import step, workflow
{helper}
@step(name="reload_{name}")
def work(): return {value}
@workflow
def flow(): return work()
"""


def load(script: Path) -> ModuleType:
    """As its file is now."""
    return load_current(script, forget_files)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder, whose modules are gone after the test."""
    modules, paths = set(sys.modules), list(sys.path)
    yield tmp_path
    for name in set(sys.modules) - modules:
        del sys.modules[name]
    sys.path[:] = paths


def write(path: Path, value: object, name: str = "work", helper: str = "") -> Path:
    path.write_text(JOB.format(value=value, name=name, helper=helper), encoding="utf-8")
    return path


def test_an_edited_script_is_executed_anew(folder: Path) -> None:
    """Also if the edit leaves its size and the second of its last change; unedited, it is the very same module."""
    script = write(folder / "reloaded_job.py", 1)
    first = load(script)
    assert first.work() == 1
    assert load(script) is first
    write(script, 2)
    second = load(script)
    assert second.work() == 2
    assert sys.modules["reloaded_job"] is second
    assert load(script) is second
    assert find_workflow(script) is second.flow


def test_a_broken_script_changes_nothing(folder: Path) -> None:
    """Neither its modules nor its steps: also those that it defined before it broke, or has not any more."""
    script = write(folder / "broken_job.py", 1, name="before")
    first = load(script)
    for text in (JOB.format(value=2, name="after", helper="") + "\n1 / 0", "def (", "raise SystemExit(3)"):
        script.write_text(text, encoding="utf-8")
        with pytest.raises((ZeroDivisionError, SyntaxError, SystemExit)):
            load(script)
        assert sys.modules["broken_job"] is first
        assert [spec.fn() for spec in steps_named("reload_before")] == [1]
        assert steps_named("reload_after") == []
    write(script, 3, name="mended")
    assert load(script).work() == 3
    assert steps_named("reload_before") == [], "the script has no such step any more"


def test_a_script_of_a_package_is_loaded_with_what_it_imports(folder: Path) -> None:
    """Relative imports work; an edit of a module of the package counts as one of the script."""
    package = folder / "reloaded_app" / "jobs"
    package.mkdir(parents=True)
    for each in (package, package.parent):
        (each / "__init__.py").touch()
    prices = package.parent / "prices.py"
    prices.write_text("PRICE = 1", encoding="utf-8")
    script = write(package / "nightly.py", "PRICE", name="priced", helper="from ..prices import PRICE")
    assert load(script).__name__ == "reloaded_app.jobs.nightly"
    prices.write_text("PRICE = 2", encoding="utf-8")
    module = load(script)
    assert module.work() == 2
    assert sys.modules["reloaded_app.jobs"].nightly is module
    prices.write_text("PRICE = ", encoding="utf-8")
    with pytest.raises(SyntaxError):
        load(script)
    assert (sys.modules["reloaded_app.jobs.nightly"], sys.modules["reloaded_app.prices"].PRICE) == (module, 2)


def test_a_renamed_script_is_loaded_under_its_new_name(folder: Path) -> None:
    """Its old name is an error that leaves it loaded; under the new one its steps are defined once."""
    script = write(folder / "old_name.py", 1, name="renamed")
    first = load(script)
    renamed = script.rename(folder / "new_name.py")
    with pytest.raises(NotFound):
        load(script)
    assert sys.modules["old_name"] is first
    module = load(renamed)
    assert module.__name__ == "new_name"
    assert [spec.file for spec in steps_named("reload_renamed")] == [str(renamed)]
