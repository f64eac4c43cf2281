"""How `perdure show` looks."""

from __future__ import annotations

from shlex import quote

from perdure.cli.view.ps_table import STYLES, run_status, show_runs
from perdure.cli.view.terminal import Printer, date, one_line
from perdure.core.durations import show
from perdure.core.exceptions.output import SAID
from perdure.core.sizes import show_size
from perdure.operations.maps import MapView
from perdure.operations.processes import CallInFlight, ProcessView, Suspect, WaitingCall
from perdure.operations.sessions import SessionView
from perdure.operations.show import ProgressView, RunDetails, SentView
from perdure.operations.step_groups import StepGroup
from perdure.operations.step_views import AttemptView, ErrorView, StepView

IN_FLIGHT = 10
"""Attempts in flight that are shown."""


def show_run(details: RunDetails, printer: Printer | None = None, *, verbose: bool) -> None:
    """Everything about one run; a step with many calls is one line, and those that were not done."""
    printer = printer or Printer()
    _header(printer, details)
    _error(printer, details.error, verbose=verbose)
    if details.verdict is not None:
        printer.line(one_line(f"{'kind':<9} {details.verdict}"))
    _process(printer, details.process, details.run.id)
    if details.kept is not None:
        printer.wrapped(f"{'kept':<9} ", details.kept, "yellow")
    if details.unknown is not None:
        printer.wrapped(f"{'unknown':<9} ", details.unknown, "yellow")
    for suspect in details.suspects:
        printer.line(f"{'crashes':<9} {suspect_line(suspect)}", "yellow")
    for note in details.notes:
        printer.line(f"{'noted' if note in details.remarks else 'unsaved':<9} {note}", "yellow")
    if details.progress is not None:
        printer.line(f"{'progress':<9} {progress_line(details.progress)}")
    for name, value in details.published.items():
        printer.line(one_line(f"{'published':<9} {name} = {value}"))
    for sent in details.signals:
        printer.line(f"{'signal':<9} {_signal_line(sent)}", "yellow")
    printer.line()
    if details.earlier:
        printer.line(f"  {details.earlier} earlier steps are left out; --limit 0 shows all", "dim")
    folded = [one for one in details.groups if one.step in details.folded]
    width = max(
        (len(str(one)) for one in (*(s.seq for s in details.steps[-1:]), *(g.first for g in folded))), default=0
    )
    width += bool(width)
    for step in details.steps:
        while folded and folded[0].first <= step.seq:
            _group(printer, folded.pop(0), width, details)
        _step(printer, step, width, verbose=verbose)
    for group in folded:
        _group(printer, group, width, details)
    for one in details.open:
        printer.line(f"  {'-'.rjust(width)}  {one.name}{one.inputs}  not completed", "yellow")
        _failures(printer, one.failures, width, verbose=verbose)
    if not details.steps and not details.open and not details.folded:
        printer.line("  no step is saved yet", "dim")
    if details.children:
        printer.line()
        printer.line("child runs", "bold")
        show_runs(details.children, printer)
        if details.earlier_children:
            printer.line(f"and {details.earlier_children:,} before them: perdure ps --all", "dim")


def _header(printer: Printer, details: RunDetails) -> None:
    view = details.run
    took = f", {show(view.seconds)}" if view.seconds is not None else ""
    facts = {
        "run": view.id,
        "workflow": f"{view.workflow}{details.inputs}",
        "script": view.script,
        "arguments": details.command_line,
        "given in": details.folder,
        "status": f"{run_status(view)}{took}",
        "cancel" if view.status == "interrupted" else "waits": view.waits,
        "created": date(view.created),
        "resumed": date(view.started) if view.started != view.created else None,
        "ended": date(view.ended) if view.ended else None,
        "child of": details.parent,
        "fork of": view.forked_from,
        "forked to": view.superseded_by,
        "result": details.result,
        "damaged": f"{', '.join(details.damaged)}: see perdure doctor" if details.damaged else None,
    }
    for name, fact in facts.items():
        if fact is not None:
            printer.wrapped(f"{name:<9} ", str(fact), STYLES[view.status] if name == "status" else "")
    if len(details.sessions) > 1:
        for session in details.sessions:
            printer.line(f"{'session':<9} {_session_line(session)}", "yellow" if session.outcome == "died" else "")


