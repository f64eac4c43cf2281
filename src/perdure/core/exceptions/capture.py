"""An exception as data, and back: what is kept of a failure, and the exception that a resumed run raises again.

Credentials are taken out of everything that is kept of it (docs/decisions/0009-secrets.md).

`except SomeError` around a step has to behave on resume as on the first run, so the class has to be the same one. Yet
data must never name code. docs/decisions/0003-exceptions-as-data.md says how both hold: nothing is imported or looked
up in a module, only exception classes that this process has loaded anyway are considered, and none is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from perdure import errors
from perdure.core.exceptions import http_responses as responses
from perdure.core.exceptions import rebuild, recorded_objects, validation_errors
from perdure.core.exceptions.output import notes_of
from perdure.core.values import codec

_LONGEST_TRACEBACK = 20_000
_LONGEST_REPR = 200
_DEEPEST = 8
_MOST = 64
"""Exceptions kept of one failure: its causes, its contexts and the members of its groups, all together."""

_CHAIN = ("__cause__", "__context__", "__suppress_context__")
# Builtins come back as they were; an instance of a class has no annotation here that says what to make of it.
_VALUES = codec.plan(Any, owner="an exception")


class Fault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is kept of an exception.

    Attributes:
        module, qualname: its class, as a label to compare with, never to look up.
        bases: the labels of its base classes, in method resolution order, up to Exception.
        message: what str() gave.
        args: each argument packed; empty where it could not be stored.
        reprs: the repr() of those that could not, by their position.
        attributes: what was in its `__dict__`, packed.
        slots: what Python's own classes keep elsewhere (such as OSError.errno), packed.
        responses: attributes that held an HTTP response: what is kept of it, packed.
        objects: attributes that held another object: what is kept of its attributes, packed.
        errors: attributes that held an exception, such as `orig`; of `args`, by "args[0]".
        same: of those, which are the exception that stands under another name too, such as "__cause__".
        validation: what pydantic's ValidationError is made of, packed.
        lost: the names of attributes that could not be stored.
        notes: what add_note() was given.
        traceback: the formatted traceback, the causes included; for people only.
        cause, context, suppressed: how it came from another exception; `suppressed` is `__suppress_context__`.
        members: the exceptions in an ExceptionGroup.
    """

    module: str
    qualname: str
    bases: list[tuple[str, str]]
    message: str
    args: list[bytes] = []
    reprs: dict[int, str] = {}
    attributes: dict[str, bytes] = {}
    slots: dict[str, bytes] = {}
    responses: dict[str, bytes] = {}
    objects: dict[str, bytes] = {}
    errors: dict[str, Fault] = {}
    same: dict[str, str] = {}
    validation: bytes = b""
    lost: list[str] = []
    notes: list[str] = []
    traceback: str = ""
    cause: Fault | None = None
    context: Fault | None = None
    suppressed: bool = False
    members: list[Fault] = []

    @property
    def line(self) -> str:
        """The class and the first line of the message."""
        first = self.message.partition("\n")[0]
        return f"{self.name}: {first}" if first else self.name

    @property
    def name(self) -> str:
        """The class's own name, without module and enclosing scopes."""
        return self.qualname.rpartition(".")[2]


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


Hide = Callable[[str], str]


def _by_shape() -> Hide:
    from perdure.core.redaction.text import redact  # here, since most runs never fail

    return redact


_hiding: Callable[[], Hide] = _by_shape


def hide_with(source: Callable[[], Hide]) -> None:
    """Set the function that gives the redactor of this process: what takes its secrets out of a text.

    Args:
        source: asked anew for every exception; what it gives takes a text and hides the credentials in it.
    """
    global _hiding
    _hiding = source


def to_fault(exc: Exception) -> Fault:
    """What is kept of `exc`, without the credentials in it. Never raises, however odd the exception."""
    hide = _hiding()
    try:
        return _Recorder(hide).record(exc, 0)
    except Exception:  # noqa: BLE001  an exception that cannot be looked at is still a failure to be kept
        module, qualname = rebuild.label(type(exc))
        message = hide(rebuild.message(exc)[:_LONGEST_TRACEBACK])
        return Fault(module=module, qualname=qualname, bases=[], message=message)


def add_output(exc: Exception) -> None:
    """Add to the notes of an exception what the command or the server that has failed says, redacted and bounded."""
    for line in notes_of(exc, _hiding()):
        if line not in getattr(exc, "__notes__", ()):
            exc.add_note(line)


def encode(fault: Fault) -> bytes:
    """`fault` as bytes."""
    return msgspec.msgpack.encode(fault)


def decode(data: bytes) -> Fault:
    """The fault that `encode` wrote.

    Raises:
        errors.NotDecodable: the bytes are not a fault.
    """
    try:
        return msgspec.msgpack.decode(data, type=Fault)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as failed:
        raise errors.NotDecodable(
            f"a saved exception cannot be read back ({type(failed).__name__}: {failed})",
            "check the state file with `perdure doctor`: it holds damaged data",
        ) from failed


