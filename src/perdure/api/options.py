"""Checks of the options that decorators and classes take, so that a mistake is an error when the script is loaded."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from perdure.core.callables import is_coroutine_function, signature_of, unwrap
from perdure.core.execution.spec import OWN_LOCK, IfLocked, InputKept, Spec
from perdure.core.records import RESERVED
from perdure.engines.interface import OnFailure
from perdure.errors import OptionError, UsageError

if TYPE_CHECKING:
    from types import FrameType

    from perdure.core.policies.failure_rules import Rules as FailureRules

_OF_FUNCTIONS = 0x01
"""The flag of code that modules and bodies of classes do not have (CO_OPTIMIZED; `inspect` is heavy)."""
_COMPREHENSIONS = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"})


def function_name(fn: Callable[..., Any]) -> str:
    """The qualified name of a function, without the prefix that functions defined in functions have."""
    name = getattr(fn, "__qualname__", None) or getattr(fn, "__name__", None)
    if name is None:
        partial = getattr(fn, "func", None)
        name = function_name(partial) if partial is not None else type(fn).__qualname__
    return str(name).rpartition("<locals>.")[2]


def surroundings(fn: Callable[..., Any]) -> dict[str, Any]:
    """The local names around a function that is defined inside another: its annotations may use them."""
    if "<locals>" not in getattr(fn, "__qualname__", ""):
        return {}
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("perdure."):
        frame = frame.f_back
    return dict(frame.f_locals)


def is_made_in_function() -> bool:
    """Is the code of the user's that calls perdure a function, and no module or class as it is executed?"""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (
        frame.f_globals.get("__name__", "").startswith("perdure.") or frame.f_code.co_name in _COMPREHENSIONS
    ):
        frame = frame.f_back
    return frame is not None and bool(frame.f_code.co_flags & _OF_FUNCTIONS)


def unknown_option(decorator: str, name: str, known: tuple[str, ...]) -> OptionError:
    """The error for an option that does not exist, with the option that was probably meant."""
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    meant = f"did you mean {close[0]!r}? Otherwise " if close else ""
    return OptionError(f"@{decorator} has no option {name!r}", f"{meant}give one of its options: {', '.join(known)}")


def checked_name(name: object, option: str) -> str:
    """A name that the state file has for something, checked.

    Raises:
        OptionError: it is not printable text.
    """
    if not isinstance(name, str) or not name or not name.isprintable():
        raise OptionError(f"the name of a {option} is {name!r}", "give a printable text that is not empty")
    refuse_dash(f"the name of a {option}", name)
    return name


def refuse_dash(what: str, name: str) -> None:
    """Keep out what no command could be told: it would be taken for an option.

    Raises:
        OptionError: it begins with a dash.
    """
    if name.startswith("-"):
        raise OptionError(
            f"{what} is {name!r}, which a command takes for one of its options", "let it begin with something else"
        )


def checked_lock(name: Any, hint: str = "give a printable text that is not empty") -> str:
    """The name of a lock, checked.

    Raises:
        OptionError: it is not printable text.
    """
    if not isinstance(name, str) or not name or not name.isprintable():
        raise OptionError(f"lock is {name!r}", hint)
    return name


def checked_event(name: object) -> str:
    """The name of an event, as signals and waits have it, checked.

    Raises:
        OptionError: it is not printable text, or one of perdure's own.
    """
    checked = checked_name(name, "signal")
    if checked.startswith(RESERVED):
        raise OptionError(
            f"the name of a signal is {checked!r}; names that begin with {RESERVED!r} are perdure's own",
            "give it another one",
        )
    return checked


def checked_topic(key: object) -> str:
    """The key of an event, checked; it may be empty.

    Raises:
        OptionError: it is not printable text.
    """
    if not isinstance(key, str) or not key.isprintable():
        raise OptionError(f"the key of a signal is {key!r}", "give a printable text, such as an order's number")
    return key


def checked_signal_id(id: object, option: str = "the id of a signal") -> str | None:
    """The id of a signal, checked.

    Raises:
        OptionError: it is not printable text, or one of perdure's own.
    """
    if id is None:
        return None
    if not isinstance(id, str) or not id or not id.isprintable() or id.startswith(RESERVED):
        raise OptionError(
            f"{option} is {id!r}", f"give a printable text that is not empty, and does not begin with {RESERVED!r}"
        )
    return id


def checked_if_locked(value: Any) -> IfLocked:
    """The option `if_locked`, checked.

    Raises:
        OptionError: it is not "skip", "wait" or "fail".
    """
    if value not in ("skip", "wait", "fail"):
        raise OptionError(f"if_locked is {value!r}", 'give "skip", "wait" or "fail"')
    checked: IfLocked = value
    return checked


def checked_workflow_lock(value: Any) -> str | None:
    """The option `lock` of a workflow, checked.

    Raises:
        OptionError: it is neither True nor False nor printable text.
    """
    if isinstance(value, bool):
        return OWN_LOCK if value else None
    return checked_lock(value, "give True, or the name of a lock that several workflows share")


def checked_once(value: Any) -> bool:
    """The option `once`, checked.

    Raises:
        OptionError: it is neither True nor False.
    """
    if not isinstance(value, bool):
        raise OptionError(f"once is {value!r}", "give True or False")
    return value


