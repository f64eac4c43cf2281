"""Large payloads are cut into pieces, and what they have in common is the same piece."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.core.letter_record import LetterRecord
from perdure.core.records import AttemptRecord, RunRecord, StepRecord
from perdure.core.values import pieces as cutting
from perdure.core.values.extensions import APART, STAND_IN, Ext, encode
from perdure.core.values.pieces import INLINE, MOST_BYTES, Manifest, cut, in_file, is_apart, manifest, manifest_of
from perdure.errors import StateCorrupt
from perdure.store import artifacts, listing, pieces
from perdure.store.runs import Store

RUN = RunRecord(
    1,
    "r-1",
    "app.py",
    "/srv/app.py",
    "job",
    bytes(16),
    True,
    None,
    "done",
    None,
    0,
    b"\x90",
    b"\xc0",
    0.0,
    0.0,
    None,
    0,
)
WORDS = [f"w{number}" for number in range(1000)]


def text(seed: int, words: int) -> bytes:
    return " ".join(random.Random(seed).choices(WORDS, k=words)).encode()


def joined(found: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(piece for _, piece in found)


@given(st.binary(max_size=200), st.integers(0, 60_000), st.binary(max_size=200))
def test_the_pieces_joined_are_what_was_cut(head: bytes, zeros: int, tail: bytes) -> None:
    """Whatever it holds, and whatever it is compared with."""
    data = head + bytes(zeros) + tail
    found = cut(data)
    assert joined(found) == data
    assert joined(cut(data, cut(tail + data))) == data


@pytest.mark.parametrize("kind", ["text", "binary"])
def test_what_two_payloads_share_is_the_same_pieces(kind: str) -> None:
    """Also if it stands elsewhere in one of them: all but the ends of 500 kB are the same."""
    data = text(1, 120_000) if kind == "text" else random.Random(1).randbytes(500_000)
    one, other = dict(cut(data)), dict(cut(b"\x93" + text(2, 1000) + data))
    new = sum(len(piece) for key, piece in other.items() if key not in one)
    assert new < 70_000


def test_a_piece_is_no_longer_than_is_said() -> None:
    """Nor shorter, but for the last one; also where nothing tells where one should end."""
    for data in (text(1, 50_000), b"x" * 100_000, bytes(100_000), random.Random(1).randbytes(300_000)):
        *found, last = (len(piece) for _, piece in cut(data))
        assert 4_096 <= min(found) <= max(found) <= 32_768
        assert last <= 32_768


def test_comparing_with_what_came_before_changes_no_piece() -> None:
    """A list that grows is cut where it would be for the first time; so is one that lost its head."""
    before = cut(b"\x9f" + text(1, 50_000))
    for data in (b"\xdc\x00\x10" + text(1, 50_000) + text(2, 50_000), text(1, 50_000)[9_999:], b""):
        assert cut(data, before) == cut(data)


def test_a_manifest_is_small_however_large_the_payload() -> None:
    """Its digests are pieces themselves where they are many."""
    data = random.Random(1).randbytes(8_000_000)
    stored, found = manifest_of(len(data), cut(data))
    assert is_apart(stored)
    assert len(stored) < INLINE
    assert manifest(stored).level == 1
    assert sum(map(len, found.values())) < len(data) + 30_000


def test_no_value_of_a_user_is_taken_for_a_manifest() -> None:
    """Whatever msgpack a payload begins with: only the extension of that code is one."""
    for value in (None, b"", b"\xc7\x05\x24", [1], {"a": 1}, Ext(APART + 1, b"x" * 40), "x" * 300):
        assert not is_apart(encode(value))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state.db")


def kept(store: Store, rid: int, payload: bytes) -> bytes:
    stored: bytes = store.journal.write((), lambda connection: pieces.keep(connection, rid, payload))
    return stored


def read(store: Store, stored: bytes) -> bytes:
    joined: bytes = store.journal.read(lambda connection: pieces._join(connection, stored, "it", store.path, ""))
    return joined


def count(store: Store) -> int:
    number: int = store.journal.read(lambda connection: connection.execute("SELECT count(*) FROM piece").fetchone())[0]
    return number


def test_pieces_go_with_the_last_run_that_uses_them(store: Store) -> None:
    """Two runs share most of them; what is left of one reads as before."""
    one, other = text(1, 50_000), text(1, 50_000) + text(2, 50_000)
    first, second = kept(store, 1, one), kept(store, 2, other)
    both = count(store)
    store.journal.write((), lambda connection: pieces.release(connection, 1))
    assert read(store, second) == other
    assert both - 3 <= count(store) <= both
    with pytest.raises(ValueError, match="missing"):
        read(store, first)
    store.journal.write((), lambda connection: pieces.release(connection, 2))
    assert count(store) == 0


def test_a_fork_uses_what_its_source_uses(store: Store) -> None:
    """What a run shares with another stays when that one goes."""
    stored = kept(store, 1, text(1, 50_000))

    def go(connection: apsw.Connection) -> None:
        pieces.share(connection, 1, 2)
        pieces.release(connection, 1)

    store.journal.write((), go)
    assert read(store, stored) == text(1, 50_000)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("UPDATE piece SET data = zeroblob(length(data)) WHERE rowid = 2", "is not what was written"),
        ("DELETE FROM piece WHERE rowid = 2", "is missing"),
        ("UPDATE piece SET data = x'' WHERE rowid = 2", "is not what was written"),
    ],
)
def test_damage_is_found_and_named(store: Store, damage: str, said: str) -> None:
    """Whatever has happened to a piece: the record that needs it is named, and nothing is made of what is left."""
    given = kept(store, 1, text(1, 50_000))
    connection = apsw.Connection(str(store.path))
    connection.execute(damage)
    connection.close()
    record = StepRecord(7, "load", bytes(16), 0, "done", b"\x90", given, 0.0, 0, 1, 0, "step")
    with pytest.raises(StateCorrupt, match=f"output of record #7 load is damaged: .*{said}"):
        store.whole(record)


@pytest.mark.parametrize("field", ["input", "output", "result"])
@pytest.mark.parametrize(
    ("record", "named"),
    [
        (StepRecord(7, "load", bytes(16), 0, "done", b"\x90", b"\xc0", 0.0, 0, 1, 0, "step"), "record #7 load"),
        (AttemptRecord(0, "load", bytes(16), 0, 3, True, b"\x90", b"\xc0", 0.0, 0, 0), "attempt 3 of load"),
        (RUN, "run r-1"),
        (LetterRecord(5, 1, 7, "parked", 0.0, 0.0, 0, None, b"\x90", None, None, 0), "dead letter 5"),
    ],
    ids=["step", "attempt", "run", "letter"],
)
def test_a_payload_that_is_gone_is_named_with_its_record(store: Store, record: Any, named: str, field: str) -> None:
    """An error names it; people are shown the rest of the record, and why this is missing."""
    if field not in pieces._PAYLOADS[type(record)]:
        return
    record = msgspec.structs.replace(record, **{field: kept(store, 1, text(1, 50_000))})
    stored = getattr(record, field)
    assert store.journal.read(lambda connection: pieces.joined(connection, stored, store.path)) == text(1, 50_000)
    assert getattr(store.whole(record), field) == text(1, 50_000)
    assert store.journal.read(lambda connection: pieces.complete(connection, record, store.path))
    store.journal.write((), lambda connection: connection.execute("DELETE FROM piece WHERE rowid = 2") and None)
    assert not store.journal.read(lambda connection: pieces.complete(connection, record, store.path))
    assert store.journal.read(lambda connection: pieces.joined(connection, stored, store.path)) is None
    with pytest.raises(StateCorrupt, match=f"the {field} of {named} is damaged: a piece of it is missing"):
        store.whole(record)
    shown = getattr(store.shown(record), field)
    assert msgspec.msgpack.decode(shown) == msgspec.msgpack.Ext(STAND_IN, f"the {field} of {named} is damaged".encode())


def test_a_payload_in_a_file_is_looked_for_there(store: Store) -> None:
    """It is not put together for what is only compared; a file that is gone is said to be."""
    stored, name = in_file(b"x" * 20_000)
    record = StepRecord(7, "load", bytes(16), 0, "done", b"\x90", stored, 0.0, 0, 1, 0, "step")

    def complete() -> bool:
        found: bool = store.journal.read(lambda connection: pieces.complete(connection, record, store.path))
        return found

    assert not complete()
    assert b"is missing" in store.shown(record).output
    artifacts.keep(artifacts.folder_of(store.path), b"x" * 20_000)
    assert (artifacts.folder_of(store.path) / name).exists()
    assert complete()
    assert store.whole(record).output == b"x" * 20_000
    assert store.journal.read(lambda connection: pieces.joined(connection, stored, store.path)) is None


def test_each_piece_and_each_use_of_one_is_looked_at(store: Store) -> None:
    """By who looks through the whole file: those that are not as they were written are named."""
    kept(store, 1, text(1, 50_000))
    found = [row for row in listing.rows(store) if row.table.startswith("piece")]
    assert len(found) == 2 * len(cut(text(1, 50_000))) > 4
    assert all(row.intact for row in found)
    for change in ("UPDATE piece SET data = zeroblob(5) WHERE rowid = 2", "UPDATE piece_use SET crc = crc + 1"):
        store.journal.write((), lambda connection, it=change: connection.execute(it) and None)  # type: ignore[misc]
    broken = [row.table for row in listing.rows(store) if not row.intact]
    assert broken.count("piece") == 1
    assert broken.count("piece_use") == len(found) / 2


def test_a_manifest_that_leads_in_a_circle_ends(store: Store) -> None:
    """A hostile file nests lists of digests: it is refused, in bounded time and memory."""
    data = b"x" * 16
    stored = kept(store, 1, data * 1024)
    inner = manifest(stored).digests[:16]
    for level, size in ((4, MOST_BYTES), (0, 5), (4, MOST_BYTES * 2), (9, 5)):
        bad = encode(Ext(APART, msgspec.msgpack.encode(Manifest(size, level, inner * 200))))
        with pytest.raises(ValueError, match=r"missing|number|manifest"):
            read(store, bad)


def test_so_many_places_are_tried_for_the_end_of_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it ends where the last of them was: text in which no place fits does not make the cut slow."""
    monkeypatch.setattr(cutting, "_MASK", 0xFFFFFFFF)
    monkeypatch.setattr(cutting, "_TRIES", 3)
    data = bytes(9_000) + b"x,x,x,x,"
    (first, second) = cutting.cut(data.replace(b"\0", b"0"))
    assert (first[1][-6:], second[1]) == (b"x,x,x,", b"x,")