def restore(fault: Fault, *, main: str = "__main__") -> Exception:
    """An exception that behaves as the recorded one did: same class, message, arguments and attributes.

    Where its class is not loaded, it is of a new class with the recorded name, below the nearest base class that is.

    Args:
        fault: the recorded exception.
        main: the name under which the script is imported elsewhere; a class of `__main__` and one of this module are
            taken for the same.

    Raises:
        errors.NotDecodable: a packed value in the fault is damaged.
    """
    chain = {"__cause__": fault.cause, "__context__": fault.context}
    restored = {name: restore(chained, main=main) for name, chained in chain.items() if chained is not None}
    exc = _instance(fault, _parts(fault, main, restored), main)
    for name, other in restored.items():
        rebuild.put(BaseException, name, exc, other)
    rebuild.put(BaseException, "__suppress_context__", exc, fault.suppressed)
    return exc


class _Recorder:
    """One exception and what hangs on it, read without running more of the user's code than str() and repr()."""

    def __init__(self, hide: Hide) -> None:
        from perdure.core.redaction.text import bounded  # here, since most runs never fail

        self._hide: Hide = lambda text: hide(bounded(text))
        self._left = _MOST
        self._seen: set[int] = set()

    def record(self, exc: Exception, depth: int) -> Fault:
        self._left -= 1
        self._seen.add(id(exc))
        lost = list(type(exc)._perdure_lost) if isinstance(exc, rebuild.Restored) else []
        label, *bases = dict.fromkeys(name for each in type(exc).__mro__ for name in rebuild.labels(each))
        contents = object.__getattribute__(exc, "__dict__")
        group = isinstance(exc, ExceptionGroup)
        # A group's args are its message and its members; the members are kept as such.
        args = (rebuild.get(BaseExceptionGroup, "message", exc),) if group else rebuild.get(BaseException, "args", exc)
        packed = [self._bytes(each) for each in args]
        attributes = rebuild.attributes(exc, contents)
        answers = {name: kept for name, value in attributes.items() if (kept := responses.content_of(value))}
        cause, context, suppressed = (rebuild.get(BaseException, name, exc) for name in _CHAIN)
        cause_fault = self._chained(cause, depth)
        context_fault = None if suppressed else self._chained(context, depth)
        places = {id(cause): "__cause__"} if cause_fault else {}
        if context_fault:
            places[id(context)] = "__context__"
        inner_errors, same = self._inner(attributes, args, depth, places)
        plain = {
            name: value
            for name, value in attributes.items()
            if name not in answers and name not in inner_errors and name not in same
        }
        plain_packed = {name: self._bytes(value, name) for name, value in plain.items()}
        objects = {
            name: data
            for name, kept in plain_packed.items()
            if kept is None and (data := self._object(plain[name])) is not None
        }
        lost += [name for name, kept in plain_packed.items() if kept is None and name not in objects]
        return Fault(
            module=label[0],
            qualname=label[1],
            bases=bases,
            message=self._hide(rebuild.message(exc)),
            args=[data or b"" for data in packed],
            reprs={place: self._repr(args[place]) for place, data in enumerate(packed) if data is None},
            attributes={name: data for name, data in plain_packed.items() if data is not None},
            objects=objects,
            errors=inner_errors,
            same=same,
            validation=self._validation(exc),
            responses=self._packed(answers, lost),
            slots=self._packed(rebuild.slots(exc), lost),
            members=self._members(exc, depth, lost) if group else [],
            lost=list(dict.fromkeys(lost)),
            notes=[_cut(self._hide(each), _LONGEST_TRACEBACK) for each in rebuild.notes(contents)],
            cause=cause_fault,
            context=context_fault,
            suppressed=suppressed,
            traceback=self._traceback(exc) if depth == 0 else "",
        )

    def _chained(self, exc: BaseException | None, depth: int) -> Fault | None:
        if not isinstance(exc, Exception) or id(exc) in self._seen or self._left <= 0 or depth >= _DEEPEST:
            return None
        return self.record(exc, depth + 1)

    def _inner(
        self, attributes: dict[str, Any], args: tuple[Any, ...], depth: int, places: dict[int, str]
    ) -> tuple[dict[str, Fault], dict[str, str]]:
        """The exceptions among the attributes and arguments; each is kept once."""
        kept: dict[str, Fault] = {}
        same: dict[str, str] = {}
        for name, one in (*attributes.items(), *((f"args[{place}]", one) for place, one in enumerate(args))):
            if not isinstance(one, Exception):
                continue
            if id(one) in places:
                same[name] = places[id(one)]
            elif (fault := self._chained(one, depth)) is not None:
                kept[name] = fault
                places[id(one)] = name
        return kept, same

    def _members(self, group: Any, depth: int, lost: list[str]) -> list[Fault]:
        every = rebuild.get(BaseExceptionGroup, "exceptions", group)
        kept = [fault for each in every if (fault := self._chained(each, depth)) is not None]
        if len(kept) < len(every):
            lost.append(f"exceptions[{len(kept)}:]")
        return kept

    def _packed(self, values: dict[str, Any], lost: list[str]) -> dict[str, bytes]:
        packed = {name: self._bytes(value, name) for name, value in values.items()}
        lost += [name for name, data in packed.items() if data is None]
        return {name: data for name, data in packed.items() if data is not None}

    def _bytes(self, value: Any, name: str = "") -> bytes | None:
        from perdure.core.redaction.nested import redact_nested  # here, since most runs never fail
        from perdure.core.redaction.text import LONGEST

        try:
            data = _VALUES.pack(value)
            if len(data) > LONGEST:
                return None  # looking through all of it for credentials would take too long
            safe = redact_nested(value, self._hide, name)
            return data if safe is value else _VALUES.pack(safe)
        except Exception:  # noqa: BLE001  whatever the reason, the value is not storable
            return None

    def _object(self, value: Any) -> bytes | None:
        content = recorded_objects.content_of(value, self._plain_bytes)
        return None if content is None else _VALUES.pack(content)

    def _plain_bytes(self, name: str, value: Any) -> bytes | None:
        return self._bytes(value, name)

    def _validation(self, exc: Exception) -> bytes:
        try:
            lines = validation_errors.content_of(exc, self._plain_bytes, self._repr)
            return b"" if lines is None else _VALUES.pack(lines)
        except Exception:  # noqa: BLE001  as above
            return b""

    def _repr(self, value: Any) -> str:
        try:
            return _cut(self._hide(rebuild.text(repr(value))), _LONGEST_REPR)
        except Exception:  # noqa: BLE001  as above
            return f"<{rebuild.label(type(value))[1]}>"

    def _traceback(self, exc: Exception) -> str:
        import traceback  # here, since most runs never fail

        try:
            text = rebuild.text("".join(traceback.format_exception(exc)))
        except Exception:  # noqa: BLE001  as above
            return ""
        # What is looked through for credentials reaches further than what is kept: none is cut in two.
        from perdure.core.redaction.text import bounded

        return bounded(self._hide(text), _LONGEST_TRACEBACK)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def _parts(fault: Fault, main: str, chained: dict[str, Exception]) -> rebuild.Parts:
    errors = {name: restore(each, main=main) for name, each in fault.errors.items()}
    others = chained | errors
    errors |= {name: others[other] for name, other in fault.same.items() if other in others}
    return rebuild.Parts(
        message=fault.message,
        args=tuple(
            _VALUES.unpack(data) if data else errors.get(f"args[{place}]", Lost(fault.reprs.get(place, "")))
            for place, data in enumerate(fault.args)
        ),
        attributes={name: _VALUES.unpack(data) for name, data in fault.attributes.items()}
        | {name: responses.RecordedResponse(_content(data)) for name, data in fault.responses.items()}
        | {name: recorded_objects.restore(_content(data), _VALUES.unpack) for name, data in fault.objects.items()}
        | {name: error for name, error in errors.items() if not name.startswith("args[")},
        slots={name: _VALUES.unpack(data) for name, data in fault.slots.items()},
        members=[restore(each, main=main) for each in fault.members],
        notes=fault.notes,
    )


