"""Damaged or hostile bytes: an error of ours or a value, never another error, never a class that nobody named."""

import collections
import contextlib
import dataclasses
import datetime
import decimal
import enum
import fractions
import gc
import pathlib
import random
import struct
import uuid
import zoneinfo
from typing import Any

import msgspec
import pytest

from perdure.core.values import codec
from perdure.core.values.builtin_types import READING
from perdure.core.values.extensions import (
    BIG_INT,
    COUNTER,
    DEFAULT_DICT,
    DICT,
    FROZENSET,
    INSTANCE,
    MEMBER,
    ORDERED_DICT,
    SET,
    Ext,
    encode,
)
from perdure.errors import NotDecodable, NotStorable

gone: list[str] = []


class Watched:
    def __del__(self) -> None:
        # Runs for every instance, however it was made, also one that was thrown away at once.
        gone.append(type(self).__name__)


@dataclasses.dataclass(frozen=True)
class Allowed(Watched):
    a: Any
    b: Any = 1


@dataclasses.dataclass(frozen=True)
class Allower(Watched):
    """Its name is one mutation away from the allowed one."""

    a: Any
    b: Any = 1


class Kind(enum.Enum):
    X = 1


def samples() -> list[bytes]:
    plan = codec.plan(Allowed | Kind, owner="s")
    kinds = codec.plan(Any, owner="s")
    zone = zoneinfo.ZoneInfo("Europe/Berlin")
    rich = [
        2**80, "\ud800", (1, (2,)), {1, "a"}, frozenset({(1,)}), {(1, 2): 3}, bytearray(b"x"), 1j, 2.5, b"y", None,
        datetime.datetime(2026, 1, 1, tzinfo=zone), datetime.time(1, tzinfo=datetime.UTC), datetime.date(2026, 1, 1),
        datetime.timedelta(1), decimal.Decimal("1.5"), fractions.Fraction(1, 3), uuid.UUID(int=1), range(3),
        pathlib.PurePosixPath("a"), collections.OrderedDict(a=1), collections.deque([1], 2), collections.Counter("a"),
        ..., {"key": ["v"] * 3},
    ]  # fmt: skip
    return [
        kinds.pack(rich),
        plan.pack(Allowed(1, [Kind.X, (Allowed({}),)])),
        *(kinds.pack(value) for value in rich),
    ]  # fmt: skip


