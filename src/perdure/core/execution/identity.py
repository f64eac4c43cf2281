"""What makes two calls the same: the step's name, and a digest of the inputs or of what the caller says they go by."""

from __future__ import annotations

from typing import Any

from perdure.core.execution.call_extras import Extras, label_of
from perdure.core.execution.inputs import pack, pack_leniently
from perdure.core.execution.spec import Call, Spec
from perdure.core.records import CLEAN_UPS
from perdure.core.values import codec
from perdure.core.values.extensions import SCALARS, encode
from perdure.errors import ArgumentChanged, NotStorable


def identify(spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    """A call by its inputs, or by the step's own key function.

    Raises:
        TypeError: the function would not accept these arguments.
        NotStorable: an argument cannot be stored.
    """
    if spec.key is not None:
        return identify_by(spec, args, kwargs, spec.key(*args, **kwargs))
    if not kwargs and len(args) == spec.signature.exact and SCALARS.issuperset(map(type, args)):
        try:
            given = encode(args)
        except (OverflowError, UnicodeEncodeError):
            pass
        else:
            return Call(spec, args, kwargs, given, codec.digest(given))
    given, canonical = pack(spec.signature, _shown(spec, args), kwargs)
    call = Call(spec, args, kwargs, given, codec.digest(canonical))
    watch_defaults(call)
    return call


def key_of_scalars(spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes | None:
    """The key of a call whose arguments are scalars in canonical form as they stand; None of others."""
    if kwargs or len(args) != spec.signature.exact or not SCALARS.issuperset(map(type, args)):
        return None
    if spec.key is not None or spec.isolate:
        return None
    try:
        return codec.digest(encode(args))
    except (OverflowError, UnicodeEncodeError):
        return None


def identify_stored(spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    """A call that another process is to make, of what is stored of it alone.

    Raises:
        TypeError: the function would not accept these arguments.
        NotStorable: an argument cannot be stored, or holds a Secret.
    """
    call = identify(spec, args, kwargs)
    if codec.withholds(call.input):
        raise NotStorable(
            f"{spec.owner} is to be called by a worker, and is given {codec.describe_inputs(call.input)}; a Secret is "
            "never stored, so a worker cannot be given it",
            "let the step read the secret where it needs it, or call the workflow in this process",
        )
    return call


def refuse_names_only(call: Call) -> None:
    """Make sure that another process can be given the arguments of a call.

    Raises:
        NotStorable: one is a Secret, or of one only the class, or what it goes by, is stored.
    """
    if codec.withholds(call.input):
        raise NotStorable(
            f"{call.spec.owner} is to be executed in another process, and is called as "
            f"{call.spec.name}{codec.describe_inputs(call.input)}: a Secret is not stored, and not handed over either",
            "read the secret in the step, from the environment or a file; or leave out isolate= and processes=",
        )
    if codec.names_only(call.input):
        raise NotStorable(
            f"{call.spec.owner} is to be executed in another process, and is called as "
            f"{call.spec.name}{codec.describe_inputs(call.input)}: of what stands in <> only the name is stored, and "
            "nothing that could be handed over",
            "pass what it is made of, and make it in the step; or make its class a dataclass",
        )


def identify_item(spec: Spec, args: tuple[Any, ...], key: Any) -> Call:
    """A call by the key of an item: of a method's instance, too, which the key does not know.

    Raises:
        TypeError: the function would not accept these arguments.
        NotStorable: the key or the instance cannot be stored.
    """
    return identify_by(spec, args, {}, key, *(_shown(spec, args)[:1] if spec.is_method else ()))


def identify_by(spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], key: Any, *more: Any) -> Call:
    """A call by a key. Its inputs are kept for comparison and for the eye; what of them cannot be stored is named only.

    Raises:
        TypeError: the function would not accept these arguments.
        NotStorable: the key cannot be stored.
    """
    given = pack_leniently(spec.signature, args, kwargs)
    named = codec.pack_inputs([key, *more], {}, owner=f"the key of {spec.owner}")
    call = Call(spec, args, kwargs, given, codec.digest(named), named=True)
    if (label := label_of(key)) is not None:
        call.extras = Extras(label=label)
    watch_defaults(call)
    return call


def watch_defaults(call: Call) -> None:
    """Note what the defaults are that the function may change in place."""
    if call.spec.signature.changing:
        call.defaults = call.spec.signature.state()


def refuse_change(call: Call) -> None:
    """Make sure that the step has left its arguments as they were, and its defaults.

    The workflow would see the change on the first run, and not on resume.

    Raises:
        ArgumentChanged: it has not.
    """
    if call.spec.signature.changing:
        refuse_changed_defaults(call)
    if not call.kwargs and SCALARS.issuperset(map(type, call.args)):
        return
    shown = call.args if call.named else _shown(call.spec, call.args)
    now = pack_leniently(call.spec.signature, shown, call.kwargs)
    if now != call.input and now != _as_inputs(call):
        raise ArgumentChanged(
            f"{call.spec.owner} changed an argument that it was given; on resume it stays unchanged\n"
            f"    given:      {call.spec.name}{codec.describe_inputs(call.input)}\n"
            f"    afterwards: {call.spec.name}{codec.describe_inputs(now)}",
            "work on a copy, and return what the workflow needs",
        )


def _as_inputs(call: Call) -> bytes:
    """What a clean-up was given, in the form of inputs: that of an undo is the form that results have."""
    if call.spec.record_kind not in CLEAN_UPS:
        return call.input
    args, kwargs = call.spec.arguments(call.input)
    return pack_leniently(call.spec.signature, tuple(args), kwargs)


def refuse_changed_defaults(call: Call) -> None:
    """Make sure that the step has left its defaults as they were: a later call would be given the change.

    Raises:
        ArgumentChanged: it has not.
    """
    before, now = call.defaults, call.spec.signature.state()
    if before is not None and now != before:
        raise ArgumentChanged(
            f"{call.spec.owner} changed a default of its own, which its later calls would be given; on resume it stays "
            "unchanged\n"
            f"    before:     {codec.describe_inputs(before)}\n"
            f"    afterwards: {codec.describe_inputs(now)}",
            "let None be the default, and make the value in the step",
        )


def pack_strictly(call: Call) -> bytes:
    """The inputs of a call, also of one that goes by a key, such that it can be made again from them.

    Raises:
        NotStorable: an argument cannot be stored.
    """
    return pack(call.spec.signature, _shown(call.spec, call.args), call.kwargs)[0] if call.named else call.input


def _shown(spec: Spec, args: tuple[Any, ...]) -> tuple[Any, ...]:
    if args and (spec.is_method or isinstance(args[0], type)):
        from perdure.core.execution.instances import receiver

        return (receiver(args[0], spec.owner), *args[1:])
    return args
