"""From a `Fault` to an exception that behaves as the recorded one did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import msgspec

from perdure.core.exceptions import attached, class_contents, http_objects, rebuild, recorded_objects, validation_errors
from perdure.core.exceptions import http_responses as responses
from perdure.core.exceptions.exits import is_exit
from perdure.core.exceptions.fault import VALUES, Fault


class Lost:
    """Stands in for an argument that could not be stored: prints as the argument did."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text

    def __eq__(self, other: object) -> bool:
        return other._text == self._text if isinstance(other, Lost) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._text)


def restored(fault: Fault, main: str) -> Exception:
    """See `capture.restore`."""
    return _Restorer(main).restored(fault)


class _Restorer:
    """One failure and what hangs on it; the classes of that are looked for once."""

    def __init__(self, main: str) -> None:
        self._main = main
        self._loaded: dict[rebuild.Label, type[Exception] | None] = {}

    def restored(self, fault: Fault) -> Exception:
        chain = {"__cause__": fault.cause, "__context__": fault.context}
        others = {name: self.restored(chained) for name, chained in chain.items() if chained is not None}
        labels = ((fault.module, fault.qualname), *fault.bases)
        known = [cls for label in labels if (cls := self._class(label)) and _fits(cls, fault)]
        exc = _instance(fault, known, self._parts(fault, known, others), self._main)
        http_objects.complete(exc)
        for name, other in others.items():
            rebuild.put(BaseException, name, exc, other)
        rebuild.put(BaseException, "__suppress_context__", exc, fault.suppressed)
        return exc

    def _class(self, label: rebuild.Label) -> type[Exception] | None:
        if label not in self._loaded:
            self._loaded[label] = rebuild.loaded(label, self._main)
        return self._loaded[label]

    def _parts(self, fault: Fault, known: list[type[Exception]], chained: dict[str, Exception]) -> rebuild.Parts:
        errors = {name: self.restored(each) for name, each in fault.errors.items()}
        others = chained | errors
        errors |= {name: others[other] for name, other in fault.same.items() if other in others}
        unpack = attached.Reader(known, self._main).unpack
        parts = rebuild.Parts(
            message=fault.message,
            args=tuple(
                unpack(data) if data else errors.get(f"args[{place}]", Lost(fault.reprs.get(place, "")))
                for place, data in enumerate(fault.args)
            ),
            attributes={name: unpack(data) for name, data in fault.attributes.items()}
            | {name: responses.RecordedResponse(_content(unpack, data)) for name, data in fault.responses.items()}
            | {name: recorded_objects.restore(_content(unpack, data), unpack) for name, data in fault.objects.items()}
            | {name: error for name, error in errors.items() if not name.startswith("args[")},
            slots={name: unpack(data) for name, data in fault.slots.items()},
            members=[self.restored(each) for each in fault.members],
            notes=fault.notes,
        )
        loaded = bool(known) and rebuild.is_labelled(known[0], (fault.module, fault.qualname), self._main)
        if not loaded or fault.lost or _has_stand_ins(parts.attributes):
            parts.of_classes = _of_classes(fault, parts.attributes, unpack, loaded)
        return parts


def _has_stand_ins(attributes: dict[str, Any]) -> bool:
    return any(
        type(each) in (recorded_objects.RecordedObject, responses.RecordedResponse) for each in attributes.values()
    )


def _of_classes(
    fault: Fault, attributes: dict[str, Any], unpack: Callable[[bytes], Any], loaded: bool
) -> dict[str, Any]:
    """What a class made for this one exception has to hold.

    If its own class is `loaded`, it has its attributes from there, and what failed with what was lost is given.
    """
    given = {} if loaded else {name: unpack(data) for name, data in fault.class_attributes.items()}
    given |= {name: unpack(data) for name, data in fault.properties.items()}
    given |= {name: attributes[held] for name, held in fault.aliases.items() if held in attributes}
    given |= {name: class_contents.Answer(name, unpack(data)) for name, data in fault.answers.items()}
    return {name: value for name, value in given.items() if class_contents.is_name(name)}


_ROOT = rebuild.label(BaseException)


def _is_exit(fault: Fault) -> bool:
    return _ROOT in fault.bases


def _fits(cls: type[BaseException], fault: Fault) -> bool:
    """What a file says to be an error is restored as one: it does not interrupt or stop what restores it."""
    if not _is_exit(fault):
        return issubclass(cls, Exception)
    return is_exit(cls)


def _content(unpack: Callable[[bytes], Any], data: bytes) -> dict[str, Any]:
    """What was kept of a response; nothing where damaged data hold something else."""
    content = unpack(data)
    return {name: value for name, value in content.items() if type(name) is str} if type(content) is dict else {}


def _instance(fault: Fault, known: list[type[Exception]], parts: rebuild.Parts, main: str) -> Exception:
    label = (fault.module, fault.qualname)
    if fault.validation and (validation := _validation(fault, known)) is not None:
        return validation
    if known and rebuild.is_labelled(known[0], label, main):
        known[1:1] = rebuild.twins(known[0])
    made: Exception | None = None
    chosen: list[type[Exception]] = []
    for cls in known:
        if any(cls in one.__mro__ for one in chosen):
            continue
        # Where the class itself is not loaded, or makes its instances in its own way, what is raised stands below all
        # of its bases that are: each `except` that would have caught it catches this.
        exc = _built(fault, parts, main, [*chosen, cls])
        if exc is not None:
            made = exc
            chosen.append(cls)
    return made if made is not None else _bare(label, fault, parts)


def _built(fault: Fault, parts: rebuild.Parts, main: str, classes: list[type[Exception]]) -> Exception | None:
    """The exception as an instance of one class, or of a class below several; None if there can be none."""
    label = (fault.module, fault.qualname)
    exc: Exception | None = None
    same, refused = False, dict[str, Any]()
    if len(classes) == 1:
        try:
            exc, refused = rebuild.build(classes[0], parts)
        except (TypeError, ValueError):
            return None
        same = rebuild.message(exc) == fault.message
        if (
            same
            and not fault.lost
            and not refused
            and not parts.of_classes
            and rebuild.is_labelled(classes[0], label, main)
        ):
            return exc
    try:
        fixed = parts.of_classes | refused
        made = rebuild.derive(classes, label, None if same else fault.message, fault.lost, fixed)
        return rebuild.build(made, parts)[0]
    except (TypeError, ValueError):
        # It cannot be subclassed. The right class is worth more than the right message.
        return exc


def _validation(fault: Fault, known: list[type[Exception]]) -> Exception | None:
    try:
        exc = validation_errors.restore(VALUES.unpack(fault.validation), VALUES.unpack, Lost, known)
    except (LookupError, TypeError, ValueError):  # damaged data
        return None
    if exc is not None:
        for line in fault.notes:
            exc.add_note(line)
    return exc


def _bare(label: rebuild.Label, fault: Fault, parts: rebuild.Parts) -> Exception:
    """The last resort, for a fault that names no base that fits."""
    root = cast("type[Exception]", BaseException) if _is_exit(fault) else Exception
    made = rebuild.derive([root], label, fault.message, fault.lost, parts.of_classes)
    return rebuild.build(made, msgspec.structs.replace(parts, slots={}))[0]
