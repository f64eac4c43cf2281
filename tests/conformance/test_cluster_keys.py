"""The keys that encrypt what a cluster stores: where they come from, and what is wrong with them, without a cluster."""

from __future__ import annotations

import base64
import logging
import os
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload

from perdure.engines.temporal import credentials, encryption
from perdure.engines.temporal.address import Address
from perdure.engines.temporal.encryption import KeyRing, key_ring_of
from perdure.errors import DecryptionError, OptionError

KEY = base64.b64encode(b"0123456789abcdef" * 2).decode()
PAYLOAD = Payload(metadata={"encoding": b"binary/plain"}, data=b"canary")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (KEY, "entry 1 of PERDURE_ENCRYPTION_KEYS has no key id"),
        (f"a:{KEY} {KEY}", "entry 2 of PERDURE_ENCRYPTION_KEYS has no key id"),
        (f"a:{KEY[:-5]}", "entry 1 of PERDURE_ENCRYPTION_KEYS is no key of 32 bytes"),
        (f"plain a:{KEY}!", "entry 2 of PERDURE_ENCRYPTION_KEYS is no key of 32 bytes"),
        (f"a:{KEY}, a:{KEY}", "two keys of the id 'a'"),
        (f"a:{KEY} plain", "entry 2 of PERDURE_ENCRYPTION_KEYS has no key id"),
    ],
)
def test_keys_that_are_none(monkeypatch: pytest.MonkeyPatch, text: str, wrong: str) -> None:
    """What is wrong is said by number, and nothing of a key is quoted."""
    monkeypatch.setenv("PERDURE_ENCRYPTION_KEYS", text)
    with pytest.raises(OptionError, match=wrong) as refused:
        key_ring_of(Address("host:1"))
    assert KEY[:10] not in str(refused.value)


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    """So keys can be rotated; the same value never looks the same twice."""
    old, new = KeyRing([("old", b"o" * 32)]), KeyRing([("new", b"n" * 32), ("old", b"o" * 32)])
    sealed = old.seal(PAYLOAD)
    assert new.open(sealed) == PAYLOAD
    assert new.seal(PAYLOAD).metadata["encryption-key-id"] == b"new"
    assert old.seal(PAYLOAD).data != sealed.data
    assert KeyRing().open(PAYLOAD) == PAYLOAD, "what was written before there were keys is read"


def test_what_was_changed_is_not_decrypted() -> None:
    """Neither a changed byte, nor a cut, nor another key of the same id gives a value."""
    ring = KeyRing([("a", b"a" * 32)])
    sealed = ring.seal(PAYLOAD)
    for data in (sealed.data[:-1] + bytes([sealed.data[-1] ^ 1]), sealed.data[:20], sealed.data[:5], b""):
        with pytest.raises(DecryptionError, match="cannot be decrypted with key 'a'"):
            ring.open(Payload(metadata=sealed.metadata, data=data))
    with pytest.raises(DecryptionError, match="cannot be decrypted with key 'a'"):
        KeyRing([("a", b"b" * 32)]).open(sealed)


def test_an_encryption_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With keys and without the package nothing is begun in clear."""
    monkeypatch.setenv("PERDURE_ENCRYPTION_KEYS", f"a:{KEY}")
    monkeypatch.setattr(encryption, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"perdure\[encryption\]"):
        key_ring_of(Address("host:1"))


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="the system has no owners")
def test_files_that_others_can_change(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A key that another user can exchange is not used; one that all can read is named on one line."""
    path = tmp_path / "keys"
    path.write_text(f"# made in November\na:{KEY}\n")
    path.chmod(0o666)
    with pytest.raises(OptionError, match="all users can write it"):
        key_ring_of(Address("host:1", encryption_keys_file=str(path)))
    path.chmod(0o644)
    with caplog.at_level(logging.WARNING, "perdure"):
        assert key_ring_of(Address("host:1", encryption_keys_file=str(path))).seal(PAYLOAD) != PAYLOAD
    assert f"every user of this machine can read {path}" in caplog.text


def test_api_keys_that_are_none(tmp_path: Path) -> None:
    """An empty file, and one with more than a key in it, are errors that do not quote it."""
    path = tmp_path / "key"
    for text in ("", "two words", "line\nline", "nön"):
        path.write_text(text)
        with pytest.raises(OptionError, match="holds no API key") as refused:
            credentials.api_key_of(Address("host:1", api_key_file=str(path)))
        assert not text or text not in str(refused.value)
