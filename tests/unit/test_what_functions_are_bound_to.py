"""What tells functions of one code apart: what they close over, what a partial gives, the instance of a method."""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import pytest

from perdure import step
from perdure.core.execution.bound_values import bound_of
from perdure.core.execution.closures import alike, can_change, closure_of
from perdure.core.execution.spec import spec_of
from perdure.core.values import codec


class Colour(enum.Enum):
    RED = 1


@dataclass(frozen=True)
class Point:
    x: int
    y: Any = 0


@dataclass
class Moving:
    x: int


class Pair(NamedTuple):
    one: int
    two: Any


class NeverEqual:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not comparable")

    __hash__ = None  # type: ignore[assignment]


def over(value: Any) -> Callable[..., Any]:
    def inner(x: int = 0) -> Any:
        return x, value

    return inner


def nested(depth: int) -> Any:
    found: Any = 1
    for _ in range(depth):
        found = (found,)
    return found


def nested_sets(depth: int) -> frozenset[Any]:
    return frozenset({nested_sets(depth - 1)}) if depth else frozenset()


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (5, 5),
        ("text", "text"),
        (Colour.RED, "Colour.RED"),
        (PurePosixPath("a/b"), "a/b"),
        (frozenset({1, 2}), frozenset({1, 2})),
        ((1, Colour.RED), (1, "Colour.RED")),
        (Point(1, Point(2)), ("Point", 1, ("Point", 2, 0))),
        (Pair(1, "x"), ("Pair", 1, "x")),
    ],
)
def test_what_cannot_change_is_part_of_the_inputs(value: Any, stored: Any) -> None:
    """In kinds that can be stored; taken out again, the arguments are the caller's alone."""
    closure = closure_of(over(value))
    assert closure is not None
    named = closure.add_to({"x": 3})
    assert named == {"x": 3, "value": stored}
    assert closure.take_out(named) == {"x": 3}
    assert not can_change(value)


@pytest.mark.parametrize(
    "value",
    [[1], {}, Moving(1), (1, [2]), Point(1, [2]), frozenset({Colour.RED}), object(), nested(20), nested_sets(20)],
    ids=lambda value: type(value).__name__,
)
def test_what_may_change_or_is_too_deep_is_no_input(value: Any) -> None:
    """A list that a step appends to differs between the first run and a resumed one."""
    closure = closure_of(over(value))
    assert closure is not None
    assert closure.add_to({"x": 3}) == {"x": 3}
    assert closure.mark() == ()
    assert can_change(value)


def test_what_has_no_hash_still_tells_closures_apart() -> None:
    """A signaling NaN raises where it is hashed, also within what holds it."""
    one, other = (closure_of(over((1, Decimal(text)))) for text in ("sNaN", "sNaN7"))
    assert one is not None
    assert other is not None
    assert {one.mark(): 1, other.mark(): 2}[one.mark()] == 1


def test_a_plain_tuple_is_stored_as_it_is() -> None:
    """The same object: nothing is copied for each call."""
    value = (1, ("a", 2))
    closure = closure_of(over(value))
    assert closure is not None
    assert closure.add_to({})["value"] is value


def test_inputs_of_another_closure_are_refused() -> None:
    """A record of a call of `over(5)` is none of `over(6)`; nor is one that lacks a variable. Inputs that say nothing
    of a closure are anybody's, such as those of an undoing."""
    five, six = closure_of(over(5)), closure_of(over(6))
    assert five is not None
    assert six is not None
    assert six.take_out(five.add_to({"x": 1})) is None
    assert six.take_out({"x": 1}) == {"x": 1}
    assert six.take_out({"value": True}) is None

    one, two = 1, 2

    def both() -> int:
        return one + two

    closure = closure_of(both)
    assert closure is not None
    assert closure.take_out({"one": 1}) is None
    assert closure.take_out({"one": 1, "two": 2, "x": 3}) == {"x": 3}


def test_a_variable_that_is_assigned_again_is_a_state() -> None:
    """A counter or a flag differs from life to life."""
    count = 0
    fixed = "a"

    def counting() -> str:
        nonlocal count
        count += 1
        return fixed

    closure = closure_of(counting)
    assert closure is not None
    assert closure.add_to({}) == {"fixed": "a"}


def test_closed_over_names_do_not_clash_with_keywords() -> None:
    """A function that takes any keyword may be given one of that name."""
    value = 5

    def spreading(**given: Any) -> Any:
        return value, given

    closure = closure_of(spreading)
    assert closure is not None
    assert closure.add_to({"value": 1}) == {"value": 1, "value of the closure": 5}


def test_what_is_not_assigned_yet_is_left_out() -> None:
    """The function may be made before its variable."""

    def early() -> Any:
        return later

    closure = closure_of(early)
    assert closure is not None
    assert closure.add_to({}) == {}
    later = 1
    assert closure.add_to({}) == {"later": 1}


