"""Builtin values come back equal and of the same type in depth, or are refused by name, place and type."""

import collections
import datetime
import decimal
import fractions
import math
import os
import pathlib
import subprocess
import sys
import threading
import uuid
import zoneinfo
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from perdure.core.values import codec
from perdure.errors import NotStorable

UNTYPED = codec.plan(Any, owner="step 'charge'")
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")

zones = st.sampled_from(
    [None, datetime.UTC, BERLIN, datetime.timezone(datetime.timedelta(seconds=-3723), "odd"), zoneinfo.ZoneInfo("UTC")]
)
text = st.text(st.characters())  # with lone surrogates
atoms = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(2**200), 2**200), st.floats(), text, st.binary(),
    st.complex_numbers(), st.dates(), st.timedeltas(), st.uuids(), st.decimals(), st.fractions(),
    st.datetimes(timezones=zones, allow_imaginary=True), st.times(timezones=st.just(datetime.UTC) | st.none()),
    st.sampled_from([datetime.UTC, BERLIN, ..., msgspec.UNSET, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1]),
    st.builds(range, st.integers(), st.integers(), st.integers(1)),
    st.lists(st.text("ab/ .é", max_size=5)).map(lambda parts: pathlib.PurePosixPath(*parts)),
)  # fmt: skip
hashable = atoms.filter(lambda v: not (isinstance(v, decimal.Decimal) and v.is_snan()))
keys = st.recursive(hashable, lambda k: st.tuples(k, k) | st.frozensets(k, max_size=3), max_leaves=4)
values = st.recursive(
    atoms | st.binary().map(bytearray) | st.sets(keys, max_size=4),
    lambda v: st.one_of(
        st.lists(v, max_size=5), st.tuples(v, v), st.tuples(), st.tuples(v), st.dictionaries(keys, v, max_size=4),
        st.dictionaries(text, v, max_size=4), st.lists(v, max_size=4).map(lambda x: collections.deque(x, 9)),
        st.dictionaries(keys, v, max_size=3).map(collections.OrderedDict), st.lists(keys).map(collections.Counter),
    ),
    max_leaves=20,
)  # fmt: skip
ARGUMENTS = given(st.lists(values, max_size=3), st.dictionaries(st.text(max_size=5), values, max_size=3))


def exact(value: Any) -> Any:
    """A value in a form that is equal only for values of equal types and content in depth, NaN and -0.0 included."""
    kind = type(value)
    if kind in (list, tuple):
        return kind, [exact(item) for item in value]
    if kind is collections.deque:
        return kind, value.maxlen, [exact(item) for item in value]
    if kind in (set, frozenset):
        return kind, sorted(repr(exact(item)) for item in value)
    if kind in (dict, collections.OrderedDict, collections.Counter):
        return kind, [(exact(key), exact(item)) for key, item in value.items()]
    if kind is float:
        return kind, repr(value), math.copysign(1, value)
    if kind is complex:
        return kind, exact(value.real), exact(value.imag)
    if kind in (datetime.datetime, datetime.time):
        return kind, repr(value), value.fold, repr(value.tzinfo)
    return kind, repr(value)


@settings(max_examples=60, deadline=None)
@given(values)
def test_every_builtin_value_comes_back_the_same(value: Any) -> None:
    """What the workflow sees, on the first run and on resume, is equal and of equal type in depth."""
    data, first = UNTYPED.round_trip(value)
    assert exact(first) == exact(value)
    assert exact(UNTYPED.unpack(data)) == exact(value)
    assert UNTYPED.pack(first) == data


@settings(max_examples=30, deadline=None)
@ARGUMENTS
def test_arguments_come_back_the_same(positional: list[Any], keyword: dict[str, Any]) -> None:
    """A dead letter re-driven is called with what it was called with (only the order within dicts may differ)."""
    data = codec.pack_inputs(positional, keyword, owner="step 'charge'")
    again, named = codec.unpack_inputs(data, [], owner="step 'charge'")
    assert codec.pack_inputs(again, named, owner="step 'charge'") == data
    assert len(again) == len(positional)
    assert named.keys() == keyword.keys()
    assert [type(item) for item in again] == [type(item) for item in positional]


def test_the_imagined_hour_keeps_its_fold() -> None:
    """02:30 happens twice when summer time ends; which of the two it was is kept."""
    second = datetime.datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1)
    again = UNTYPED.round_trip(second)[1]
    assert (again.fold, again.utcoffset()) == (1, datetime.timedelta(hours=1))
    assert again.tzinfo is BERLIN