def _session_line(session: SessionView) -> str:
    """Who executed the run from when to when, in one line."""
    until = "" if session.ended is None else f" to {date(session.ended)}"
    cause = f" ({session.cause})" if session.cause else ""
    memory = f", up to {show_size(session.memory)}" if session.memory else ""
    who = f"pid {session.pid} on {session.host}"
    return one_line(f"{session.number}, {who}, {date(session.began)}{until}: {session.outcome}{cause}{memory}")


def progress_line(progress: ProgressView) -> str:
    """How far a run is, in one line."""
    total = "" if progress.total is None else f" of {progress.total:,}"
    note = f", {progress.note}" if progress.note else ""
    at = f" ({date(progress.at)})" if progress.at else ""
    left = f", about {show(round(progress.left))} left" if progress.left else ""
    return one_line(f"{progress.done:,}{total}{left}{note}{at}")


def _signal_line(sent: SentView) -> str:
    key = f" [{sent.key}]" if sent.key else ""
    when = f", sent {date(sent.sent)}" if sent.sent else ""
    why = f"set aside: {sent.aside}" if sent.aside is not None else "no wait has taken it"
    return one_line(f"{sent.event}{key} {sent.value}{when}; {why}")


def _error(printer: Printer, error: ErrorView | None, *, verbose: bool) -> None:
    if error is None:
        return
    printer.wrapped(f"{'error':<9} ", _error_line(error), "red")
    for note in error.notes:
        printer.line(_indented(note, 10))
    if verbose and error.traceback:
        printer.line()
        printer.line(_indented(error.traceback.rstrip(), 2))


def _process(printer: Printer, process: ProcessView | None, run: str) -> None:
    if process is None:
        return
    style = "cyan" if process.alive else "yellow"
    if not process.alive:
        when = f", {date(process.ended)}" if process.ended else ""
        printer.line(f"{'died':<9} {process.how} (pid {process.pid}{when})", style)
    for one in process.in_flight[:IN_FLIGHT]:
        printer.line(f"{'in flight':<9} {in_flight_line(one, run)}", style)
    more = len(process.in_flight[IN_FLIGHT:]) + process.more
    if more:
        printer.line(f"{'':<9} and {more:,} more", style)
    for held in process.waiting[:IN_FLIGHT]:
        printer.line(f"{'waiting':<9} {waiting_line(held, run)}", style)
    if len(process.waiting) > IN_FLIGHT:
        printer.line(f"{'':<9} and {len(process.waiting) - IN_FLIGHT:,} more wait", style)
    if process.memory:
        printer.line(f"{'memory':<9} up to {show_size(process.memory)}", style)


def in_flight_line(one: CallInFlight, run: str) -> str:
    """An attempt in flight, of that run or of one of its child runs."""
    child = "" if one.run == run else f" of child run {one.run}"
    lasted = f"since {date(one.since)}" if one.seconds is None else f"for {show(round(one.seconds, 1))}"
    far = "" if one.done is None else f", {one.done:,g}{f' of {one.total:,g}' if one.total else ''} {one.note}".rstrip()
    return one_line(f"{one.step}{one.inputs or _label(one.label)}{child}, attempt {one.attempt}, {lasted}{far}")


def waiting_line(one: WaitingCall, run: str) -> str:
    """A call that waits, of that run or of one of its child runs."""
    child = "" if one.run == run else f" of child run {one.run}"
    left = "" if one.seconds is None else f", for {show(round(one.seconds, 1))} yet"
    return one_line(f"{one.step or 'the run itself'}{one.inputs or _label(one.label)}{child} for {one.reason}{left}")


def _label(label: str) -> str:
    return f"({label})" if label else ""


def suspect_line(one: Suspect) -> str:
    """A call that crashes speak against."""
    times = f"{one.crashes} crashes in a row" if one.crashes > 1 else "the last crash"
    later = f"at {one.limit}" if one.crashes < one.limit else "at more, since other runs were executed beside it,"
    verdict = "is not tried again" if one.given_up else f"{later} it is not tried again"
    return one_line(f"{one.step}{one.inputs} was in flight at {times} ({one.cause}); {verdict}")


