"""Codecs for classes of the user's own: a closed set, by name, and checked on the first run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import perdure
from perdure.core.values import codec, registry
from perdure.core.values.builtin_types import LOWERING
from perdure.errors import NotDecodable, NotStorable, OptionError

ANY = codec.plan(Any, owner="step 'f'")


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.cents == self.cents

    __hash__ = None  # type: ignore[assignment]


class Coin(Money):
    pass


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """Every test has a registry of its own."""
    before = dict(registry._by_name), dict(registry._by_class), dict(LOWERING)
    yield
    for now, then in zip((registry._by_name, registry._by_class, LOWERING), before, strict=True):
        now.clear()
        now.update(then)  # type: ignore[call-overload]


def cents(money: Money) -> int:
    return money.cents


def test_a_class_with_a_codec_is_stored_with_and_without_an_annotation() -> None:
    """Alone and inside of containers, as a result and as an argument."""
    perdure.register_codec(Money, cents, Money)
    for annotation in (Any, Money, list[Money], dict[str, Money]):
        plan = codec.plan(annotation, owner="step 'f'")
        value: Any = (
            Money(5) if annotation in (Any, Money) else [Money(5)] if annotation == list[Money] else {"a": Money(5)}
        )
        data, first = plan.round_trip(value)
        assert first == value
        assert plan.unpack(data) == value
    given = codec.pack_inputs([Money(5)], {}, owner="step 'f'")
    assert codec.unpack_inputs(given, (), owner="step 'f'") == ([Money(5)], {})
    assert codec.describe(ANY.pack(Money(5))) == "Money(5)"


def test_a_value_whose_codec_is_not_registered_is_named() -> None:
    """Nothing is looked up by the stored name but the registry of this process."""
    perdure.register_codec(Money, cents, Money, name="money/1")
    data = ANY.pack(Money(5))
    registry._by_name.clear()
    with pytest.raises(NotDecodable, match=r"the codec 'money/1', which this process has not registered"):
        ANY.unpack(data)


def test_a_new_form_has_a_new_name_and_the_old_one_is_still_read() -> None:
    """`encode=None` keeps a codec for reading only."""
    perdure.register_codec(Money, cents, Money, name="money/1")
    old = ANY.pack(Money(5))
    perdure.register_codec(
        Money, lambda money: {"cents": money.cents}, lambda stored: Money(stored["cents"]), name="money/2"
    )
    perdure.register_codec(Money, None, Money, name="money/1")
    new = ANY.pack(Money(6))
    assert codec.describe(new).startswith("money/2(")
    assert (ANY.unpack(old), ANY.unpack(new)) == (Money(5), Money(6))


def test_a_subclass_needs_a_codec_of_its_own() -> None:
    """It is never stored as its base."""
    perdure.register_codec(Money, cents, Money)
    with pytest.raises(NotStorable, match="Coin"):
        ANY.round_trip(Coin(5))


@pytest.mark.parametrize(
    ("encode", "decode", "why"),
    [
        (lambda money: 1, lambda stored: Money(stored + 1), None),
        (lambda money: money.cents, lambda stored: stored, "made int of it"),
        (lambda money: money.nothing, Money, "cannot be encoded"),
        (lambda money: money, Money, "instance of the same class"),
        (lambda money: object(), Money, "object"),
        (lambda money: money.cents, lambda stored: Coin(stored), "made Coin of it"),
    ],
)
def test_a_codec_that_does_not_give_the_value_back_is_refused_on_the_first_run(
    encode: Any, decode: Any, why: Any
) -> None:
    """Not when the run is resumed."""
    perdure.register_codec(Money, encode, decode)
    plan = codec.plan(Money, owner="step 'f'")
    if why is None:  # an encoding that is stable though it loses something is the codec's own business
        plan.round_trip(Money(5))
        return
    with pytest.raises(NotStorable, match=f"step 'f'.*{why}"):
        plan.round_trip(Money(5))


def test_a_codec_that_changes_its_value_each_time_is_refused() -> None:
    """What is read back must encode to the same bytes."""
    perdure.register_codec(Money, cents, lambda stored: Money(stored + 1))
    with pytest.raises(NotStorable, match="comes back from storage changed"):
        ANY.round_trip(Money(5))


def test_running_out_of_memory_is_no_refusal() -> None:
    """A MemoryError inside of a codec is the machine's trouble, and is raised as it is."""

    def full(value: Any) -> Any:
        raise MemoryError

    perdure.register_codec(Money, full, Money)
    with pytest.raises(MemoryError):
        ANY.round_trip(Money(5))
    perdure.register_codec(Money, cents, full)
    with pytest.raises(MemoryError):
        ANY.round_trip(Money(5))


def test_names_and_classes_of_others_are_refused() -> None:
    """A codec can neither replace a builtin's form nor take another class's name."""
    perdure.register_codec(Money, cents, Money, name="money")
    perdure.register_codec(Money, cents, Money, name="money")  # a cell of a notebook, run again
    for cls, name in ((Coin, "money"), (int, "x"), (dict, "x"), (Coin, ""), (Coin, "numpy.array")):
        with pytest.raises(OptionError):
            perdure.register_codec(cls, lambda value: 1, lambda stored: stored, name=name)
    with pytest.raises(OptionError, match="takes a class"):
        perdure.register_codec(Money(5), cents, Money)  # type: ignore[type-var]


def test_a_class_of_a_library_keeps_its_form() -> None:
    """Whoever gives it another one would not read what others have stored."""
    import datetime

    zone = pytest.importorskip("dateutil.tz").tzutc
    ANY.round_trip(datetime.datetime(2026, 1, 1, tzinfo=zone()))
    with pytest.raises(OptionError, match="stored without a codec"):
        registry.register(registry.Codec(zone, "my zone", str, zone))
