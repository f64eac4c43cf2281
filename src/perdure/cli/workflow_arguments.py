"""A workflow's parameters as a command line: typed, checked, with a help page."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal

import msgspec
from cyclopts import App, CycloptsError, Group, Parameter, Token

from perdure.api.workflow import method_refused
from perdure.core.execution.spec import Spec
from perdure.core.redaction.secret import Secret
from perdure.errors import UsageError

Parsed = tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]
"""Positional arguments and keyword arguments of the workflow, and perdure's own options."""

OPTIONS: dict[str, tuple[Any, str]] = {
    "id": (str | None, "Exactly one run under this id, ever: resumed if it is unfinished; its result if it is done."),
    "if_locked": (
        Literal["skip", "wait", "fail"] | None,
        "If another process has the run, or the lock of its workflow. As the workflow says, else skip.",
    ),
    "json": (bool, "Print one JSON object instead of the result as Python shows it."),
    "wait": (bool, "Stay while the run sleeps or waits; else one that waits for longer than a minute is left."),
    "state": (Path | None, "The state file, if not .perdure/state.db beside the script."),
    "engine": (str | None, "A cluster to run it on: temporal://HOST:7233/NAMESPACE."),
}
"""What `perdure run` itself knows, before the file's name or behind it."""

_PREFIX = "perdure_option_"
NOTE = "A secret: never stored. On a command line others can see it (ps, the history of the shell)."
"""On the help page, of a parameter that is a Secret."""


def parse_arguments(spec: Spec, command: str, tokens: Sequence[str]) -> Parsed | None:
    """What stands behind the file's name on the command line.

    A parameter of the workflow goes before an option of perdure's with the same name, which can still be given before
    the file's name.

    Args:
        spec: the workflow.
        command: what was typed before, for the help page.
        tokens: what was typed behind it.

    Returns:
        The arguments; None if help was asked for and given.

    Raises:
        CycloptsError: they do not fit.
        UsageError: the workflow is a method, so that it needs an object besides; or a list or a class with fields does
            not fit, which goes as JSON by its option.
    """
    _refuse_method(spec)
    accept = _acceptor(spec)
    app = App(name=command, help=inspect.getdoc(spec.fn) or "", version_flags=[], result_action="return_value")
    app["--help"].group = "perdure"
    app.default(accept)
    try:
        chosen, bound, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        if (form := _json_form(spec, error)) is None:
            raise
        raise UsageError(
            f"the arguments of workflow {spec.name!r} do not fit: {error}", f"give it as JSON, by its option: {form}"
        ) from error
    except ArithmeticError as error:  # a Decimal that is none
        raise UsageError(
            f"the arguments of workflow {spec.name!r} do not fit: one of them is not a number ({type(error).__name__})",
            f"see which it takes: {command} --help",
        ) from error
    if chosen is not accept:
        chosen(*bound.args, **bound.kwargs)
        return None
    own = {name.removeprefix(_PREFIX): bound.kwargs[name] for name in bound.kwargs if name.startswith(_PREFIX)}
    kwargs = {name: value for name, value in bound.kwargs.items() if not name.startswith(_PREFIX)}
    return bound.args, kwargs, own


def _json_form(spec: Spec, error: CycloptsError) -> str | None:
    """The option with which the parameter that does not fit is given as JSON; None if that is not how it is given."""
    if error.argument is None or not error.argument.names:
        return None
    option = error.argument.names[0].lstrip("-").partition(".")[0].lower()
    shown = _shown_as_json(spec.hints().get(option.replace("-", "_")))
    return None if shown is None else f"--{option} '{shown}'"


def _shown_as_json(annotation: Any) -> str | None:
    """What such a value looks like as JSON; None for one that is no class with fields, and holds none."""
    kinds = [one for one in _alternatives(annotation) if one is not type(None)]
    kind = kinds[0] if kinds else annotation
    origin, parts = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin in (list, tuple, set, frozenset, Sequence) and parts:
        inner = _shown_as_json(parts[0])
        return None if inner is None else f"[{inner}]"
    if origin is dict:
        return '{"KEY": VALUE}'
    if not isinstance(kind, type) or kind.__module__ == "builtins":
        return None
    fields = [name for name in getattr(kind, "__annotations__", {}) if not name.startswith("_")]
    return "{" + ", ".join(f'"{name}": VALUE' for name in fields) + "}" if fields else None


def _refuse_method(spec: Spec) -> None:
    inside = spec.qualname.rpartition(".")[0]
    if inside and not inside.endswith("<locals>") and next(iter(inspect.signature(spec.fn).parameters), "") == "self":
        raise method_refused(spec)


def _acceptor(spec: Spec) -> Any:
    """A function with the workflow's parameters and perdure's options, for Cyclopts to look at; it is never called."""

    def accept(*args: Any, **kwargs: Any) -> None:
        """Never called."""

    parameters = [*_parameters(spec)]
    taken = {parameter.name.replace("_", "-") for parameter in parameters}
    rest = [p for p in parameters if p.kind is p.VAR_KEYWORD]
    signature = inspect.Signature(
        [*(p for p in parameters if p not in rest), *_options(taken), *rest], __validate_parameters__=False
    )
    accept.__signature__ = signature  # type: ignore[attr-defined]
    accept.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    accept.__doc__ = inspect.getdoc(spec.fn) or ""
    return accept


