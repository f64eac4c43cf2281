"""From an exception to its `Fault`: what hangs on it is read, and credentials are taken out of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import structs

from perdure.core.exceptions import attached, class_contents, http_objects, rebuild, validation_errors
from perdure.core.exceptions.attached import LONGEST
from perdure.core.exceptions.attempt_notes import cut
from perdure.core.exceptions.fault import VALUES, Fault

Hide = Callable[[str], str]
"""Takes a text, and hides the credentials in it."""

MOST_TEXT = 1_000_000
"""Characters of a failure that later lives are given, of texts and values above 100,000: looking through them for
credentials takes up to two seconds."""

_LONGEST_TRACEBACK = 20_000
_LONGEST_REPR = 200
_DEEPEST = 32
_MOST = 64
"""Causes and contexts kept of one failure, of its members too."""
_MOST_WHOLE = 10_000
"""Members of groups of which all is kept; of further ones class and message are, so that each `except*` finds them."""
_LONGEST_MESSAGE = 1_000
_MOST_OF_CLASSES = 60
_LONGEST_OF_CLASSES = 20_000
"""Names, and bytes, kept of what lies in the classes of one exception."""

_CHAIN = ("__cause__", "__context__", "__suppress_context__")


def record(exc: Exception, hide: Hide, most: int = 0) -> Fault:
    """What is kept of `exc`. Never raises, however odd the exception.

    Args:
        exc: the exception.
        hide: takes the credentials out of a text.
        most: characters that are kept in texts and values of more than 100,000. Of those for which that does not do,
            the middle is left out, or they are lost.
    """
    try:
        recorder = _Recorder(hide, most)
        fault = recorder.record(exc, 0)
        return structs.replace(fault, shortened=True) if recorder.shortened else fault
    except Exception:  # noqa: BLE001  an exception that cannot be looked at is still a failure to be kept
        module, qualname = rebuild.label(type(exc))
        message = hide(rebuild.message(exc)[:_LONGEST_TRACEBACK])
        return Fault(module=module, qualname=qualname, bases=[], message=message)


class _Recorder:
    """One exception and what hangs on it, read without running more of the user's code than str() and repr()."""

    def __init__(self, hide: Hide, room: int) -> None:
        self._look = hide
        self._room = room
        self._looked: dict[str, str] = {}
        self.shortened = False
        self._left = _MOST
        self._whole = _MOST_WHOLE
        self._seen: set[int] = set()

    def _hide(self, text: str) -> str:
        if len(text) <= LONGEST:
            return self._look(text)
        known = self._looked.get(text)  # the message is an argument too, as a rule
        if known is None:
            if len(text) <= self._room:
                self._room -= len(text)
                known = self._look(text)
            else:
                self.shortened = True
                known = self._brief(text)
            self._looked[text] = known
        return known

    def _brief(self, text: str) -> str:
        from perdure.core.redaction.text import bounded

        return self._look(bounded(text))

    def record(self, exc: Exception, depth: int) -> Fault:
        self._seen.add(id(exc))
        lost = list(type(exc)._perdure_lost) if isinstance(exc, rebuild.Restored) else []
        label, *bases = _labels(exc)
        contents = object.__getattribute__(exc, "__dict__")
        group = isinstance(exc, ExceptionGroup)
        # A group's args are its message and its members; the members are kept as such.
        args = (rebuild.get(BaseExceptionGroup, "message", exc),) if group else rebuild.get(BaseException, "args", exc)
        packed = [self._bytes(each) for each in args]
        attributes = http_objects.without_wrapper(exc, rebuild.attributes(exc, contents))
        cause, context, suppressed = (rebuild.get(BaseException, name, exc) for name in _CHAIN)
        cause_fault = self._chained(cause, depth)
        context_fault = None if suppressed else self._chained(context, depth)
        places = {id(cause): "__cause__"} if cause_fault else {}
        if context_fault:
            places[id(context)] = "__context__"
        inner_errors, same = self._inner(attributes, args, depth, places)
        plain = {name: value for name, value in attributes.items() if name not in inner_errors and name not in same}
        kept_attributes = self._packed(plain, lost, objects=True)
        of_classes = self._of_classes(exc, attributes, {*kept_attributes, *inner_errors, *same})
        return Fault(
            module=label[0],
            qualname=label[1],
            bases=bases,
            message=self._hide(rebuild.message(exc)),
            args=[data or b"" for data in packed],
            reprs={place: self._repr(args[place]) for place, data in enumerate(packed) if data is None},
            attributes=kept_attributes,
            errors=inner_errors,
            same=same,
            validation=self._validation(exc),
            **of_classes,
            slots=self._packed(rebuild.slots(exc), lost),
            members=self._members(exc, depth) if group else [],
            lost=list(dict.fromkeys(lost)),
            notes=[self._hide(each) for each in rebuild.notes(contents)],
            cause=cause_fault,
            context=context_fault,
            suppressed=suppressed,
            traceback=self._traceback(exc) if depth == 0 else "",
        )

    def _chained(self, exc: BaseException | None, depth: int) -> Fault | None:
        if not isinstance(exc, Exception) or id(exc) in self._seen or self._left <= 0 or depth >= _DEEPEST:
            return None
        self._left -= 1
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

    def _members(self, group: Any, depth: int) -> list[Fault]:
        return [self._member(each, depth) for each in rebuild.get(BaseExceptionGroup, "exceptions", group)]

    def _member(self, exc: Exception, depth: int) -> Fault:
        self._whole -= 1
        if self._whole >= 0 and depth < _DEEPEST and id(exc) not in self._seen:
            return self.record(exc, depth + 1)
        label, *bases = _labels(exc)
        message = cut(self._hide(rebuild.message(exc)[:_LONGEST_MESSAGE]), _LONGEST_MESSAGE)
        return Fault(module=label[0], qualname=label[1], bases=bases, message=message, args=[VALUES.pack(message)])

    def _packed(self, values: dict[str, Any], lost: list[str], objects: bool = False) -> dict[str, bytes]:
        packed = {name: self._bytes(value, name, objects) for name, value in values.items()}
        lost += [name for name, data in packed.items() if data is None]
        return {name: data for name, data in packed.items() if data is not None}

    def _bytes(self, value: Any, name: str = "", objects: bool = False) -> bytes | None:
        return self._counted(value, lambda most: attached.pack(value, self._hide, name, objects=objects, longest=most))

    def _plain_bytes(self, name: str, value: Any) -> bytes | None:
        return self._counted(value, lambda most: attached.pack_builtins(value, self._hide, name, most))

    def _counted(self, value: Any, pack: Callable[[int], bytes]) -> bytes | None:
        try:
            data = pack(max(self._room, LONGEST))
        except attached.TooLong:
            self.shortened = True
            return None
        except Exception:  # noqa: BLE001  whatever the reason, the value is not storable
            return None
        if len(data) > LONGEST and type(value) is not str:
            self._room = max(self._room - len(data), 0)
        return data

    def _of_classes(self, exc: Exception, attributes: dict[str, Any], kept: set[str]) -> dict[str, Any]:
        """What of it lies in its classes, as the arguments of a `Fault`."""
        try:
            found = class_contents.read(exc, attributes)
        except Exception:  # noqa: BLE001  of classes that are so odd, nothing is kept
            return {}
        holders = {id(attributes[name]): name for name in attributes if name in kept}
        aliases = {name: holders[id(value)] for name, value in found.properties.items() if id(value) in holders}
        packed: dict[str, Any] = {"aliases": aliases}
        left, room = _MOST_OF_CLASSES, _LONGEST_OF_CLASSES
        of_instance = {name: value for name, value in found.properties.items() if name not in aliases}
        for what, values in (
            ("answers", found.answers),
            ("properties", of_instance),
            ("class_attributes", found.attributes),
        ):
            packed[what] = {}
            for name, value in values.items():
                data = self._short(value, name, objects=what == "properties")
                if data is not None and len(data) <= room and left > 0:
                    packed[what][name] = data
                    left, room = left - 1, room - len(data)
        return packed

    def _short(self, value: Any, name: str, objects: bool) -> bytes | None:
        if type(value) is str and len(value) > _LONGEST_OF_CLASSES:
            return None
        try:
            return attached.pack(value, self._hide, name, objects=objects, longest=_LONGEST_OF_CLASSES)
        except Exception:  # noqa: BLE001  as above
            return None

    def _validation(self, exc: Exception) -> bytes:
        try:
            lines = validation_errors.content_of(exc, self._plain_bytes, self._repr)
            return b"" if lines is None else VALUES.pack(lines)
        except Exception:  # noqa: BLE001  as above
            return b""

    def _repr(self, value: Any) -> str:
        try:
            return cut(self._brief(rebuild.text(repr(value))), _LONGEST_REPR)
        except Exception:  # noqa: BLE001  as above
            return f"<{rebuild.label(type(value))[1]}>"

    def _traceback(self, exc: Exception) -> str:
        import traceback

        try:
            text = rebuild.text("".join(traceback.format_exception(exc)))
        except Exception:  # noqa: BLE001  as above
            return ""
        # What is looked through for credentials reaches further than what is kept: none is cut in two.
        from perdure.core.redaction.text import bounded

        return bounded(self._brief(text), _LONGEST_TRACEBACK)


def _labels(exc: Exception) -> list[rebuild.Label]:
    """The labels of its class and of the bases of that, each once."""
    root = Exception if isinstance(exc, Exception) else BaseException
    return list(dict.fromkeys(name for each in type(exc).__mro__ for name in rebuild.labels(each, root)))
