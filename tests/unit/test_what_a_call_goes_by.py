"""What a call is known by: its arguments as stored, or a key; and what of them no other process can be given."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import Secret, step
from perdure.core.execution import identity
from perdure.core.execution.spec import Spec, spec_of
from perdure.core.values import codec
from perdure.errors import ArgumentChanged, NotStorable


class Client:
    """Nothing of it can be stored."""

    def __init__(self) -> None:
        self.socket = object()


class Account:
    """Goes by its number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __perdure_key__(self) -> int:
        return self.number


def spec(**options: Any) -> Spec:
    @step(name="pay", retry=None, **options)
    def pay(order: Any, amount: Any = 1) -> None: ...

    found = spec_of(pay)
    assert found is not None
    return found


def of_two(**options: Any) -> Spec:
    @step(name="pay", retry=None, **options)
    def pay(order: Any, amount: Any) -> None: ...

    found = spec_of(pay)
    assert found is not None
    return found


def method() -> Spec:
    class Shop:
        @step(name="pay", retry=None)
        def pay(self, order: Any) -> None: ...

    found = spec_of(Shop.pay)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("args", "kwargs", "quick"),
    [
        ((7, "a"), {}, True),
        ((7, None), {}, True),
        ((7,), {"amount": 2}, False),
        ((7, [1]), {}, False),
        ((7, 1 << 70), {}, False),
    ],
)
def test_the_key_of_scalars_is_that_of_any_call_with_them(args: Any, kwargs: Any, quick: bool) -> None:
    """Where the shorter way to it can be gone: whatever is not a scalar as it stands goes the other one."""
    key, call = identity.key_of_scalars(of_two(), args, kwargs), identity.identify(of_two(), args, kwargs)
    assert key == (call.key if quick else None)
    assert identity.key_of_scalars(spec(), args, kwargs) is None, "where there are defaults, they are arguments too"


def test_a_step_with_a_key_of_its_own_has_no_shorter_way() -> None:
    """Nor has one in another process."""
    isolated = of_two()
    isolated.isolate = True
    assert identity.key_of_scalars(isolated, (7, "a"), {}) is None
    assert identity.key_of_scalars(of_two(key=lambda order, amount: order), (7, "a"), {}) is None


def test_the_same_arguments_are_the_same_call() -> None:
    """By place or by name, or left to the default; others are another one."""
    one = identity.identify(spec(), (7, 1), {})
    assert one.key == identity.identify(spec(), (7,), {}).key == identity.identify(spec(), (), {"order": 7}).key
    assert one.key != identity.identify(spec(), (7, 2), {}).key
    assert (one.args, one.kwargs, one.named) == ((7, 1), {}, False)


def test_a_secret_is_not_given_to_a_worker() -> None:
    """Nor to another process; what can be stored is."""
    given = identity.identify_stored(spec(), (7, "a"), {})
    assert given.input == identity.identify(spec(), (7, "a"), {}).input
    identity.refuse_names_only(given)
    with pytest.raises(NotStorable, match=r"called by a worker, and is given .*; a Secret is never stored"):
        identity.identify_stored(spec(), (Secret("tulip-77"),), {})
    with pytest.raises(NotStorable, match=r"process, and is called as pay.*: a Secret is not stored") as caught:
        identity.refuse_names_only(identity.identify(spec(), (Secret("tulip-77"),), {}))
    assert "tulip" not in str(caught.value)


def test_what_only_a_name_is_stored_of_is_not_given_to_another_process() -> None:
    """It could not be made again there."""
    call = identity.identify_by(spec(), (Client(),), {}, "order-7")
    with pytest.raises(NotStorable, match=r"as pay\(<Client>.*: of what stands in <> only the name is stored"):
        identity.refuse_names_only(call)


def test_a_call_by_a_key_is_known_by_that_alone() -> None:
    """Its inputs are kept for the eye, and the key as text if it is one."""
    one = identity.identify_by(spec(), (7,), {}, "k")
    other = identity.identify_by(spec(), (Client(),), {}, "k")
    assert one.named
    assert one.key == other.key != identity.identify_by(spec(), (7,), {}, "l").key
    assert one.extras is not None
    assert one.extras.label == "k"
    assert one.input != other.input
    with pytest.raises(NotStorable, match="the key of step 'pay'"):
        identity.identify_by(spec(), (7,), {}, Client())


def test_an_item_of_a_method_is_one_of_its_instance() -> None:
    """Two accounts have each their own call for an item of one key; of a function the first argument says nothing."""
    keys = {identity.identify_item(method(), (Account(number), 7), "k").key for number in (1, 1, 2)}
    assert len(keys) == 2
    assert identity.identify_item(spec(), (1,), "k").key == identity.identify_item(spec(), (2,), "k").key


def test_inputs_of_a_call_by_a_key_can_be_asked_for_in_full() -> None:
    """So that it can be made again of them, if all of it can be stored."""
    by_key = identity.identify_by(spec(), ([1],), {}, "k")
    plain = identity.identify(spec(), ([1],), {})
    assert identity.pack_strictly(by_key) == identity.pack_strictly(plain) == plain.input
    with pytest.raises(NotStorable):
        identity.pack_strictly(identity.identify_by(spec(), (Client(),), {}, "k"))


@pytest.mark.parametrize("named", [False, True])
def test_a_step_that_changes_its_argument_is_found_out(named: bool) -> None:
    """By what is stored of it; the error shows it before and after."""
    orders = [1]
    call = identity.identify_by(spec(), (orders,), {}, "k") if named else identity.identify(spec(), (orders,), {})
    identity.refuse_change(call)
    orders.append(2)
    with pytest.raises(ArgumentChanged) as caught:
        identity.refuse_change(call)
    assert "given:      pay([1]" in str(caught.value)
    assert "afterwards: pay([1, 2]" in str(caught.value)


def test_a_keyword_that_is_changed_is_found_out_beside_scalars() -> None:
    """Not only what is given by place is looked at."""
    orders = [1]
    call = identity.identify(spec(), (7,), {"amount": orders})
    orders.append(2)
    with pytest.raises(ArgumentChanged):
        identity.refuse_change(call)


def test_a_step_that_changes_its_default_is_found_out() -> None:
    """A later call would be given the change."""
    kept = [1]

    @step(name="adds", retry=None)
    def adds(order: int, to: list[int] = kept) -> None: ...

    found = spec_of(adds)
    assert found is not None
    call = identity.identify(found, (7,), {})
    identity.refuse_change(call)
    kept.append(2)
    with pytest.raises(ArgumentChanged, match="changed a default of its own"):
        identity.refuse_change(call)
    assert codec.describe_inputs(call.defaults or b"") != ""