def test_order_of_dict_is_kept_in_results_and_ignored_in_inputs() -> None:
    """A workflow may iterate over a result; but equal arguments are the same call."""
    one, two = {"b": 1, "a": {2: 0, "x": 1}}, {"a": {"x": 1, 2: 0}, "b": 1}
    assert list(UNTYPED.round_trip(one)[1]) == ["b", "a"]
    assert UNTYPED.pack(one) != UNTYPED.pack(two)
    packed = [codec.pack_inputs([value], {"k": value}, owner="s") for value in (one, two)]
    assert packed[0] == packed[1]
    assert codec.pack_inputs([], {"a": 1, "b": 2}, owner="s") == codec.pack_inputs([], {"b": 2, "a": 1}, owner="s")
    assert len(codec.digest(packed[0])) == 16


@pytest.mark.parametrize(
    ("one", "two"), [(1, True), (1, 1.0), (0.0, -0.0), ("a", b"a"), ((1,), [1]), ({1}, frozenset({1})), ([None], [])]
)
def test_arguments_of_other_type_are_another_call(one: Any, two: Any) -> None:
    """1 and True are equal to Python, but they are not the same input."""
    assert codec.pack_inputs([one], {}, owner="s") != codec.pack_inputs([two], {}, owner="s")


def test_digests_do_not_depend_on_the_hash_seed() -> None:
    """A resumed process has another hash seed: its sets are in another order, its digests must not be."""
    program = (
        "from perdure.core.values import codec\n"
        "words = {f'w{i}' for i in range(50)} | {1, 2.5, None, (1, 'x'), frozenset({'a', 'b'})}\n"
        "print(codec.digest(codec.pack_inputs([words, {'k': words}], {'z': {w: 1 for w in words}}, owner='s')).hex())\n"
    )
    seen = set()
    for seed in ("1", "2", "77"):
        env = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        seen.add(subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, check=True).stdout)
    assert len(seen) == 1


