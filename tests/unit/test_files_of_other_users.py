"""What another user has made beside a script is not used: it could be read, exchanged, or hang whoever waits for it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alert_world import Chat, failed

from conftest import replace
from perdure.alerts import atomic_files, sender
from perdure.alerts.spool import Spool
from perdure.errors import StateReadOnly, StateUntrusted
from perdure.operations.doctor import examine
from perdure.operations.location import Location, opened
from perdure.store import database, liveness, migration, state_files
from perdure.store.flight_record import dead
from perdure.store.flight_recorder import Recorder
from perdure.store.liveness import Liveness, is_held, seems_alive
from perdure.store.runs import Store

OTHER = 65534

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives files to other users")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PERDURE_SHARED", raising=False)


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / ".perdure" / "state.db"
    Store(path).close()
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("suffix", ["", *state_files.BESIDE])
def test_a_file_or_folder_that_another_user_has_made(suffix: str, state: Path) -> None:
    """It is refused before it is read or written; the error names it, its owner, and the way out."""
    planted = state.with_name(state.name + suffix)
    if suffix:
        planted.mkdir()
    os.chown(planted, OTHER, OTHER)
    with pytest.raises(StateUntrusted) as refused:
        Store(state)
    assert str(planted) in refused.value.what
    assert "uid 65534" in refused.value.what
    assert "PERDURE_STATE" in refused.value.hint
    assert "PERDURE_SHARED" in refused.value.hint


def test_a_folder_that_another_user_has_made_beside_the_script(tmp_path: Path) -> None:
    """Whoever owns it can exchange what lies in it. A folder that the user names is the user's choice."""
    (tmp_path / ".perdure").mkdir()
    os.chown(tmp_path / ".perdure", OTHER, OTHER)
    with pytest.raises(StateUntrusted, match="PERDURE_STATE"):
        Store(tmp_path / ".perdure" / "state.db")
    (tmp_path / "named").mkdir()
    os.chown(tmp_path / "named", OTHER, OTHER)
    Store(tmp_path / "named" / "state.db").close()


def test_a_link_of_ours_to_a_file_of_another_user(state: Path, tmp_path: Path) -> None:
    """A state file may be a link, and what it leads to is looked at: its owner could exchange that."""
    elsewhere = tmp_path / "elsewhere.db"
    state.rename(elsewhere)
    state.symlink_to(elsewhere)
    Store(state).close()
    os.chown(elsewhere, OTHER, OTHER)
    with pytest.raises(StateUntrusted, match="uid 65534"):
        Store(state)


@pytest.mark.parametrize("suffix", state_files.BESIDE)
def test_a_link_where_none_belongs(suffix: str, state: Path, tmp_path: Path) -> None:
    """What it leads to is neither written nor removed."""
    state.with_name(state.name + suffix).symlink_to(tmp_path)
    with pytest.raises(StateUntrusted, match="is a link"):
        Store(state)


def test_a_copy_of_an_older_file_that_another_user_has_made(state: Path) -> None:
    """Its name can be guessed; it is neither written nor removed."""
    planted = migration.copy_of(state, database.SCHEMA_VERSION)
    planted.touch()
    os.chown(planted, OTHER, OTHER)
    with pytest.raises(StateUntrusted, match="uid 65534"):
        Store(state)
    assert planted.exists()


