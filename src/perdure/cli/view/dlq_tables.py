"""How `perdure dlq` looks."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from perdure.cli.exit_codes import DEAD_LETTERS, DONE, FAILED
from perdure.cli.view.terminal import Printer, as_json, count, date, one_line
from perdure.core.exceptions.output import SAID
from perdure.core.redaction.printable import json_text
from perdure.engines.features import Feature
from perdure.errors import PerdureError
from perdure.operations.location import Location

if TYPE_CHECKING:
    from perdure.core.dead_letters import LetterDetails
    from perdure.operations.dead_letters import LetterView, Listing, Texts
    from perdure.operations.letter_pages import LetterReason
    from perdure.operations.redrive import Result

STYLES = {
    "parked": "yellow",
    "re-driven": "cyan",
    "resolved": "green",
    "dropped": "dim",
    "evicted": "dim",
    "superseded": "dim",
    "damaged": "red",
}


def listing(found: Listing, location: Location, status: str) -> None:
    """A table of letters, and what else there is."""
    printer = Printer()
    numbered = location.supports(Feature.LETTER_NUMBERS)
    rows = [
        (
            str(view.letter) if numbered else view.reference,
            "parked, edited" if view.edited and view.status == "parked" else view.status,
            _of_what(view),
            str(view.attempts),
            date(view.parked),
            view.run,
            view.verdict.named if view.verdict is not None else "",
            view.error,
        )
        for view in found.letters
    ]
    if rows:
        headings = ("LETTER", "STATUS", "STEP", "ATTEMPTS", "PARKED", "RUN", "KIND", "ERROR")
        cells, styles = [[_cut(cell) for cell in row] for row in rows], [STYLES[v.status] for v in found.letters]
        if printer.terminal:  # the error has lines of its own there, and is never cut off
            notes = [
                f"{view.error}{f' [{row[6]}]' if row[6] else ''}" for row, view in zip(rows, found.letters, strict=True)
            ]
            printer.table(headings[:6], [row[:6] for row in cells], styles, notes=notes, spare=(3, 4, 1))
        else:
            printer.table(headings, cells, styles)
    else:
        printer.line(f"no dead letter is {status}" + (", of those asked for" if found.totals.get(status) else ""))
    others = {name: number for name, number in sorted(found.totals.items()) if name not in (status, "evicted")}
    shown = len(found.letters)
    in_all = found.totals.get(status, shown)
    if in_all > shown:
        others = {f"{status} in all": in_all} | others
    if others:
        printer.line(", ".join(f"{number:,} {name}" for name, number in others.items()), "dim")
    evicted = found.totals.get("evicted", 0)
    if evicted:
        have = "has" if evicted == 1 else "have"
        printer.line(
            f"{count(evicted, 'older one')} {have} made room for newer ones (see PERDURE_DEAD_LETTERS)", "yellow"
        )


def _of_what(view: LetterView) -> str:
    if view.status == "damaged":
        return "-"
    return f"{view.step}{view.inputs}" if view.step else f"(the run as a whole) {view.workflow}{view.inputs}"


def reasons(found: list[LetterReason]) -> None:
    """A line for each reason, and the error of its newest letter."""
    printer = Printer()
    if not found:
        printer.line("no dead letter is parked")
        return
    rows = [
        (
            f"{one.letters:,}",
            one.reason or "-",
            one.newest.step or one.newest.workflow,
            date(one.last),
            str(one.newest.letter),
        )
        for one in found
    ]
    notes = [one.newest.error for one in found]
    printer.table(("LETTERS", "REASON", "STEP", "LAST", "NEWEST"), rows, notes=notes, spare=(3,))


def _cut(cell: str) -> str:
    return cell if len(cell) <= 60 else f"{cell[:57]}..."


def letter(details: LetterDetails, texts: Texts, keys: Sequence[str], *, verbose: bool, location: Location) -> None:
    """Everything about one letter; `keys` are its call's idempotency keys: as recorded, and as edited."""
    printer = Printer()
    facts = {
        "letter": f"{details.letter}" if location.supports(Feature.LETTER_NUMBERS) else f"{details.run}#{details.seq}",
        "status": details.status + (f", re-driven {count(details.redriven, 'time')}" if details.redriven else ""),
        "step": f"{details.step}{texts.inputs}" if details.step else None,
        "edited": f"{details.step}{texts.edited}" if texts.edited is not None else None,
        "run": f"{details.run}" + (f" (record #{details.seq})" if details.seq else ", as a whole"),
        "workflow": details.workflow if details.step else f"{details.workflow}{texts.inputs}",
        "script": details.script,
        "key": f"{', edited: '.join(keys)} (idempotency key)" if keys else None,
        "first": f"{date(details.first)}   last {date(details.last)}",
        "parked": date(details.parked),
        "changed": date(details.changed) if details.changed != details.parked else None,
        "result": texts.result,
    }
    for name, fact in facts.items():
        if fact is not None:
            printer.line(f"{name:<9} {one_line(fact)}", STYLES.get(details.status, "") if name == "status" else "")
    if details.error:
        printer.line(f"{'error':<9} {one_line(_error(details.error, details.message))}", "red")
    if details.verdict is not None:
        printer.line(one_line(f"{'kind':<9} {details.verdict}"))
    if not details.attempts or details.attempts[-1].error != details.error:  # else the attempt has them
        for note in details.notes:
            printer.line(f"          {one_line(note)}", "dim")
    for one in details.attempts:
        again = " (re-driven)" if one.redrive else ""
        line = f"  {date(one.time)}  attempt {one.number}{again}: {_error(one.error, one.message)}"
        printer.line(one_line(line), "dim")
        for note in one.notes if not verbose else ():
            if note.startswith(SAID):
                printer.line(f"      {one_line(note)}", "dim")
        if verbose:
            for text in (*one.notes, one.traceback.rstrip()):
                printer.line("".join(f"      {part}\n" for part in text.splitlines()).rstrip("\n"))
    if texts.undone:
        given = " with the edited input" if texts.edited is not None else ""
        printer.line(
            f"its call was taken back since; when run {details.run} comes to it again, it is made{given}", "yellow"
        )
    for cut in texts.cut:
        printer.line(one_line(f"  {cut}: whether it was done is not known"), "yellow")
    if details.status == "evicted":
        printer.line("its attempts were dropped when newer letters needed room", "yellow")


