"""A link does what it says, for whoever holds it, until it expires; nobody without the key makes or changes one."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.config import secrets
from perdure.core.redaction.text import redact
from perdure.core.signal_links import LONGEST, Link, read, sign
from perdure.errors import BadToken, LinkExpired, OptionError, StateCorrupt, StateUntrusted
from perdure.store.link_keys import VARIABLE, common_keys, file_of, keys_of

KEY, OLD = bytes(32), bytes([1]) * 32
LINK = Link("approval", "order-7", "", "", "0123456789ab", 1_000)
TOKEN = sign(LINK, KEY)


def test_a_token_says_what_was_signed_and_older_keys_verify() -> None:
    """It is safe in an address as it is."""
    assert read(TOKEN, [KEY], 1_000.0) == LINK
    assert read(sign(LINK, OLD), [KEY, OLD], 0.0) == LINK
    assert re.fullmatch(r"pdl_[A-Za-z0-9_-]+", TOKEN)


def test_an_expired_token_and_one_of_another_key() -> None:
    """Each is refused, as what it is."""
    with pytest.raises(LinkExpired):
        read(TOKEN, [KEY], 1_000.5)
    for keys in ([], [OLD]):
        with pytest.raises(BadToken):
            read(TOKEN, keys, 0.0)


@given(st.data())
def test_no_changed_token_is_one(data: st.DataObject) -> None:
    """One character or some bytes changed, added or left out; also other spellings of the same bytes."""
    raw = base64.urlsafe_b64decode(TOKEN[4:] + "=" * (-len(TOKEN[4:]) % 4))
    at = data.draw(st.integers(0, len(TOKEN)))
    kind = data.draw(st.sampled_from(["replace", "insert", "cut", "bytes", "text"]))
    other = data.draw(st.characters())
    forged = {
        "replace": TOKEN[:at] + other + TOKEN[at + 1 :],
        "insert": TOKEN[:at] + other + TOKEN[at:],
        "cut": TOKEN[:at],
        "bytes": "pdl_"
        + base64.urlsafe_b64encode(raw[:at] + data.draw(st.binary()) + raw[at + 1 :]).decode().rstrip("="),
        "text": data.draw(st.text()),
    }[kind]
    if forged != TOKEN:
        with pytest.raises(BadToken):
            read(forged, [KEY], 0.0)


def test_a_token_of_the_greatest_length_is_read() -> None:
    """And a longer one is refused unread, however right it is."""
    links = [Link("approval", "r" * length, "", "", "0123456789ab", 1_000) for length in range(2_900, 3_100)]
    by_length = {len(sign(link, KEY)): link for link in links}
    assert read(sign(by_length[LONGEST], KEY), [KEY], 0.0) == by_length[LONGEST]
    with pytest.raises(BadToken):
        read(sign(links[-1], KEY), [KEY], 0.0)


def test_a_token_is_redacted_like_a_credential() -> None:
    """In an address and alone."""
    assert redact(f"https://host/approve/{TOKEN}") == "https://host/approve/pdl_***"
    assert TOKEN[4:] not in redact(f"link={TOKEN} sent")


def test_the_key_lies_beside_the_state_file_for_this_user_alone(tmp_path: Path) -> None:
    """Made once, when a link is made and not when one is read; a line put in front signs, the others verify."""
    state = tmp_path / "state.db"
    assert keys_of(state) == []
    made = keys_of(state, make=True)
    assert [len(key) for key in made] == [32]
    assert keys_of(state, make=True) == keys_of(state) == made
    path = file_of(state)
    assert (path.name, path.stat().st_mode & 0o777) == ("state.db-key", 0o600)
    assert len(path.read_text().strip()) == 64, "32 bytes"
    path.write_text(f"{'ab' * 32}\n{path.read_text()}")
    newer = keys_of(state)
    assert (len(newer), newer[1]) == (2, made[0])


def test_keys_of_the_environment_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several are separated by blanks; none is made then. A short one is refused, and none is shown."""
    state = tmp_path / "state.db"
    monkeypatch.setenv("PERDURE_SIGNAL_KEY", f"{'n' * 40} {'o' * 40}")
    assert len(keys_of(state, make=True)) == 2
    assert not file_of(state).exists()
    assert secrets.conceal(f"a {'n' * 40} b") == "a *** b"
    monkeypatch.setenv("PERDURE_SIGNAL_KEY", "short")
    with pytest.raises(OptionError) as refused:
        keys_of(state)
    assert "short " not in str(refused.value)


def test_a_key_that_others_can_read_or_that_is_none(tmp_path: Path) -> None:
    """Refused, with what to do; a link in its place too."""
    state = tmp_path / "state.db"
    path = file_of(state)
    keys_of(state, make=True)
    path.chmod(0o644)
    with pytest.raises(StateUntrusted, match="other users can read"):
        keys_of(state)
    path.chmod(0o600)
    path.write_text("password\n")
    with pytest.raises(StateCorrupt):
        keys_of(state)
    path.unlink()
    (tmp_path / "other").write_text("ab" * 32)
    os.symlink(tmp_path / "other", path)
    with pytest.raises(Exception, match=r"state\.db-key"):
        keys_of(state, make=True)


def test_keys_of_a_cluster_are_those_of_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """All its machines need them: none is made."""
    monkeypatch.delenv(VARIABLE, raising=False)
    assert common_keys() == []
    with pytest.raises(OptionError, match="no key for it"):
        common_keys(make=True)
    monkeypatch.setenv(VARIABLE, f"{'a' * 32} {'b' * 32}")
    first, second = common_keys(make=True)
    assert common_keys() == [first, second]
    assert first != second
    monkeypatch.setenv(VARIABLE, "b" * 32)
    assert common_keys() == [second]
    monkeypatch.setenv(VARIABLE, f"{'a' * 32} b")
    with pytest.raises(OptionError, match="fewer than"):
        common_keys()


def test_no_key_is_made_where_the_environment_names_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor where there is one."""
    state = tmp_path / "state.db"
    monkeypatch.setenv(VARIABLE, "a" * 32)
    assert len(keys_of(state, make=True)) == 1
    assert not file_of(state).exists()
    monkeypatch.delenv(VARIABLE)
    assert keys_of(state) == []
    assert keys_of(state, make=True) == keys_of(state, make=True)


def test_a_folder_or_a_pipe_is_no_key(tmp_path: Path) -> None:
    """It is named, and not read or waited for; nor does it stay open."""
    state = tmp_path / "state.db"
    path = file_of(state)
    path.parent.mkdir(exist_ok=True)
    for make in (Path.mkdir, os.mkfifo):
        make(path)
        opened = len(os.listdir("/dev/fd"))
        with pytest.raises(StateUntrusted, match="the key of links is no file"):
            keys_of(state)
        assert len(os.listdir("/dev/fd")) == opened
        path.rmdir() if path.is_dir() else path.unlink()