def test_a_link_of_our_own_to_the_state(state: Path, tmp_path: Path) -> None:
    """The folder of the state may lie on another disk."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / ".perdure").symlink_to(state.parent)
    Store(tmp_path / "elsewhere" / ".perdure" / "state.db").close()
    os.lchown(tmp_path / "elsewhere" / ".perdure", OTHER, OTHER)
    with pytest.raises(StateUntrusted):
        Store(tmp_path / "elsewhere" / ".perdure" / "state.db")


def test_looking_is_allowed(state: Path) -> None:
    """Root looks at the runs of a user."""
    os.chown(state, OTHER, OTHER)
    Store(state, read_only=True).close()


def test_sharing_on_purpose(state: Path, monkeypatch: pytest.MonkeyPatch, umask: None) -> None:
    """With PERDURE_SHARED files of others are used, and those that are made are open to the group alone."""
    os.chown(state, OTHER, OTHER)
    monkeypatch.setenv("PERDURE_SHARED", "1")
    Store(state).close()
    presence = Liveness(state)
    token = presence.show()
    locks = liveness.locks_of(state)
    assert (mode(locks), mode(locks / f"{token}.lock")) == (0o2770, 0o660)
    recorder = Recorder(state.with_name("flight"), token)
    assert mode(recorder.path) == 0o660
    recorder.close()
    presence.close()


def test_folders_are_private_under_any_umask(tmp_path: Path, umask: None) -> None:
    """Also those above a path that PERDURE_STATE names."""
    Store(tmp_path / "a" / "b" / "state.db").close()
    assert [mode(tmp_path / name) for name in ("a", "a/b", "a/b/state.db")] == [0o700, 0o700, 0o600]
    atomic_files.make_folder(tmp_path / "c" / "d")
    assert [mode(tmp_path / name) for name in ("c", "c/d")] == [0o700, 0o700]


@pytest.mark.parametrize("mask", [0o177, 0o277, 0o477, 0o777])
def test_a_umask_that_takes_what_the_owner_needs_takes_nothing(tmp_path: Path, umask: None, mask: int) -> None:
    """Folders are 0700 and files 0600 all the same: else their own user could not use them again."""
    os.umask(mask)
    store = Store(tmp_path / "a" / "state.db")
    presence = Liveness(tmp_path / "a" / "state.db")
    presence.show()
    made = {path: mode(path) for path in [tmp_path / "a", *(tmp_path / "a").rglob("*")]}
    store.close()
    presence.close()
    assert len(made) > 3
    assert made == {path: 0o700 if path.is_dir() else 0o600 for path in made}


def test_state_stays_out_of_git(tmp_path: Path) -> None:
    """`git add .` takes no inputs and results along; a file of the user's own is left alone."""
    Store(tmp_path / ".perdure" / "state.db").close()
    assert (tmp_path / ".perdure" / ".gitignore").read_text() == "*\n"
    (tmp_path / ".perdure" / ".gitignore").write_text("mine")
    Store(tmp_path / ".perdure" / "other.db").close()
    assert (tmp_path / ".perdure" / ".gitignore").read_text() == "mine"
    Store(tmp_path / "named.db").close()
    assert not (tmp_path / ".gitignore").exists()


def test_a_folder_of_alerts_that_another_user_has_made(tmp_path: Path) -> None:
    """No alert is put where its reader is another user."""
    (tmp_path / "alerts").mkdir()
    os.chown(tmp_path / "alerts", OTHER, OTHER)
    with pytest.raises(PermissionError, match="uid 65534"):
        atomic_files.make_folder(tmp_path / "alerts")


def test_a_folder_of_alerts_that_is_a_link(tmp_path: Path) -> None:
    """It leads to a folder that is not ours; a link that leads nowhere is set aside, so that alerts are not lost."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "alerts").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotADirectoryError, match="a link"):
        atomic_files.make_folder(tmp_path / "alerts")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    atomic_files.make_folder(tmp_path / "broken")
    assert mode(tmp_path / "broken") == 0o700


def test_a_pipe_among_the_flight_records(tmp_path: Path) -> None:
    """A start waits for nobody."""
    os.mkfifo(tmp_path / "7-0123456789abcdef.rec")
    assert dead(tmp_path, tmp_path / "locks") == []


@pytest.fixture
def locked_out(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Root is locked out of nothing: the system's answer to any other user is put in its place."""

    def lock_out(path: Path) -> None:
        real_open, real_stat, real_lstat, real_access = os.open, os.stat, os.lstat, os.access

        def refuse(name: object) -> None:
            if isinstance(name, str | os.PathLike) and Path(name).is_relative_to(path):
                raise PermissionError(13, "Permission denied", str(name))

        def opening(name: str, *rest: int, **more: int) -> int:
            refuse(name)
            return real_open(name, *rest, **more)

        def looking(name: str, **more: bool) -> os.stat_result:
            refuse(name)
            return real_stat(name, **more)

        def looking_at_itself(name: str, **more: int) -> os.stat_result:
            if Path(name) != path:  # whose a folder is that is closed can be seen
                refuse(name)
            return real_lstat(name, **more)

        def may(name: str | os.PathLike[str], *rest: int, **more: bool) -> bool:
            return not Path(name).is_relative_to(path) and real_access(name, *rest, **more)

        replace(monkeypatch, os, "open", opening)
        replace(monkeypatch, os, "stat", looking)
        replace(monkeypatch, os, "lstat", looking_at_itself)
        replace(monkeypatch, os, "access", may)

    return lock_out