@pytest.mark.parametrize("forget", ["DELETE FROM piece", ""])
def test_it_is_known_whether_a_large_value_is_whole(store: Store, forget: str) -> None:
    """Each of its pieces is looked for; a value in its row is."""
    large = kept(store, 1, text(1, 50_000))
    if forget:
        store.journal.write((), lambda connection: connection.execute(forget) and None)

    def complete(output: bytes) -> bool:
        record = StepRecord(1, "work", bytes(16), 0, "done", b"in", output, 0.0, 0, 1, 0, "step")
        found: bool = store.journal.read(lambda connection: pieces.complete(connection, record, store.path))
        return found

    assert complete(b"small")
    assert complete(large) is (not forget)
    checked = store.journal.read(lambda connection: pieces.check(connection, b"", 1000))
    assert [whole for _, whole in checked] == [True] * count(store)


def test_a_manifest_of_manifests_is_whole_piece_by_piece(store: Store) -> None:
    """Where digests are pieces themselves: each is looked at, and one that is gone is missed."""
    data = random.Random(1).randbytes(2_500_000)
    stored = kept(store, 1, data)
    assert manifest(stored).level == 1
    assert read(store, stored) == data
    number = len(cut(data))

    def digests(connection: apsw.Connection) -> list[bytes]:
        return list(pieces._digests(connection, stored))

    assert store.journal.read(digests) == [key for key, _ in cut(data)]
    assert count(store) > number


@pytest.mark.parametrize("kind", [bytes, cutting.Large])
@pytest.mark.parametrize("size", [INLINE, INLINE + 1])
def test_what_fits_into_a_row_stays_there(kind: type[bytes], size: int) -> None:
    """Also what is to lie in a file if it is large; the rest lies in pieces or in that file, and a manifest says so."""
    data = kind(text(1, 20_000)[:size])
    assert len(data) == size
    row: Any = (1, 1, "step", bytes(16), 0, "done", b"\x90", data, 1.0, 5, 1, 0, "step")
    ((*_, output, _, _, _, _, _),), found, files = pieces.set_apart([row])
    apart = size > INLINE
    assert (output == data) is not apart
    assert is_apart(output) is apart
    assert bool(found) is (apart and kind is bytes)
    assert [content for _, _, content in files] == ([data] if apart and kind is not bytes else [])
