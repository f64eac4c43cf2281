"""Are recorded inputs those of a call? Also where a class among them has gained a field with a default since."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any

from perdure.core.execution.bound_values import Bound
from perdure.core.execution.inputs import look_as_always, pack
from perdure.core.execution.instances import IDENTITY, own_key, standing
from perdure.core.execution.spec import Call
from perdure.core.records import StepRecord
from perdure.core.values import codec
from perdure.core.values.builtin_types import READING, stand_in_of
from perdure.core.values.canonical import canonical
from perdure.core.values.extensions import GOES_BY, STAND_IN, Decode, GoesBy, Read, StandIn
from perdure.errors import NotDecodable, NotStorable


def are_inputs_of(recorded: bytes, call: Call, id: str | None = None, *, by_key: bool = False) -> bool:
    """Compare by what was recorded: a field that it lacks is no change where the call has the field's default.

    Args:
        recorded: packed inputs of a call of the same step.
        call: a call as the script makes it now; one that stands for the beginning or the end of a run has the call of
            the workflow among its arguments.
        id: they are asked for with this id as one more.
        by_key: the record has the key that the call goes by, which says what the inputs do not.
    """
    if not by_key and _are_vague(call):
        return False
    given = call.input if id is None else codec.with_keyword(call.input, "id", id)
    if codec.same_inputs(recorded, given):
        return True
    asked = _asked(call)
    if asked.spec.record_kind != "step" or look_as_always(asked.spec.signature, asked.args, asked.kwargs):
        return False
    now = Renewed(asked, named=asked.input != given).of(recorded)
    return now is not None and codec.same_inputs(now[0], given)


def _are_vague(call: Call) -> bool:
    """May several calls have these inputs, since no more than the type of an argument is stored? Their keys differ."""
    return call.named and (codec.names_only(call.input) or codec.withholds(call.input))


def _asked(call: Call) -> Call:
    """The call whose arguments are recorded: of what stands for the beginning or the end of a run, the workflow's."""
    if call.spec.record_kind != "builtin":
        return call
    return next((one for one in call.args if type(one) is Call and one.spec.kind == "workflow"), call)


_HOLD = (list, tuple, dict, set, frozenset)


def types_in(call: Call) -> tuple[type, ...]:
    """The types of what a call is given, of what plain containers hold and what instances go by, each once."""
    found: dict[type, None] = {}
    closure = call.spec.signature.closure
    left = [*call.args, *call.kwargs.values(), *(closure.held() if isinstance(closure, Bound) else ())]
    while left:
        value = left.pop()
        found[type(value)] = None
        if type(value) in _HOLD:
            left += [*value, *value.values()] if type(value) is dict else value
        elif hasattr(type(value), IDENTITY):
            left.append(own_key(value))
    return tuple(found)


def _renewed(kind: type[StandIn]) -> Read:
    """Reads what stands for an instance: by what it goes by, as the classes in that are now."""

    def read(data: Any, decode: Decode) -> Any:
        recorded = stand_in_of(data, kind)
        if recorded.packed:
            packed = codec.pack_inputs(decode(recorded.packed), {}, owner=recorded.kind)
            recorded = standing(recorded.kind, packed, kind)
        return recorded.text if kind is GoesBy else recorded

    return read


_RENEWING = READING | {STAND_IN: _renewed(StandIn), GOES_BY: _renewed(GoesBy)}


class InputsOfBefore:
    """Records by the inputs that they would have now, where a class among these has gained a field since.

    Args:
        read: a record, by the numbers of its run and its own.
    """

    def __init__(self, read: Callable[[int, int], StepRecord]) -> None:
        self.read = read
        self._found: dict[Hashable, dict[bytes, list[tuple[int, StepRecord]]]] = {}

    def find(
        self, call: Call, where: Hashable, records: Callable[[], Iterable[tuple[int, int]]]
    ) -> list[tuple[int, StepRecord]]:
        """The records whose inputs looked otherwise, and would be the call's now, with the numbers of their runs.

        Args:
            call: as the script makes it now.
            where: what is looked through; once for all calls with arguments of the same types.
            records: the numbers of its runs and records.
        """
        asked = _asked(call)
        if asked.spec.record_kind != "step" or _are_vague(asked):
            return []
        if look_as_always(asked.spec.signature, asked.args, asked.kwargs):
            return []
        place = where, call.spec.name, types_in(asked)
        if (found := self._found.get(place)) is None:
            found = self._found[place] = self._look_through(Renewed(asked, named=asked.input != call.input), records())
        return found.get(codec.digest(canonical(call.input)), []) if found else []

    def _look_through(self, renewed: Renewed, records: Iterable[tuple[int, int]]) -> dict[bytes, Any]:
        found: dict[bytes, list[tuple[int, StepRecord]]] = {}
        for rid, seq in records:
            record = self.read(rid, seq)
            now = renewed.of(record.input)
            if now is not None and not codec.same_inputs(now[0], record.input):
                found.setdefault(codec.digest(canonical(now[0])), []).append((rid, record))
        for alike in found.values():
            alike.sort(key=lambda one: (one[0], one[1].n))
        return found


class Renewed:
    """Recorded inputs of one function as they would be recorded now.

    Args:
        call: of that function, as the script makes it now; the classes of its arguments may be restored.
        named: the id of a run stands behind the arguments, as `codec.with_keyword` has put it there.
    """

    def __init__(self, call: Call, *, named: bool = False) -> None:
        spec = self._spec = call.spec
        self._named = named
        given = [codec.plan(each, owner=spec.owner) for each in types_in(call) if each not in _HOLD]
        self._reader = codec.InputReader([*spec.parameter_plans(), *given], owner=spec.owner, known=_RENEWING)

    def of(self, recorded: bytes) -> tuple[bytes, bytes] | None:
        """The packed inputs, and the key of a call with them; None if they are none of the function as it is now."""
        spec = self._spec
        try:
            args, kwargs = spec.arguments(recorded, self._reader)
            id = kwargs.popitem()[1] if self._named and kwargs else None
            packed, canonical = pack(spec.signature, tuple(args), kwargs)
        except (NotDecodable, NotStorable, TypeError):
            return None
        return (packed if id is None else codec.with_keyword(packed, "id", id)), codec.digest(canonical)