def _parameters(spec: Spec) -> Iterator[inspect.Parameter]:
    hints = spec.hints()
    for parameter in inspect.signature(spec.fn).parameters.values():
        annotation = hints.get(parameter.name, str if parameter.default is parameter.empty else Any)
        if annotation is Any:
            default = parameter.default
            annotation = type(default) if isinstance(default, str | int | float | Path) else str
        if parameter.default is None and (isinstance(annotation, type) or typing.get_origin(annotation) is not None):
            annotation = typing.Optional[annotation]  # noqa: UP045  where pydantic is loaded, defaults are checked, too
        if (secret := _secret_of(annotation)) is not None:
            how = Parameter(converter=secret, n_tokens=1, accepts_keys=False, help=NOTE)
            annotation = Annotated[annotation, how]
        elif _mentions_struct(annotation) or _is_nested(annotation):
            annotation = Annotated[
                annotation, Parameter(converter=_from_json, n_tokens=1, accepts_keys=False, json_list=False)
            ]
        elif (container := _container_of_texts(annotation)) is not None:
            annotation = Annotated[annotation, Parameter(converter=partial(_texts, container))]
        yield parameter.replace(annotation=annotation)


def _secret_of(annotation: Any) -> Any:
    """What makes of a text the value of a parameter that is a Secret, or holds one; None if it does neither."""
    kinds = [one for one in _alternatives(annotation) if one is not type(None)]
    if kinds and all((typing.get_origin(one) or one) is Secret for one in kinds):
        return partial(_to_secret, is_bytes=any(typing.get_args(one) == (bytes,) for one in kinds))
    return _no_secret if _mentions_secret(annotation, set()) else None


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) is Annotated:
        return _alternatives(typing.get_args(annotation)[0])
    if isinstance(annotation, UnionType) or typing.get_origin(annotation) is typing.Union:
        return tuple(one for part in typing.get_args(annotation) for one in _alternatives(part))
    return (annotation,)


def _mentions_secret(annotation: Any, seen: set[int]) -> bool:
    """Is a Secret somewhere in it, or in a field of a class in it?"""
    kind = typing.get_origin(annotation) or annotation
    if kind is Secret:
        return True
    if id(annotation) in seen:
        return False
    seen.add(id(annotation))
    fields: list[Any] = list(typing.get_args(annotation))
    if isinstance(kind, type) and kind.__module__ not in ("builtins", "typing"):
        with suppress(Exception):  # a name in an annotation that only a type checker knows
            fields += typing.get_type_hints(kind).values()
    return any(_mentions_secret(part, seen) for part in fields)


def _to_secret(kind: Any, tokens: Sequence[Token], *, is_bytes: bool) -> Secret[Any]:
    text = tokens[0].value
    return Secret(text.encode("utf-8", "surrogateescape") if is_bytes else text)


def _no_secret(kind: Any, tokens: Sequence[Token]) -> Any:
    raise ValueError("it holds a Secret beside other things, which no command line can give: call it in the script")


def _options(taken: set[str]) -> Iterator[inspect.Parameter]:
    group = Group("perdure", sort_key=1)
    for name, (kind, text) in OPTIONS.items():
        option = name.replace("_", "-")
        if option not in taken:
            how = Parameter(name=f"--{option}", help=text, group=group, negative="", show_default=False)
            default = False if kind is bool else None
            yield inspect.Parameter(
                _PREFIX + name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, how]
            )


def _mentions_struct(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return True
    return any(_mentions_struct(part) for part in typing.get_args(annotation))


def _is_nested(annotation: Any) -> bool:
    """Is it a list, or the like, of lists, tuples, sets or dicts? Cyclopts gives an empty one, whatever was typed."""
    return any(
        typing.get_origin(one) in _CONTAINERS
        and any((typing.get_origin(part) or part) in (*_CONTAINERS, dict) for part in typing.get_args(one))
        for one in _alternatives(annotation)
    )


_CONTAINERS = (list, tuple, set, frozenset)


def _container_of_texts(annotation: Any) -> Any:
    """What holds the texts, of a parameter that takes any number of them: Cyclopts makes one of a JSON list."""
    kinds = [one for one in _alternatives(annotation) if one is not type(None)]
    if len(kinds) != 1 or typing.get_args(kinds[0]) not in ((str,), (str, ...)):
        return None
    origin = typing.get_origin(kinds[0])
    return origin if origin in _CONTAINERS else list if origin is Sequence else None


def _texts(container: Any, kind: Any, tokens: Sequence[Token]) -> Any:
    """One each; what is a JSON list of texts is several."""
    found: list[str] = []
    for token in tokens:
        try:
            found += msgspec.json.decode(token.value, type=list[str])
        except msgspec.MsgspecError:
            found.append(token.value)
    return container(found)


def _from_json(kind: Any, tokens: Sequence[Token]) -> Any:
    """A msgspec Struct and a list of lists or dicts are given as JSON: Cyclopts does not look into them."""
    return msgspec.json.decode(tokens[0].value, type=kind)
