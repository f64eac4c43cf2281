"""Dicts keep their order everywhere, and their order tells no calls apart."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from perdure.core.values import codec
from perdure.core.values.canonical import canonical

dicts = st.recursive(
    st.integers() | st.text(),
    lambda v: st.dictionaries(st.text() | st.integers(), v, max_size=4) | st.lists(v),
    max_leaves=12,
)


def shuffled(value: Any, order: Callable[[list[Any]], list[Any]]) -> Any:
    if isinstance(value, dict):
        return {key: shuffled(value[key], order) for key in order(list(value))}
    return [shuffled(item, order) for item in value] if isinstance(value, list) else value


def order_of(value: Any) -> Any:
    if isinstance(value, dict):
        return [(key, order_of(item)) for key, item in value.items()]
    return [order_of(item) for item in value] if isinstance(value, list) else value


@given(dicts, st.randoms(use_true_random=False))
def test_the_order_of_dicts_is_kept_and_does_not_tell_calls_apart(value: Any, random: Any) -> None:
    """Any order has the same key; what is stored has the order that it was given."""
    other = shuffled(value, lambda keys: random.sample(keys, len(keys)))
    one, known = codec.pack_call([value], {}, owner="f")
    two, same = codec.pack_call([other], {}, owner="f")
    assert known == same == codec.pack_inputs([value], {}, owner="f")
    assert codec.same_inputs(one, two)
    assert canonical(one) == canonical(two)
    for data, kept in ((one, value), (two, other)):
        ((again,), _) = codec.unpack_inputs(data, (), owner="f")
        assert order_of(again) == order_of(kept)


def test_other_inputs_are_not_the_same_in_whatever_order() -> None:
    """Values, keys, lists, and dicts whose order is part of them."""
    pairs: list[tuple[Any, Any]] = [
        ({"a": 1, "b": 2}, {"a": 2, "b": 1}),
        ([1, 2], [2, 1]),
        ((1, 2), (2, 1)),
        (collections.OrderedDict(a=1, b=2), collections.OrderedDict(b=2, a=1)),
        ({(1, 2): 1, (2, 1): 2}, {(1, 2): 2, (2, 1): 1}),
    ]
    for one, other in pairs:
        assert not codec.same_inputs(
            codec.pack_call([one], {}, owner="f")[0], codec.pack_call([other], {}, owner="f")[0]
        )
    assert not codec.same_inputs(b"\xc1", b"\xc0")
    assert codec.same_inputs(
        codec.pack_call([{(1, 2): 1, (2, 1): 2}], {}, owner="f")[0],
        codec.pack_call([{(2, 1): 2, (1, 2): 1}], {}, owner="f")[0],
    )


def test_keywords_keep_the_order_in_which_they_were_given() -> None:
    """A function with `**columns` sees the order."""
    one, known = codec.pack_call([], {"z": 1, "a": 2}, owner="f")
    two, same = codec.pack_call([], {"a": 2, "z": 1}, owner="f")
    assert known == same
    assert list(codec.unpack_inputs(one, (), owner="f")[1]) == ["z", "a"]
    assert list(codec.unpack_inputs(two, (), owner="f")[1]) == ["a", "z"]