def _error(kind: str, message: str) -> str:
    first = message.partition("\n")[0]
    return f"{kind}: {first}" if first else kind


def edited(letter: int, how: str, inputs: dict[str, Any], *, json: bool) -> int:
    """What became of an input; returns the exit code."""
    if json:
        as_json({"letter": letter, "inputs": inputs})
    else:
        Printer().line(f"letter {letter} {how}")
    return DONE


class Report:
    """Prints what came of each letter, and a summary at the end."""

    def __init__(self, location: Location, *, json: bool) -> None:
        self._location = location
        self._json = json
        self._stdout = sys.stdout
        self._results: list[Result] = []

    def add(self, result: Result) -> None:
        """One more."""
        self._results.append(result)
        if self._json:
            return
        printer = Printer(sys.stderr)
        match result.status:
            case "resolved":
                printer.line(f"letter {result.letter} resolved", "green")
            case "failed":
                printer.line(f"letter {result.letter} failed again: {_describe_error(result.error)}", "yellow")
            case "refused":
                printer.line(f"letter {result.letter} was not tried: {_describe_error(result.error)}", "red")
                if isinstance(result.error, PerdureError) and result.error.hint:
                    printer.line(f"  what to do: {result.error.hint}")

    def end(self, follows: dict[int, str]) -> int:
        """The summary, with what has to follow, by letter; and the exit code."""
        by = {status: [one for one in self._results if one.status == status] for status in _OUTCOMES}
        if self._json:
            fields: dict[str, Any] = {status: len(found) for status, found in by.items()}
            fields["letters"] = [
                {
                    "letter": one.letter,
                    "status": one.status,
                    "seen": one.seen,
                    "follows": follows.get(one.letter),
                    "error": one.error and _describe_error(one.error),
                }
                for one in self._results
            ]
            self._stdout.write(json_text(msgspec.json.encode(fields)) + "\n")
        elif not self._results:
            self._stdout.write("no dead letter is parked, of those asked for; nothing was done\n")
        else:
            for line in dict.fromkeys(follows.values()):
                Printer(sys.stderr).line(line, "yellow")
            self._stdout.write(", ".join(f"{len(by[s])} {words}" for s, words in _OUTCOMES.items() if by[s]) + "\n")
        if by["refused"]:
            return FAILED
        return DEAD_LETTERS if by["failed"] else DONE


_OUTCOMES = {"resolved": "resolved", "failed": "failed again", "refused": "not tried"}


def _describe_error(error: Exception | None) -> str:
    from perdure.config.secrets import conceal

    if isinstance(error, PerdureError):
        return one_line(conceal(error.what))
    return one_line(conceal(_error(type(error).__name__, str(error)))) if error is not None else "unknown"
