"""Calls that mean the same have the same inputs, however their arguments are given, and after an edit of a default."""

from __future__ import annotations

import functools
import threading
from typing import Any

import pytest

from perdure.core.callables import parameters_of
from perdure.core.execution.inputs import Signature, is_storable, look_as_always, pack_leniently
from perdure.core.values import codec


def whole(a: Any, b: Any = 1, c: Any = 2, *rest: Any, k: Any = 3, **more: Any) -> Any:
    local = [a]
    return local[0]


def plain(a: Any, b: Any = 1, c: Any = 2) -> Any:
    return a


def edited(a: Any, b: Any = 7, c: Any = 2) -> Any:
    return a


def by_name(a: Any, *, k: Any, m: Any = 5) -> Any:
    return a


@pytest.mark.parametrize(
    ("fn", "args", "kwargs", "places", "named"),
    [
        (plain, (5,), {}, [5], {}),
        (plain, (5, 1, 2), {}, [5], {}),
        (plain, (5, 2, 2), {}, [5, 2], {}),
        (plain, (5, 1, 1), {}, [5, 1, 1], {}),
        (plain, (5, True), {}, [5, True], {}),
        (plain, (5,), {"c": 2, "b": 1}, [5], {}),
        (plain, (), {"c": 9, "a": 5}, [5, 1, 9], {}),
        (whole, (5, 1, 2), {}, [5], {}),
        (whole, (5, 1, 2, 7), {}, [5, 1, 2, 7], {}),
        (whole, (5,), {"k": 3}, [5], {}),
        (whole, (5,), {"k": 4, "z": 1, "b": 1}, [5], {"k": 4, "z": 1}),
        (by_name, (5,), {"k": 1}, [5], {"k": 1}),
        (by_name, (), {"a": 5, "k": 1, "m": 5}, [5], {"k": 1}),
        (by_name, (5,), {"k": 1, "m": 6}, [5], {"k": 1, "m": 6}),
    ],
)
def test_arguments_stand_in_the_order_of_parameters(
    fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any], places: list[Any], named: dict[str, Any]
) -> None:
    """Without those that equal their default, by value and type."""
    found = Signature(fn, "s").bind(args, kwargs)
    assert found == (places, named)
    assert [*map(type, found[0])] == [*map(type, places)]


@pytest.mark.parametrize(
    ("fn", "args", "kwargs"),
    [
        (plain, (), {}),
        (plain, (1, 2, 3, 4), {}),
        (plain, (1,), {"a": 1}),
        (plain, (1,), {"x": 1}),
        (by_name, (1,), {}),
        (by_name, (1, 2), {"k": 1}),
        (whole, (), {"b": 1}),
    ],
)
def test_what_the_function_would_not_accept_is_refused(fn: Any, args: Any, kwargs: Any) -> None:
    """As Python itself would."""
    with pytest.raises(TypeError) as caught:
        Signature(fn, "s").bind(args, kwargs)
    assert isinstance(caught.value, TypeError)


class Odd:
    """Cannot be compared."""

    def __eq__(self, other: object) -> bool:
        raise ValueError

    __hash__ = None  # type: ignore[assignment]


def test_what_cannot_be_compared_is_no_default() -> None:
    """Unless it is that very object."""
    mine = Odd()

    def odd(a: Any = mine) -> None:
        pass

    signature = Signature(odd, "s")
    assert signature.bind((mine,), {}) == ([], {})
    other = Odd()
    assert signature.bind((other,), {})[0][0] is other


def test_a_default_that_was_edited_is_an_argument_as_it_was_recorded() -> None:
    """What was left out when the run began is left out; the new default is given then."""
    recorded = Signature(plain, "s").defaults()
    assert recorded.keys() == {"b", "c"}
    now = Signature(edited, "s")
    assert Signature(plain, "s").as_recorded(recorded) is None
    assert now.as_recorded({}) is None
    signature = now.as_recorded(recorded)
    assert signature is not None
    assert (signature.edited, signature.exact, now.edited) == (("b",), -1, ())
    assert signature.bind((5, 1), {}) == ([5], {})
    assert signature.bind((5,), {}) == ([5, 7], {})
    assert signature.bind((5,), {"c": 3}) == ([5, 7, 3], {})
    assert signature.bind((5, threading.Lock()), {})[0][0] == 5, "what cannot be stored is no recorded default"


def test_defaults_that_change_in_place_are_told_as_they_are() -> None:
    """At each moment; one that cannot be stored is left out."""
    kept: list[int] = []

    def changing(a: Any, b: Any = kept, c: Any = 2) -> None:
        pass

    signature = Signature(changing, "s")
    assert (signature.changing, signature.exact) == ({"b": kept}, -1)
    before = (signature.state(), signature.defaults())
    assert (signature.state(), signature.defaults()) == before
    kept.append(1)
    assert signature.state() != before[0]
    assert signature.defaults()["b"] != before[1]["b"]
    assert signature.defaults()["c"] == before[1]["c"]
    kept.append(threading.Lock())  # type: ignore[arg-type]
    assert signature.state() == codec.pack_call([], {}, owner="s")[0]


def test_calls_whose_arguments_stand_as_they_are() -> None:
    """So many positional ones; of a function without a readable signature all do as they come."""

    def two(a: Any, b: Any) -> None:
        pass

    assert (Signature(two, "s").exact, Signature(plain, "s").exact, Signature(by_name, "s").exact) == (2, -1, -1)
    assert Signature(plain, "s").names(2) == ["a", "b"]
    assert Signature(whole, "s").parameters == ["a", "b", "c", "rest", "k", "more"]
    found = parameters_of(whole)
    assert found is not None
    assert (found.places, found.named) == (("a", "b", "c"), ("k",))
    assert found.defaults == {"b": 1, "c": 2, "k": 3}
    assert found.names == ["a", "b", "c", "rest", "k", "more"]


def test_inputs_that_look_as_they_always_did() -> None:
    """Scalars do; what a function is bound to may hold classes."""

    def look(fn: Any, *args: Any, **kwargs: Any) -> bool:
        return look_as_always(Signature(fn, "s"), args, kwargs)

    assert look(whole, 1, "a", None, k=2.5)
    assert not look(whole, 1, [])
    assert not look(whole, 1, k=[])
    assert not look(functools.partial(plain, 1), 2)


def test_what_cannot_be_stored_is_named_by_its_type_in_calls_that_go_by_a_key() -> None:
    """Beside it, what can be stored is."""
    lock = threading.Lock()
    assert codec.describe_inputs(pack_leniently(Signature(plain, "s"), (5, lock), {})) == "(5, <lock>)"
    assert codec.describe_inputs(pack_leniently(Signature(by_name, "s"), (5,), {"k": lock})) == "(5, k=<lock>)"
    assert is_storable([1])
    assert not is_storable([lock])
