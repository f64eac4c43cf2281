"""Are recorded inputs those of a call? Also where a class among them has gained a field with a default since."""

from __future__ import annotations

from perdure.core.execution.inputs import are_scalars, pack
from perdure.core.execution.spec import Call
from perdure.core.values import codec
from perdure.errors import NotDecodable, NotStorable


def are_inputs_of(recorded: bytes, call: Call) -> bool:
    """Compare by what was recorded: a field that it lacks is no change where the call has the field's default.

    Args:
        recorded: packed inputs of a call of the same step.
        call: a call as the script makes it now; one that stands for the beginning or the end of a run has the call of
            the workflow among its arguments.
    """
    if codec.same_inputs(recorded, call.input):
        return True
    asked = call
    if call.spec.record_kind == "builtin":
        asked = next((one for one in call.args if type(one) is Call and one.spec.kind == "workflow"), call)
    if asked.spec.record_kind != "step" or are_scalars(asked.args, asked.kwargs):
        return False
    now = Renewed(asked, named=asked.input != call.input).of(recorded)
    return now is not None and codec.same_inputs(now[0], call.input)


class Renewed:
    """Recorded inputs of one function as they would be recorded now.

    Args:
        call: of that function, as the script makes it now; the classes of its arguments may be restored.
        named: the id of a run stands behind the arguments, as `codec.with_keyword` has put it there.
    """

    def __init__(self, call: Call, *, named: bool = False) -> None:
        spec = self._spec = call.spec
        self._named = named
        given = [codec.plan(type(value), owner=spec.owner) for value in (*call.args, *call.kwargs.values())]
        self._reader = codec.InputReader([*spec.parameter_plans(), *given], owner=spec.owner)

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
