"""How `perdure dlq` looks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from perdure.cli.exit_codes import DEAD_LETTERS, DONE, FAILED
from perdure.cli.view.terminal import Printer, count, date, one_line, write_json
from perdure.core.redaction.printable import json_text
from perdure.errors import PerdureError
from perdure.operations.location import Place

if TYPE_CHECKING:
    from perdure.core.dead_letters import Told
    from perdure.operations.dead_letters import Listing, Texts
    from perdure.operations.redrive import Result

STYLES = {"parked": "yellow", "re-driven": "cyan", "resolved": "green", "dropped": "dim", "evicted": "dim"}


def as_line(fields: dict[str, Any]) -> None:
    """One line of JSON."""

    write_json(fields)


def listing(found: Listing, place: Place, status: str) -> None:
    """A table of letters, and what else there is."""
    printer = Printer()
    local = place.engine == "local"
    rows = [
        (
            str(view.letter) if local else view.reference,
            "parked, edited" if view.edited and view.status == "parked" else view.status,
            f"{view.step}{view.inputs}" if view.step else f"(the run as a whole) {view.workflow}{view.inputs}",
            str(view.attempts),
            date(view.parked),
            view.run,
            view.error,
        )
        for view in found.letters
    ]
    if rows:
        headings = ("LETTER", "STATUS", "STEP", "ATTEMPTS", "PARKED", "RUN", "ERROR")
        printer.table(
            headings, [[_cut(cell) for cell in row] for row in rows], [STYLES[v.status] for v in found.letters]
        )
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


def _cut(cell: str) -> str:
    return cell if len(cell) <= 60 else f"{cell[:57]}..."


def letter(told: Told, texts: Texts, *, verbose: bool, place: Place) -> None:
    """Everything about one letter."""
    printer = Printer()
    facts = {
        "letter": f"{told.letter}" if place.engine == "local" else f"{told.run}#{told.seq}",
        "status": told.status + (f", re-driven {count(told.redriven, 'time')}" if told.redriven else ""),
        "step": f"{told.step}{texts.inputs}" if told.step else None,
        "edited": f"{told.step}{texts.edited}" if texts.edited is not None else None,
        "run": f"{told.run}" + (f" (record #{told.seq})" if told.seq else ", as a whole"),
        "workflow": told.workflow if told.step else f"{told.workflow}{texts.inputs}",
        "script": told.script,
        "key": told.key,
        "first": f"{date(told.first)}   last {date(told.last)}",
        "parked": date(told.parked),
        "changed": date(told.changed) if told.changed != told.parked else None,
        "result": texts.result,
    }
    for name, fact in facts.items():
        if fact is not None:
            printer.line(f"{name:<9} {one_line(fact)}", STYLES.get(told.status, "") if name == "status" else "")
    if told.error:
        printer.line(f"{'error':<9} {one_line(_error(told.error, told.message))}", "red")
    if not told.attempts or told.attempts[-1].error != told.error:  # else the attempt has them
        for note in told.notes:
            printer.line(f"          {one_line(note)}", "dim")
    for one in told.attempts:
        again = " (re-driven)" if one.redrive else ""
        line = f"  {date(one.time)}  attempt {one.number}{again}: {_error(one.error, one.message)}"
        printer.line(one_line(line), "dim")
        if verbose:
            for text in (*one.notes, one.traceback.rstrip()):
                printer.line("".join(f"      {part}\n" for part in text.splitlines()).rstrip("\n"))
    if told.status == "evicted":
        printer.line("its attempts were dropped when newer letters needed room", "yellow")


def _error(kind: str, message: str) -> str:
    first = message.partition("\n")[0]
    return f"{kind}: {first}" if first else kind


def edited(letter: int, how: str, inputs: dict[str, Any], *, json: bool) -> int:
    """What became of an input; returns the exit code."""
    if json:
        as_line({"letter": letter, "inputs": inputs})
    else:
        Printer().line(f"letter {letter} {how}")
    return DONE


class Report:
    """Tells of each letter how it went, and of all of them at the end."""

    def __init__(self, place: Place, *, json: bool) -> None:
        self._place = place
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
                more = "; its run will see the result when it is resumed" if result.seen else ""
                printer.line(f"letter {result.letter} resolved{more}", "green")
            case "failed":
                printer.line(f"letter {result.letter} failed again: {_told(result.error)}", "yellow")
            case "refused":
                printer.line(f"letter {result.letter} was not tried: {_told(result.error)}", "red")
                if isinstance(result.error, PerdureError) and result.error.hint:
                    printer.line(f"  what to do: {result.error.hint}")

    def end(self) -> int:
        """The summary, and the exit code."""
        import msgspec

        by = {status: [one for one in self._results if one.status == status] for status in _OUTCOMES}
        if self._json:
            fields: dict[str, Any] = {status: len(found) for status, found in by.items()}
            fields["letters"] = [
                {"letter": one.letter, "status": one.status, "seen": one.seen, "error": one.error and _told(one.error)}
                for one in self._results
            ]
            self._stdout.write(json_text(msgspec.json.encode(fields)) + "\n")
        elif not self._results:
            self._stdout.write("no dead letter is parked, of those asked for; nothing was done\n")
        else:
            self._stdout.write(", ".join(f"{len(by[s])} {words}" for s, words in _OUTCOMES.items() if by[s]) + "\n")
        if by["refused"]:
            return FAILED
        return DEAD_LETTERS if by["failed"] else DONE


_OUTCOMES = {"resolved": "resolved", "failed": "failed again", "refused": "not tried"}


def _told(error: Exception | None) -> str:
    from perdure.config.secrets import conceal

    if isinstance(error, PerdureError):
        return one_line(conceal(error.what))
    return one_line(conceal(_error(type(error).__name__, str(error)))) if error is not None else "unknown"
