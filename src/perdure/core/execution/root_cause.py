"""Which failures of steps end a run: those that its error is one of, was raised from, or holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from perdure.core.execution.failures import Failure


class RootCause(msgspec.Struct, frozen=True):
    """The failures that end a run, and what they take back.

    `records`: the numbers of their records. `replayed`: one of them came from the history. `aftermath`: first and last
    number of the records made since the failure. They were made because of it (or beside it), so the script need not
    come to them again when it goes well. `verdict` is what is known of the failure if it is what
    ends the run, packed.
    """

    records: tuple[int, ...]
    replayed: bool
    aftermath: tuple[int, int] | None
    verdict: bytes | None = None


def root_cause(
    error: BaseException,
    failures_of: Callable[[BaseException], Sequence[Failure]],
    of_steps: Sequence[BaseException],
    own: Mapping[int, int],
    is_past: Callable[[Failure, BaseException], bool],
    last: int,
    is_interrupt: Callable[[BaseException], bool],
) -> RootCause:
    """Which failures end the run, given that `error` does.

    One that was replayed, and behind which an earlier life had gone on, is history: that an error arose while it
    was handled once more is no reason to try again what it was known to have failed with. Nor is what comes from
    outside, such as Ctrl-C: that an error was being handled then says nothing about it.

    Args:
        error: what has left the function.
        failures_of: says which failures of the run's steps an error was, so far.
        of_steps: what steps without an outcome were left by.
        own: of errors of the workflow's own code, by their ids: the number of the first record made because of it.
        is_past: had an earlier life gone on behind that failure, in whose handler that error arose?
        last: the number of the run's last record.
        is_interrupt: does it come from outside, whatever the program does then?
    """
    of_error = failures_of(error)
    causes, starts = list[Failure](), list[int]()
    seen: set[int] = set()
    rest, before = [error], list[BaseException]()
    meanwhile = dict[int, BaseException]()  # by what was handled: what arose then
    while rest or before:
        is_cause, one = bool(rest), (rest or before).pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        found = failures_of(one)
        if id(one) in meanwhile and any(is_past(failure, meanwhile[id(one)]) for failure in found):
            is_cause = False
        if is_cause:
            causes += found
        if not found and id(one) in own:
            starts.append(own[id(one)])
        # A failed step's own exception says nothing about failures that were handled before it.
        further = is_cause and not found and not any(one is other for other in of_steps)
        stated = (one.__cause__, *getattr(one, "exceptions", ()))
        context = None if is_interrupt(one) else one.__context__
        if context is not None and not any(context is other for other in stated):
            meanwhile[id(context)] = one
        (rest if further else before).extend(other for other in (context, *stated) if other is not None)
    first = min([*starts, *(failure.seq + 1 for failure in causes)], default=0)
    return RootCause(
        tuple(failure.seq for failure in causes),
        any(failure.replayed for failure in causes),
        (first, last) if 0 < first <= last else None,
        next((failure.verdict for failure in causes if failure in of_error), None),
    )