def test_the_lock_of_another_user(state: Path, locked_out: Callable[[Path], None]) -> None:
    """Whether its process lives cannot be said, so its run is not taken; the error says what to remove."""
    lock = liveness.locks_of(state) / "7-0123456789abcdef.lock"
    lock.parent.mkdir()
    lock.touch()
    (state.parent / "flight").mkdir()
    (state.parent / "flight" / "7-0123456789abcdef.rec").touch()
    locked_out(lock)
    with pytest.raises(StateUntrusted, match="the lock of process 7 cannot be opened") as refused:
        is_held(lock)
    assert f"rm -f {lock}" in refused.value.hint
    assert dead(state.parent / "flight", lock.parent) == []


def test_runs_are_shown_beside_the_lock_of_another_user(
    state: Path, locked_out: Callable[[Path], None], capfd: pytest.CaptureFixture[str]
) -> None:
    """Who only looks takes nothing from a process: it counts as alive, which one line says, with what to do."""
    presence = Liveness(state)
    token = presence.show()
    presence.forget()  # as if it had been killed
    locked_out(liveness.locks_of(state) / f"{token}.lock")
    assert Liveness(state, looks=True).lives(token)
    assert seems_alive(state, token)
    (line,) = capfd.readouterr().err.splitlines()
    assert "counts as alive" in line
    assert "rm -f" in line
    with pytest.raises(StateUntrusted):
        Liveness(state).lives(token)


def test_the_user_that_keeps_a_file_is_named(
    state: Path, locked_out: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after one run under sudo: who it belongs to, and the command that gives it back, for runs and commands."""
    monkeypatch.setenv("PERDURE_SHARED", "1")  # the user is one that is trusted, as root is
    os.chown(state.parent, OTHER, OTHER)
    locked_out(state.parent)
    place = Location(state, "a test", "")
    for look in (lambda: Store(state), lambda: opened(place).__enter__()):
        with pytest.raises(StateReadOnly, match=r"belongs to .*uid 65534") as refused:
            look()
        assert f"sudo chown -R {os.geteuid()} {state.parent}" in refused.value.hint
    assert any("sudo chown" in check.hint for check in examine(place).state)


def test_a_folder_of_the_system_is_not_given_away(tmp_path: Path, locked_out: Callable[[Path], None]) -> None:
    """Where perdure has made nothing yet, no command says to change whose the folder is."""
    os.chown(tmp_path, OTHER, OTHER)
    locked_out(tmp_path)
    with pytest.raises(StateReadOnly, match="belongs to") as refused:
        Store(tmp_path / ".perdure" / "state.db")
    assert "chown" not in refused.value.hint


@pytest.mark.parametrize("whose", ["state.db", ""])
def test_no_alerts_are_put_beside_the_state_of_another_user(whose: str, state: Path) -> None:
    """Who is refused there leaves nothing behind: the folder would be closed to whom the state belongs to."""
    os.chown(state.parent / whose, OTHER, OTHER)
    with pytest.raises(PermissionError, match="uid 65534"):
        Spool(sender.folder_of(state)).put(failed("x"), [Chat("a")])
    assert not sender.folder_of(state).exists()


def test_doctor_and_a_state_that_is_shared(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is open to the group on purpose is no fault; what is open to all is."""
    state.chmod(0o660)
    place = Location(state, "a test", "")
    seen = []
    for shared, bits in (("", 0o660), ("1", 0o660), ("1", 0o664)):
        state.chmod(bits)
        monkeypatch.setenv("PERDURE_SHARED", shared)
        seen += [(check.verdict, check.hint) for check in examine(place).state if check.name == "permissions"]
    assert seen == [("warning", f"chmod 600 {state}"), ("ok", ""), ("warning", f"chmod 660 {state}")]


def test_a_state_file_that_cannot_be_looked_at(state: Path, locked_out: Callable[[Path], None]) -> None:
    """A named error, for runs and for commands."""
    locked_out(state.parent)
    place = Location(state, "a test", "")
    with pytest.raises(StateReadOnly, match="cannot be opened"):
        Store(state)
    with pytest.raises(StateReadOnly, match="cannot be opened"), opened(place):
        pass
    assert not examine(place).ok
