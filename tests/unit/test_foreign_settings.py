"""Settings that another user can write: they start no program, and send nothing anywhere."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import pytest

from conftest import replace
from perdure.config import project_file, settings

OTHER = 65534
HOSTILE = '[tool.perdure]\nalerts = ["exec:/bin/evil"]\nstate = "/tmp/theirs.db"\nengine = "temporal://evil:7233"\n'

as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives files to other users")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PERDURE_STATE", "WORKFLOW_STATE_PATH", "PERDURE_ALERTS", "PERDURE_ENGINE", "PERDURE_HEARTBEAT"):
        monkeypatch.delenv(name, raising=False)
    settings.forget_files()


@pytest.fixture
def script(tmp_path: Path) -> Path:
    folder = tmp_path / "shared" / "mine"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "script.py").touch()
    return folder / "script.py"


@pytest.fixture
def above(script: Path) -> Path:
    return script.parent.parent / "pyproject.toml"


def decides(script: Path) -> bool:
    """Whether anything of the hostile file is taken; all of its settings go one way."""
    settings.forget_files()
    found = (
        settings.alert_targets(str(script)) != [],
        settings.engine_url(str(script)) != "local",
        settings.state_path(str(script)) != script.parent / ".perdure" / "state.db",
    )
    assert len(set(found)) == 1
    return found[0]


@as_root
def test_a_file_of_another_user(script: Path, above: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing in it counts; one line says which file, why, and what to do."""
    above.write_text(HOSTILE)
    os.chown(above, OTHER, OTHER)
    with caplog.at_level(logging.WARNING, "perdure"):
        assert not decides(script)
    (line,) = caplog.messages
    assert str(above) in line
    assert "uid 65534" in line
    assert "PERDURE_" in line


def test_a_file_that_all_users_can_write(script: Path, above: Path) -> None:
    """Its owner is not who wrote it."""
    above.write_text(HOSTILE)
    above.chmod(0o666)
    assert not decides(script)
    above.chmod(0o644)
    assert decides(script)


def test_a_folder_on_the_way_that_all_users_can_write(script: Path, above: Path) -> None:
    """There a file can be exchanged for another; not so in a sticky folder, such as /tmp."""
    above.write_text(HOSTILE)
    script.parent.chmod(0o777)
    assert not decides(script)
    script.parent.chmod(0o1777)
    assert decides(script)


@as_root
def test_a_link_of_another_user_to_a_file_of_ours(script: Path, above: Path, tmp_path: Path) -> None:
    """Who made the link has chosen what it says here."""
    (tmp_path / "elsewhere.toml").write_text(HOSTILE)
    above.symlink_to(tmp_path / "elsewhere.toml")
    os.lchown(above, OTHER, OTHER)
    assert not decides(script)
    os.lchown(above, 0, 0)
    assert decides(script)


@as_root
def test_the_owner_of_the_script_is_trusted_with_its_settings(script: Path, above: Path) -> None:
    """A project that is mounted into a container is run by root; its owner could say the same in the script."""
    above.write_text(HOSTILE)
    os.chown(above, OTHER, OTHER)
    os.chown(script, OTHER, OTHER)
    assert decides(script)


@as_root
def test_a_planted_file_hides_no_true_one(script: Path, above: Path) -> None:
    """What does not count is as if it were not there."""
    planted = script.parent / "pyproject.toml"
    planted.write_text("[tool.perdure]\n")
    os.chown(planted, OTHER, OTHER)
    above.write_text(HOSTILE)
    assert decides(script)


@pytest.mark.parametrize("mark", project_file.CHECKOUT)
def test_nothing_from_above_the_root_of_a_checkout(mark: str, script: Path, above: Path) -> None:
    """The settings of a project lie in the project."""
    above.write_text(HOSTILE)
    (script.parent / mark).mkdir()
    assert not decides(script)
    (script.parent / "pyproject.toml").write_text(HOSTILE)
    assert decides(script)


def test_a_pipe_by_that_name_hangs_nothing(script: Path, above: Path) -> None:
    """It is not waited for a writer who never comes."""
    os.mkfifo(above)
    assert not decides(script)


def test_a_folder_that_may_not_be_searched_has_no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever stands in a folder of somebody else can still look at a state file that is named."""

    def closed(path: object) -> os.stat_result:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    replace(monkeypatch, project_file.os, "lstat", closed)
    assert project_file._read_trusted(tmp_path / "pyproject.toml", [], None) is None
