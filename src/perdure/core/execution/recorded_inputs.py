"""Are recorded inputs those of a call? Also where a class among them has gained a field with a default since."""

from __future__ import annotations

from perdure.core.execution.inputs import pack
from perdure.core.execution.spec import Call
from perdure.core.values import codec
from perdure.core.values.extensions import SCALARS
from perdure.errors import NotDecodable, NotStorable


def are_inputs_of(recorded: bytes, call: Call) -> bool:
    """Compare by what was recorded: a field that it lacks is no change where the call has the field's default.

    Args:
        recorded: packed inputs of a call of the same step.
        call: a call as the script makes it now.
    """
    if codec.same_inputs(recorded, call.input):
        return True
    values = [*call.args, *call.kwargs.values()]
    if SCALARS.issuperset(map(type, values)) or call.spec.record_kind != "step":
        return False
    spec = call.spec
    given = [codec.plan(type(value), owner=spec.owner) for value in values]
    try:
        args, kwargs = spec.arguments(recorded, codec.InputReader([*spec.parameter_plans(), *given], owner=spec.owner))
        now, _ = pack(spec.signature, tuple(args), kwargs)
    except (NotDecodable, NotStorable, TypeError):
        return False
    return codec.same_inputs(now, call.input)
