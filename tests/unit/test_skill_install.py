"""`perdure skill install` copies the skill to where agents look, and never over a file that was edited."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from perdure import skill
from perdure.cli import main
from perdure.errors import UsageError
from perdure.operations.skill import MANIFEST, install

NAMES = list(skill.files())


def actions(folder: Path, **options: bool) -> list[str]:
    return [one.action for one in install(folder, **options)]


def place(folder: Path, agent: str = ".agents") -> Path:
    return folder / agent / "skills" / "perdure"


@pytest.fixture
def older(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with the skill of an older version, in which SKILL.md was another, and old.md there."""
    with monkeypatch.context() as patch:
        before = skill.files() | {"SKILL.md": b"older\n", "references/old.md": b"old\n"}
        patch.setattr(skill, "files", lambda: before)
        install(tmp_path)
    return tmp_path


def test_it_is_copied_to_the_agents_folder(tmp_path: Path) -> None:
    """All files, as they are in the package; not for Claude where that is not used."""
    assert actions(tmp_path) == ["written"] * len(NAMES)
    assert {name: (place(tmp_path) / name).read_bytes() for name in NAMES} == skill.files()
    assert not (tmp_path / ".claude").exists()
    assert actions(tmp_path) == ["unchanged"] * len(NAMES)


def test_it_is_also_copied_to_the_claude_folder(tmp_path: Path) -> None:
    """Where there is one; and once only if that is a link to the other."""
    (tmp_path / ".claude").mkdir()
    assert actions(tmp_path) == ["written"] * 2 * len(NAMES)
    assert (place(tmp_path, ".claude") / "SKILL.md").read_bytes() == skill.files()["SKILL.md"]
    linked = tmp_path / "linked"
    (linked / ".claude").mkdir(parents=True)
    (linked / ".claude" / "skills").symlink_to("../.agents/skills")
    assert actions(linked) == ["written"] * len(NAMES)


def test_for_the_user_it_goes_to_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--user`, with no folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    install(None, user=True)
    assert (place(tmp_path) / "SKILL.md").exists()
    with pytest.raises(UsageError, match="name two places"):
        install(tmp_path, user=True)


def test_an_edited_file_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also by every later installation, until --force; each file has its line, and the exit code says it."""
    install(tmp_path)
    edited = place(tmp_path) / "SKILL.md"
    edited.write_text("mine\n")
    for _ in range(3):
        assert main(["skill", "install", str(tmp_path)]) == 1
        said = capsys.readouterr().out.splitlines()
        assert said[0] == f"kept       {edited}"
        assert len(said) == len(NAMES) + 1
        assert edited.read_text() == "mine\n"
    assert main(["skill", "install", str(tmp_path), "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"][0] == {"path": str(edited), "action": "updated"}
    assert edited.read_bytes() == skill.files()["SKILL.md"]


def test_a_newer_version_replaces_what_was_not_edited(older: Path) -> None:
    """What it has no more is removed."""
    old = place(older) / "references" / "old.md"
    assert old.exists()
    found = {Path(one.path).name: one.action for one in install(older)}
    assert (found["SKILL.md"], found["template.py"], found["old.md"]) == ("updated", "unchanged", "removed")
    assert not old.exists()


def test_what_was_edited_is_kept_by_a_newer_version(older: Path) -> None:
    """A file that it has no more, too."""
    for name in ("SKILL.md", "references/old.md"):
        (place(older) / name).write_text("mine\n")
    found = {Path(one.path).name: one.action for one in install(older)}
    assert (found["SKILL.md"], found["old.md"]) == ("kept", "kept")


def test_an_installation_that_was_cut_short_is_completed(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that it had replaced, and those that it had not, are no edited ones."""
    import perdure.operations.skill as operation

    real = operation._write

    def write(path: Path, content: bytes) -> None:
        if path.name == "template.py" or (path.name == "SKILL.md" and content != b"older\n"):
            raise KeyboardInterrupt
        real(path, content)

    (place(older) / "assets" / "template.py").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(operation, "_write", write)
        with pytest.raises(KeyboardInterrupt):
            install(older)
    assert set(actions(older)) == {"updated", "unchanged", "written", "removed"}


@pytest.mark.parametrize("manifest", ["", "{", "[1]", '{"SKILL.md": 7}'])
def test_without_a_list_of_what_was_installed_nothing_is_replaced(tmp_path: Path, manifest: str) -> None:
    """A file that may be the user's is kept."""
    place(tmp_path).mkdir(parents=True)
    (place(tmp_path) / "SKILL.md").write_text("mine\n")
    (place(tmp_path) / MANIFEST).write_text(manifest)
    assert actions(tmp_path)[0] == "kept"


def test_a_forged_list_removes_nothing_elsewhere(tmp_path: Path) -> None:
    """Names in it are no paths: it may have come with somebody's repository."""
    import hashlib

    (tmp_path / "precious.md").write_text("precious\n")
    digest = hashlib.sha256(b"precious\n").hexdigest()
    place(tmp_path).mkdir(parents=True)
    names = ["../../../precious.md", str(tmp_path / "precious.md"), "references/../../../../precious.md"]
    (place(tmp_path) / MANIFEST).write_text(json.dumps({name: [digest] for name in names}))
    assert set(actions(tmp_path, force=True)) == {"written"}
    assert (tmp_path / "precious.md").exists()


def test_links_are_not_written_through(tmp_path: Path, older: Path) -> None:
    """A file that is a link is kept, or with --force replaced; a folder that leads out of the project is refused."""
    (tmp_path / "elsewhere.md").write_text("theirs\n")
    project = tmp_path / "project"
    place(project).mkdir(parents=True)
    (place(project) / "SKILL.md").symlink_to(tmp_path / "elsewhere.md")
    assert actions(project)[0] == "kept"
    assert actions(project, force=True)[0] == "updated"
    assert (tmp_path / "elsewhere.md").read_text() == "theirs\n"
    (place(older) / "SKILL.md").rename(tmp_path / "moved.md")
    (place(older) / "SKILL.md").symlink_to(tmp_path / "moved.md")
    assert actions(older)[0] == "kept", "also if it holds what was installed"
    other = tmp_path / "other"
    other.mkdir()
    (other / ".agents").symlink_to(tmp_path / "project")
    with pytest.raises(UsageError, match="leads out of"):
        install(other)


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that is missing, and one in whose place there is a file; the exit code is 2."""
    (tmp_path / ".agents").write_text("a file\n")
    for folder in (tmp_path / "missing", tmp_path):
        assert main(["skill", "install", str(folder)]) == 2
        assert str(folder) in capsys.readouterr().err
    assert os.listdir(tmp_path) == [".agents"]


def test_it_can_be_read_without_installing_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Each of its files by its name."""
    assert main(["skill", "show"]) == 0
    assert capsys.readouterr().out.encode() == skill.files()["SKILL.md"]
    assert main(["skill", "show", "assets/template.py"]) == 0
    assert "@workflow" in capsys.readouterr().out
    assert main(["skill", "show", "../__init__.py"]) == 2