def test_functions_that_do_the_same_are_alike() -> None:
    """One code, over equal values: of closures, of functions within them, of methods, of what may change."""
    assert alike(over(1), over(1))
    assert alike(over([1]), over([1]))
    assert alike(over(over({"a": 1})), over(over({"a": 1})))
    assert not alike(over(1), over(2))
    assert not alike(over(1), over(True))
    assert not alike(over([1]), over([2]))
    assert not alike(over(over(1)), over(over(2)))
    assert not alike(over(1), test_functions_that_do_the_same_are_alike)
    assert not alike(over(object()), over(object()))
    assert not alike(over([NeverEqual()]), over([NeverEqual()]))
    assert not alike(1, "1")


def test_methods_are_alike_by_their_instance() -> None:
    """And by their function."""
    assert alike(PurePosixPath("a").is_absolute, PurePosixPath("a").is_absolute)
    assert not alike(PurePosixPath("a").is_absolute, PurePosixPath("b").is_absolute)
    assert alike(Point(1).__repr__, Point(1).__repr__)
    assert not alike(Point(1).__repr__, Point(2).__repr__)
    assert not alike(Point(1).__hash__, Point(1).__repr__)


def test_defaults_of_functions_are_compared() -> None:
    """Of parameters, and of those that are given by name only."""

    def made(default: int, named: int) -> Callable[..., Any]:
        def inner(x: int = default, *, y: int = named) -> int:
            return x + y

        return inner

    assert alike(made(1, 2), made(1, 2))
    assert not alike(made(1, 2), made(2, 2))
    assert not alike(made(1, 2), made(1, 3))


def test_functions_within_functions_are_compared_up_to_a_depth() -> None:
    """Beyond it they count as different, and the comparison ends."""

    def chain(length: int) -> Callable[..., Any]:
        found = over(1)
        for _ in range(length):
            found = over(found)
        return found

    assert alike(chain(7), chain(7))
    assert not alike(chain(30), chain(30))


def test_a_function_that_calls_itself_is_compared_without_end() -> None:
    """Itself in its own variables is no difference."""

    def recursive(value: int) -> Callable[[int], int]:
        def inner(x: int) -> int:
            return inner(x - 1) + value if x else 0

        return inner

    assert alike(recursive(1), recursive(1))
    assert not alike(recursive(1), recursive(2))


class Named:
    def __init__(self, name: str) -> None:
        self.name = name

    def __perdure_key__(self) -> str:
        return self.name

    def method(self, x: int) -> int:
        return x


def plain(first: object, second: int = 0, /, *rest: int) -> object:
    return first, second, rest


def test_what_a_partial_gives_by_place_tells_it_apart() -> None:
    """Under the names of its function's parameters; what it gives by name are arguments anyway."""
    bound = bound_of(functools.partial(plain, 1, 2, 3, 4))
    assert bound is not None
    names = [name for name, _ in bound.mark()]
    assert names == ["first of the partial", "second of the partial", "rest of the partial", "3 of the partial"]
    assert bound_of(functools.partial(plain, second=1)) is None
    assert bound_of(plain) is None
    assert bound_of(functools.partial(plain, object())) is None  # says nothing that could be stored
    unknown = bound_of(functools.partial(max, 1))
    assert unknown is not None
    assert [name for name, _ in unknown.mark()] == ["0 of the partial"]


def test_inputs_of_another_binding_are_refused() -> None:
    """Of an instance with another key, and of another closure below it."""
    one, two = bound_of(Named("one").method), bound_of(Named("two").method)
    assert one is not None
    assert two is not None
    assert not one.is_remade
    named = one.add_to({"x": 1})
    assert list(named) == ["x", "self of the method"]
    assert one.take_out(named) == {"x": 1}
    assert two.take_out(named) is None
    assert two.take_out({"x": 1}) == {"x": 1}


def test_a_partial_of_a_closure_is_bound_to_both() -> None:
    """Both are added, both are compared, both are taken out."""
    found = {value: bound_of(functools.partial(over(value), 7)) for value in (1, 2)}
    one, two = found[1], found[2]
    assert one is not None
    assert two is not None
    assert one.is_remade
    named = one.add_to({})
    assert list(named) == ["value", "x of the partial"]
    assert one.take_out(named) == {}
    assert two.take_out(named) is None
    assert one.mark() != two.mark()
    assert one.mark()[0] == ("value", int, 1)


@pytest.mark.parametrize("annotated", [False, True])
def test_the_instance_of_a_method_is_of_the_class_that_the_method_is_found_in(annotated: bool) -> None:
    """By that it is made again where the call is redriven, in a process that has recorded none."""

    @dataclass
    class Till:
        place: str

        @step
        def pay(self, n: int) -> int:
            return n

    spec = spec_of(Till.pay)
    assert spec is not None
    if annotated:
        spec.fn.__annotations__["self"] = Till
    packed = codec.pack_inputs([Till("here"), 2], {}, owner="pay")
    (found, n), _ = codec.unpack_inputs(packed, spec.parameter_plans(), owner="pay")
    assert (found, n) == (Till("here"), 2)