def test_the_codec_does_not_import_pydantic() -> None:
    """Pydantic models work when the program uses Pydantic; perdure never imports it."""
    program = (
        "import sys, typing, dataclasses\nfrom perdure.core.values import codec\n"
        "A = dataclasses.make_dataclass('A', ['x'])\ncodec.plan(A, owner='s').round_trip(A(1))\n"
        "heavy = ('pydantic', 'attr', 'asyncio', 'sqlite3', 'apsw', 'zoneinfo')\n"
        "print([module for module in heavy if module in sys.modules])"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-S", "-c", program], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class Text(str):
    __slots__ = ()


class Number(int):
    pass


def generator() -> Any:
    yield 1


async def coroutine() -> None:
    pass


def loop() -> Any:
    value: list[Any] = []
    value.append({"again": value})
    return value


def deep() -> Any:
    value: Any = 1
    for _ in range(5000):
        value = [value]
    return value


pending = coroutine()
REFUSED = [
    ([1, {"a": Text("x")}], "`result[1]['a']`, of type", "Text", "return str(...)"),
    (Number(3), "`result`", "Number", "return int(...)"),
    ((1, collections.defaultdict(lambda: 1)), "`result[1]`", "collections.defaultdict", "return dict(...)"),
    ({"k": generator()}, "`result['k']`", "generator", "return list(...)"),
    (pending, "`result`", "coroutine", "await"),
    ([generator], "`result[0]`", "function", "return data"),
    ({1, int}, "`result<element", "class", "return data"),
    (os, "`result`", "module", "return data"),
    (threading.Lock(), "`result`", "lock", "return what you need"),
    (memoryview(b"x"), "`result`", "memoryview", "return bytes(...)"),
    (object(), "`result`", "object", "return what you need"),
    (datetime.datetime(2026, 1, 1, tzinfo=type("Zone", (datetime.tzinfo,), {})()), "`result", "Zone", ""),
    (loop(), "`result[0]['again'][0]", "contains itself", ""),
    (deep(), "`result[0][0]", "contains itself", ""),
]


@pytest.mark.parametrize(("value", "place", "named", "hint"), REFUSED, ids=[str(i) for i in range(len(REFUSED))])
def test_what_cannot_be_kept_is_refused_on_the_first_run(value: Any, place: str, named: str, hint: str) -> None:
    """The error names the step, the place inside of the value and the type, and says what to do."""
    with pytest.raises(NotStorable) as caught:
        UNTYPED.round_trip(value)
    assert "step 'charge' returns" in caught.value.what
    assert place in caught.value.what
    assert named in caught.value.what
    assert hint in caught.value.hint
    if named in ("Text", "Number"):
        return  # arguments need no annotation to be told apart
    with pytest.raises(NotStorable, match="step 'charge' is called with"):
        codec.pack_inputs([value], {}, owner="step 'charge'")
    pending.close()


def test_an_open_file_is_refused(tmp_path: pathlib.Path) -> None:
    """A file handle is not data; the error says what of it is."""
    with (tmp_path / "x").open("w") as file, pytest.raises(NotStorable) as caught:
        UNTYPED.round_trip([file])
    assert "its path" in caught.value.hint


def test_the_refused_argument_is_named() -> None:
    """Of several arguments, the error says which one."""
    with pytest.raises(NotStorable, match=r"`args\[1\]\['a'\]`"):
        codec.pack_inputs([1, {"a": object()}], {}, owner="s")
    with pytest.raises(NotStorable, match=r"`kwargs\['to'\]\[0\]`"):
        codec.pack_inputs([1], {"to": [object()]}, owner="s")
    with pytest.raises(NotStorable, match=r"`args\[0\]`"):
        codec.pack_inputs([object()], {"to": 1}, owner="s")


def test_deep_but_honest_nesting_is_kept() -> None:
    """The limit is far above what people nest, and reading takes no more of the stack than writing allowed."""
    value: Any = "core"
    for depth in range(99):
        value = [value] if depth % 3 else ({"k": value} if depth % 2 else (value,))
    assert UNTYPED.round_trip(value)[1] == value


def test_one_plan_serves_many_threads() -> None:
    """Steps of one name run in several threads at once, also at their very first call."""
    for _ in range(20):
        plan, failures, gate = codec.plan(list[Exact], owner="s"), [], threading.Barrier(4)

        def work(plan: codec.Plan = plan, gate: threading.Barrier = gate, failures: list[Any] = failures) -> None:
            gate.wait()
            for number in range(20):
                value = [Exact(number)]
                if plan.round_trip(value)[1] != value:
                    failures.append(value)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures


class Exact(msgspec.Struct):
    number: int


def test_descriptions_need_no_classes_and_are_bounded() -> None:
    """Listings run without the user's script, and show a large value in one line."""
    plan = codec.plan(Exact, owner="s")
    assert codec.describe(plan.pack(Exact(7))) == "Exact(number=7)"
    assert codec.to_builtins(plan.pack(Exact(7))) == {"number": 7}
    many = UNTYPED.pack(list(range(100_000)))
    assert len(codec.describe(many, 50)) == 50
    assert codec.describe(many, 20).startswith("[0, 1, 2")
    assert len(codec.describe(UNTYPED.pack("x" * 10_000), 80)) <= 80
    assert "bits" in codec.describe(UNTYPED.pack(1 << 100_000))
    assert "\x1b" not in codec.describe(UNTYPED.pack(["\x1b[31m"]))
    assert codec.describe(b"\xc1") == "<unreadable: 1 bytes>"
    assert codec.describe(UNTYPED.pack((1, "a", {2}))) == "(1, 'a', {2})"
    inputs = codec.pack_inputs([decimal.Decimal("3.10")], {"to": "x"}, owner="s")
    assert codec.describe_inputs(inputs) == "(Decimal('3.10'), to='x')"
    assert codec.describe_inputs(codec.pack_inputs([1, "a"], {}, owner="s")) == "(1, 'a')"


@settings(max_examples=50, deadline=None)
@given(values)
@example({"\ud800": None})
def test_listings_can_show_any_stored_value(value: Any) -> None:
    """`--json` output of any stored value is JSON, and its description fits the limit."""
    data = UNTYPED.pack(value)
    msgspec.json.encode(codec.to_builtins(data))
    shown = codec.describe(data, 60)
    assert len(shown) <= 60
    assert "unreadable" not in shown or "unreadable" in repr(value)


def test_fraction_and_uuid_by_name() -> None:
    """Kinds whose modules are imported late are known the first time they are met."""
    for value in (fractions.Fraction(3, 7), uuid.UUID(int=5), pathlib.Path("a/b"), BERLIN):
        assert exact(UNTYPED.round_trip([value])[1]) == exact([value])
