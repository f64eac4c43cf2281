"""The edited arguments of a call, as its annotations and their classes make them."""

from __future__ import annotations

import inspect
from typing import Any

from perdure.core.execution.argument_paths import Arguments
from perdure.core.execution.spec import Spec
from perdure.core.values.annotations import Closed
from perdure.core.values.constructing import ABSENT
from perdure.core.values.remaking import Remaking
from perdure.errors import NotDecodable, OptionError


def made_again(arguments: Arguments, original: bytes, spec: Spec) -> list[str]:
    """Make what was changed as its classes and annotations would; returns what could not be asked, a line each.

    Args:
        arguments: what was edited; what differs from `original` is put in again as it was made.
        original: the arguments before, packed.
        spec: the step that takes them.

    Raises:
        NotDecodable: they hold something that cannot be loaded for this step.
        OptionError: something does not fit its place, or a class refuses it.
    """
    args, kwargs = spec.arguments(arguments.packed())
    old_args, old_kwargs = _loaded(original, spec)
    plans = dict(zip(_parameters(spec), spec.parameter_plans(), strict=True))
    closed = Closed(*(plan.annotation for plan in plans.values()), names=_scope(plans))
    names = spec.signature.names(max(len(args), len(old_args)))
    before = dict(zip(names, old_args, strict=False)) | old_kwargs
    remaking = Remaking(closed)
    for name, value in (dict(zip(names, args, strict=False)) | kwargs).items():
        declared = plans[name].annotation if name in plans else Any
        made, changed, refusal = remaking.remade(value, declared, before.get(name, ABSENT), (name,))
        if refusal is not None:
            raise OptionError(f"the new input does not fit {spec.owner}: {refusal.text}", "give a value that it takes")
        if changed:
            arguments.put(name, made)
    for place, doubt in arguments.doubts.items():
        if place not in remaking.fitting and not any(
            place[:length] in remaking.made for length in range(len(place) + 1)
        ):
            raise doubt
    return remaking.unasked


def _parameters(spec: Spec) -> list[str]:
    return list(inspect.signature(spec.fn).parameters)


def _scope(plans: dict[str, Any]) -> dict[str, Any]:
    return {name: value for plan in plans.values() for name, value in (plan.names or {}).items()}


def _loaded(data: bytes, spec: Spec) -> tuple[list[Any], dict[str, Any]]:
    try:
        return spec.arguments(data)
    except NotDecodable:  # perhaps what the edit mends
        return [], {}