def checked_park_after(value: Any) -> int | None:
    """The option `park_after`, checked.

    Raises:
        OptionError: it is not a whole number of 1 or more.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise OptionError(f"park_after is {value!r}", "give a whole number of failures of at least 1, or None")
    checked: int | None = value
    return checked


def checked_fail_on_dead(value: Any) -> int | None:
    """The option `fail_on_dead`, checked: from how many dead letters on; None for any number.

    Raises:
        OptionError: it is neither True nor False nor a whole number of 1 or more.
    """
    if not isinstance(value, int) or (not isinstance(value, bool) and value < 1):
        raise OptionError(f"fail_on_dead is {value!r}", "give True, False, or a number of dead letters from 1")
    return int(value) or None


def checked_alerts(value: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """The option `alert`, checked, so that a mistake in an address is an error now, not when an alert is due.

    Raises:
        OptionError: it is neither an address nor a list of them.
    """
    named = [value] if isinstance(value, str) else value
    if named is not None and not all(isinstance(each, str) for each in named):
        raise OptionError(
            "alert is neither an address nor a list of them", 'give one, such as alert="tgram://TOKEN/CHAT"'
        )
    if named:
        from perdure.alerts.channels import target_address

        target_address.parse(named)
    return None if named is None else tuple(named)


def checked_on_failure(value: Any) -> OnFailure:
    """The option `on_failure`, checked.

    Raises:
        OptionError: it is neither "dead_letter" nor "raise".
    """
    if value not in ("dead_letter", "raise"):
        raise OptionError(f"on_failure is {value!r}", 'give "dead_letter" or "raise"')
    checked: OnFailure = value
    return checked


def checked_ensure(value: Any, owner: str) -> Callable[[Any], object] | None:
    """The option `ensure`, checked.

    Raises:
        OptionError: it is not a function, an async one, or one that does not take one argument.
    """
    if value is not None and (not callable(value) or is_coroutine_function(value)):
        raise OptionError(
            f"ensure of {owner} is {value!r}",
            'give a plain function of the result: ensure=lambda r: r["status"] == "ok"',
        )
    if value is not None and not _takes_one(value):
        raise OptionError(
            f"ensure of {owner} cannot be called with the result alone",
            'give a function of one argument: ensure=lambda r: r["status"] == "ok"',
        )
    checked: Callable[[Any], object] | None = value
    return checked


def _takes_one(function: Callable[..., Any]) -> bool:
    try:
        signature_of(function).bind(None)
    except TypeError:
        return False
    except ValueError:  # a builtin that does not say what it takes
        return True
    return True


def checked_max_repeats(value: Any) -> int | None:
    """The option `max_repeats`, checked.

    Raises:
        OptionError: it is not a whole number of 1 or more.
    """
    if value is not None and (type(value) is not int or value < 1):
        raise OptionError(f"max_repeats is {value!r}", "give a whole number of 1 or more, or None for no bound")
    checked: int | None = value
    return checked


def checked_input(value: Any) -> InputKept:
    """The option `input`, checked.

    Raises:
        OptionError: it is neither "whole" nor "digest".
    """
    if value not in ("whole", "digest"):
        raise OptionError(f"input is {value!r}", 'give "whole" or "digest"')
    checked: InputKept = value
    return checked


def rules_of(file: str) -> FailureRules:
    """The rules by which failures of functions of a source file are classified; read at the first failure."""
    from perdure.catalogue.rules import rules_for

    return rules_for(file)


def say_unlike(text: str) -> None:
    """Say once that a result is not what is declared, and keep it with the run."""
    from perdure.engines.runtime import unsaved

    unsaved.unlike(text)


def source_of(fn: Any) -> str:
    """The file that a function is written in; empty if it has none."""
    return str(getattr(getattr(unwrap(fn), "__code__", None), "co_filename", ""))


def refuse_reserved(kind: str, name: str) -> None:
    """Keep the names of perdure's own steps for those, and out names of runs and queues that no command could be told.

    Raises:
        OptionError: the name begins as they do, or with a dash.
    """
    if kind != "step":  # commands name steps as values of options
        refuse_dash(f"the name of a {kind}", name)
    if name.startswith(RESERVED):
        other = name.removeprefix(RESERVED) or kind
        way = f"Queue({other!r})" if kind == "queue" else f"@{kind}(name={other!r})"
        raise OptionError(
            f"the name of a {kind} is {name!r}; names that begin with {RESERVED!r} are perdure's own",
            f"give it another one: {way}",
        )


def refuse_in_child_process(spec: Spec) -> None:
    """Refuse a call in a process that a workflow has started with multiprocessing.

    Raises:
        UsageError: this is one.
    """
    if "multiprocessing.process" not in sys.modules:
        return
    from perdure.engines.runtime.thread_branches import run_of_parent

    if (run := run_of_parent()) is not None:
        raise UsageError(
            f"{spec.owner} was called in a process that run {run} has started with multiprocessing: nothing can be "
            "saved there",
            "call it in the process of the workflow: map(..., concurrency=) runs many at a time, and isolate=True each "
            "in a process of its own",
        )