def _content(data: bytes) -> dict[str, Any]:
    """What was kept of a response; nothing where damaged data hold something else."""
    content = _VALUES.unpack(data)
    return {name: value for name, value in content.items() if type(name) is str} if type(content) is dict else {}


def _instance(fault: Fault, parts: rebuild.Parts, main: str) -> Exception:
    label = (fault.module, fault.qualname)
    known = [cls for each in (label, *fault.bases) if (cls := rebuild.loaded(each, main)) is not None]
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
        if same and not fault.lost and not refused and rebuild.is_labelled(classes[0], label, main):
            return exc
    try:
        made = rebuild.derive(classes, label, None if same else fault.message, fault.lost, refused)
        return rebuild.build(made, parts)[0]
    except (TypeError, ValueError):
        # It cannot be subclassed. The right class is worth more than the right message.
        return exc


def _validation(fault: Fault, known: list[type[Exception]]) -> Exception | None:
    try:
        exc = validation_errors.restore(_VALUES.unpack(fault.validation), _VALUES.unpack, Lost, known)
    except (LookupError, TypeError, ValueError):  # damaged data
        return None
    if exc is not None:
        for line in fault.notes:
            exc.add_note(line)
    return exc


def _bare(label: rebuild.Label, fault: Fault, parts: rebuild.Parts) -> Exception:
    """The last resort, for a fault that names no base that fits."""
    made = rebuild.derive([Exception], label, fault.message, fault.lost)
    return rebuild.build(made, msgspec.structs.replace(parts, slots={}))[0]