def _group(printer: Printer, group: StepGroup, width: int, details: RunDetails) -> None:
    """A step with many calls, and below it the maps that made them."""
    came_to = {"done": group.done, "dead letters": group.dead, "failed": group.failed, "given up": group.abandoned}
    counts = [f"{number:,} {words}" for words, number in came_to.items() if number]
    counts += [f"{group.again:,} tried again"] * bool(group.again)
    over = None if group.started is None or group.ended is None else (group.ended - group.started).total_seconds()
    took = "" if over is None else f" in {show(over)}"
    first = f"  {f'#{group.first}'.rjust(width)}  "
    each = f"perdure show {quote(details.run.id)} --step {quote(group.step)}"
    text = f"{group.step} x {group.calls:,}{took}: {', '.join(counts)}; each: {each}"
    printer.wrapped(first, text, "bold" if group.calls == group.done else "yellow")
    for one in details.maps:
        if one.step == group.step:
            printer.wrapped(" " * (width + 6), map_line(one), "dim")


def map_line(one: MapView) -> str:
    """A map: how many of its items have ended, how many go at a time, and how long it took or has been under way."""
    ended = sum(one.counts.values())
    words = {"done": "done", "dead": "dead letters", "failed": "failed", "abandoned": "given up"}
    counts = [f"{one.counts[status]:,} {name}" for status, name in words.items() if one.counts.get(status)]
    of = "" if one.total is None or one.total == ended else f" of {one.total:,}"
    at_once = "" if one.concurrency is None else f", {one.concurrency:,} at a time"
    took = "not over"
    if one.began is not None and one.ended is not None:
        took = f"in {show((one.ended - one.began).total_seconds())}"
    return one_line(f"map {one.number}: {ended:,}{of} items{at_once}, {took}: {', '.join(counts) or 'none has ended'}")


def _step(printer: Printer, step: StepView, width: int, *, verbose: bool) -> None:
    resolved = step.standing == "resolved"
    given_up = step.status == "abandoned"
    outcome = f"-> {step.result}" if step.error is None or resolved else f"!! {_error_line(step.error)}"
    outcome = "" if given_up else outcome
    state = {"done": "", "failed": "failed  ", "dead": "dead letter  ", "abandoned": "given up"}[step.status]
    if step.behind:
        state = f"of the source, made again  {state}"
    if step.letter is not None:
        state = f"dead letter {step.letter}, {'resolved by redrive' if resolved else step.standing}  "
    if step.undone:
        state = f"{state.rstrip()}, undone  "
    took = "" if given_up else _took(step.seconds)
    tries = f", {step.attempts} attempts" if step.attempts > 1 else ""
    text = f"  {f'#{step.seq}'.rjust(width)}  {step.name}{step.inputs}  {state}{took}{tries}  {outcome}"
    printer.wrapped("", text, "" if step.status == "done" or resolved else "yellow", width + 4)
    _failures(printer, step.failures, width, verbose=verbose)


def _failures(printer: Printer, failures: list[AttemptView], width: int, *, verbose: bool) -> None:
    indent = " " * (width + 6)
    for one in failures:
        kind = f"  [{one.verdict.named}]" if one.verdict.rule else ""
        text = f"{indent}attempt {one.number} failed after {_took(one.seconds)}: {_error_line(one.error)}{kind}"
        printer.wrapped("", text, "dim", width + 8)
        for note in one.error.notes:
            if note.startswith(SAID):
                printer.line(_indented(one_line(note), width + 8), "dim")
        if verbose and one.error.traceback:
            printer.line(_indented(one.error.traceback.rstrip(), width + 8))


def _took(seconds: float) -> str:
    return show(seconds) if seconds else "<1 ms"


def _error_line(error: ErrorView) -> str:
    first = error.message.partition("\n")[0]
    return one_line(f"{error.type}: {first}" if first else error.type)


def _indented(text: str, by: int) -> str:
    return "\n".join(" " * by + line for line in text.splitlines())