def mutated(data: bytes, chance: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(chance.randint(1, 2)):
        at = chance.randrange(len(out) + 1)
        match chance.randrange(12):
            case 0:
                out[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del out[at : at + chance.randint(1, 3)]
            case 2:
                out[at:at] = chance.randbytes(chance.randint(1, 3))
            case 3:
                out[at:at] = bytes([0xC7, 3, chance.choice([*READING, INSTANCE, MEMBER, 99])])
            case 4:
                out[at : at + 5] = chance.choice([b"\xdd", b"\xdf", b"\xc9", b"\xdb"]) + b"\xff" * 4
            case _:
                at = min(at, len(out) - 1)
                out[at : at + 1] = bytes([out[at : at + 1][0] ^ 1 << chance.randrange(8)]) if out else b""
    return bytes(out)


LENGTHS = [1500, pytest.param(50_000, marks=pytest.mark.long)]
"""Mutations each time, and with `-m long`."""


@pytest.mark.parametrize("times", LENGTHS)
def test_mutated_bytes_give_a_value_or_our_error(times: int) -> None:
    """Whatever a disk or a person does to a stored value, loading it fails in one known way, and listing it never."""
    chance, refused, loaded = random.Random(20261123), 0, 0
    plans = [codec.plan(annotation, owner="s") for annotation in (Any, Allowed | Kind, list[Allowed | int])]
    sources = samples()
    for _ in range(times):
        data = mutated(chance.choice(sources), chance)
        for plan in plans:
            try:
                plan.unpack(data)
                loaded += 1
            except NotDecodable:
                refused += 1
        with contextlib.suppress(NotDecodable):
            codec.unpack_inputs(data, plans, owner="s")
        assert len(codec.describe(data, 80)) <= 80
        codec.describe_inputs(data)
        msgspec.json.encode(codec.to_builtins(data))
    assert refused > times / 3
    assert loaded > times / 6


@pytest.mark.parametrize("times", LENGTHS)
def test_no_class_outside_of_the_annotation_is_ever_made(times: int) -> None:
    """The stored name chooses among the classes that the annotation names, and nothing else."""
    gc.freeze()  # no need to look through what is there already
    plan = codec.plan(Allowed | Kind, owner="s")
    data = plan.pack(Allowed(1, (Allowed(2), Kind.X)))
    forged = data.replace(b"Allowed", b"Allower")
    with pytest.raises(NotDecodable, match="Allower, which the annotation does not name"):
        plan.unpack(forged)
    chance = random.Random(7)
    gone.clear()
    seen = 0
    for _ in range(times):
        try:
            value = plan.unpack(mutated(chance.choice([data, forged]), chance))
        except NotDecodable:
            continue
        seen += 1
        assert "Allower" not in {type(part).__name__ for part in parts(value)}
    assert seen > 10  # a name of a field that is not as it was is refused
    del value
    gc.collect()
    assert set(gone) == {"Allowed"}


def parts(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple, set, frozenset)):
        inside = list(value)
    elif isinstance(value, dict):
        inside = [*value, *value.values()]
    else:
        inside = [value.a, value.b] if isinstance(value, Watched) else []
    return [value] + [deeper for part in inside for deeper in parts(part)]


def test_a_forged_name_cannot_drive_the_terminal() -> None:
    """Names in stored bytes are shown escaped when they hold control characters."""
    encode, ext = msgspec.msgpack.encode, msgspec.msgpack.Ext
    for content in (encode(["\x1b[2J", {"\x1b[31m": 1}]), encode(["A", {"\n": 1}])):
        shown = codec.describe(encode(ext(INSTANCE, content)))
        assert shown.isprintable()
        assert "=1)" in shown


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "subprocess.Popen", "Plan", "type", ""])
def test_a_name_in_the_data_is_never_looked_up(name: str) -> None:
    """A forged instance of anything importable is refused under every annotation."""
    encode, ext = msgspec.msgpack.encode, msgspec.msgpack.Ext
    for code in (INSTANCE, MEMBER):
        data = encode(ext(code, encode([name, {"a": 1}])))
        for annotation in (Any, Allowed, object, list[Allowed]):
            with pytest.raises(NotDecodable):
                codec.plan(annotation, owner="s").unpack(data)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xc1", b"\x05\x05", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x03",
        b"\xdb\xff\xff\xff\xffab", b"\x91" * 100_000, b"\x81\xa1a" * 50_000, b"\x81\x80\x01", b"\xa1\xff",
    ],
    ids=lambda data: repr(data[:6]),
)  # fmt: skip
def test_lengths_and_depths_that_lie_cost_nothing(data: bytes) -> None:
    """A header that promises four billion items, or 100,000 levels, is an error at once."""
    for annotation in (Any, Allowed):
        with pytest.raises(NotDecodable):
            codec.plan(annotation, owner="s").unpack(data)
    assert "unreadable" in codec.describe(data)
    assert codec.to_builtins(data) == {"unreadable": len(data)}


def test_extensions_nested_without_end_are_refused() -> None:
    """Each level of extensions runs Python code of ours: too many are an error, not a crash."""
    data = b"\x90"
    for _ in range(3_000):
        inner = b"\x91" + data
        data = b"\xc9" + struct.pack(">I", len(inner)) + b"\x03" + inner
    with pytest.raises(NotDecodable):
        codec.plan(Any, owner="s").unpack(data)
    assert "unreadable" in codec.describe(data)


ALIKE = [number * (2**61 - 1) for number in range(1, 2_003)]
"""Whole numbers that all have the hash 0."""


def test_keys_of_one_hash_are_refused_and_not_compared() -> None:
    """100,000 of them in a state file would hang whatever shows it; a value with that many is not stored either."""
    plan = codec.plan(Any, owner="s")
    numbers = [part for number in ALIKE for part in (as_stored(number), 0)]
    for code, items in (
        (SET, numbers[::2]), (FROZENSET, numbers[::2]), (DICT, numbers), (ORDERED_DICT, numbers),
        (COUNTER, numbers), (DEFAULT_DICT, ["int", *numbers]),
    ):  # fmt: skip
        with pytest.raises(NotDecodable, match="hash of another"):
            plan.unpack(encode(Ext(code, encode(items))))
    for value in (set(ALIKE), dict.fromkeys(ALIKE), collections.defaultdict(int, dict.fromkeys(ALIKE, 1))):
        with pytest.raises(NotStorable, match="hash of another"):
            plan.pack(value)
    few = dict.fromkeys(ALIKE[:1_000], 1)
    assert plan.unpack(plan.pack(few)) == few
    many = {uuid.UUID(int=number).int << 64: number for number in range(3_000)}
    assert plan.unpack(plan.pack(many)) == many


def as_stored(number: int) -> Any:
    return number if number < 1 << 64 else Ext(BIG_INT, number.to_bytes(10, "big", signed=True))
