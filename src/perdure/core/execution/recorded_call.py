"""The call that a run was started with, for the workflow as the script defines it now."""

from __future__ import annotations

from perdure.core.execution.spec import Call, Spec
from perdure.core.records import RunRecord
from perdure.core.values import codec
from perdure.errors import OtherInputs


def recorded_call(spec: Spec, run: RunRecord, reader: codec.InputReader | None = None) -> Call:
    """The workflow with the inputs that a run was started with.

    Args:
        spec: the workflow.
        run: the run, with its whole input.
        reader: `spec.input_reader()`, for many runs.

    Raises:
        OtherInputs: the workflow does not take them any more.
        NotDecodable: its parameters are not annotated with the classes of the recorded inputs.
    """
    args, kwargs = spec.arguments(run.input, reader)
    try:
        spec.signature.bind(tuple(args), kwargs)
    except TypeError as misfit:
        raise OtherInputs(
            f"{spec.owner} does not take the inputs of run {run.id} any more: {misfit}\n"
            f"    recorded: {run.workflow}{codec.describe_inputs(run.input)}",
            "let it take them again (a new parameter needs a default), or start a new run",
        ) from None
    return Call(spec, tuple(args), kwargs, run.input, run.key)
