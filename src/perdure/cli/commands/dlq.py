"""`perdure dlq`: dead letters listed, shown, edited, re-driven, dropped, exported."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Group, Parameter
from cyclopts.validators import Number

from perdure.cli.exit_codes import DONE, FAILED
from perdure.cli.view import dlq_tables
from perdure.cli.view.terminal import Printer, count
from perdure.config import settings
from perdure.core.redaction.printable import json_text
from perdure.errors import OptionError
from perdure.operations.location import Place, locate, opened

if TYPE_CHECKING:
    from perdure.core.dead_letters import LetterRecord
    from perdure.operations.dead_letters import Selection
    from perdure.store.runs import Store

WHERE = Group("State file", sort_key=2)
WHICH = Group("Which letters", sort_key=1)

State = Annotated[Path | None, Parameter("--state", group=WHERE, help="The state file.")]
File = Annotated[Path | None, Parameter("--file", group=WHERE, help="A script, whose .perdure/state.db is meant.")]
Engine = Annotated[str | None, Parameter("--engine", group=WHERE, help='A cluster: "temporal://HOST:7233/NAMESPACE".')]
Json = Annotated[bool, Parameter("--json", negative="", help="One line of JSON, for programs.")]
LogJson = Annotated[bool, Parameter("--log-json", negative="", help="Standard error is one JSON object a line.")]
Script = Annotated[Path | None, Parameter("--script", help="The letters' script, if it is not where it was.")]
Every = Annotated[bool, Parameter("--all", negative="", group=WHICH, help="All that are parked.")]
Standings = Literal["parked", "re-driven", "resolved", "dropped", "evicted"]
Status = Annotated[
    Standings | None, Parameter("--status", group=WHICH, help="Only those that stand so; re-driven: at this moment.")
]
Reference = Annotated[str, Parameter(help="A letter's number, or RUN#STEP as `dlq ls` prints it on a cluster.")]

MOST = 100_000
"""Runs of a cluster that are asked about."""

app = App(name="dlq", help="Dead letters: what failed for good, to be looked at, mended and done again.")


@Parameter(name="*", group=WHICH)
@dataclass(frozen=True)
class Which:
    """Which letters are meant."""

    step: Annotated[str | None, Parameter("--step", help="Only those of this step.")] = None
    run: Annotated[str | None, Parameter("--run", help='Only those of this run: its id, the beginning, or "last".')] = (
        None
    )
    workflow: Annotated[str | None, Parameter("--workflow", help="Only those of this workflow.")] = None
    error: Annotated[str | None, Parameter("--error", help="Only with this in the error's class or message.")] = None
    older: Annotated[str | None, Parameter("--older", help='Only those parked longer ago than this: "2d".')] = None
    newer: Annotated[str | None, Parameter("--newer", help='Only those parked since then: "1h".')] = None

    def selection(self, status: Standings | None) -> Selection:
        """The same for the operations."""
        from perdure.operations.dead_letters import Selection

        return Selection(status, self.run, self.workflow, self.step, self.error, self.older, self.newer)


ANY = Which()


@app.command(name=["ls", "list"])
def ls(
    which: Which = ANY,
    *,
    status: Status = None,
    limit: Annotated[int, Parameter("--limit", validator=Number(gte=0), help="How many at most; 0 for all.")] = 50,
    json: Json = False,
    state: State = None,
    file: File = None,
    engine: Engine = None,
) -> int:
    """List the dead letters that are parked, newest first."""
    from perdure.cli.view.show_page import as_json
    from perdure.operations.dead_letters import list_letters

    place = locate(state, file, engine)
    with opened(place, which.run, None if which.run else MOST) as store:
        found = list_letters(store, which.selection(status or "parked"), limit or None)
    if json:
        as_json(found)
    else:
        dlq_tables.listing(found, place, status or "parked")
    return DONE


@app.command
def show(
    letter: Reference,
    *,
    verbose: Annotated[bool, Parameter(("--verbose", "-v"), negative="", help="Tracebacks too.")] = False,
    json: Json = False,
    state: State = None,
    file: File = None,
    engine: Engine = None,
) -> int:
    """Show one dead letter: its input, every attempt, what it was edited into, what became of it."""
    from perdure.cli.view.show_page import as_json
    from perdure.operations.dead_letters import details_of, find_letter, run_named, texts_of

    place = locate(state, file, engine)
    with opened(place, run_named(letter), None if run_named(letter) else MOST) as store:
        found = find_letter(store, letter)
        told, texts = details_of(store, found), texts_of(store, found)
    if json:
        as_json(told)
    else:
        dlq_tables.letter(told, texts, verbose=verbose, place=place)
    return DONE


@app.command
def edit(
    letter: Reference,
    *,
    set: Annotated[
        list[str] | None, Parameter("--set", negative="", help="A place in the input and JSON for it: order.total=5.")
    ] = None,
    reset: Annotated[bool, Parameter("--reset", negative="", help="Take the recorded input again.")] = False,
    script: Script = None,
    json: Json = False,
    state: State = None,
    file: File = None,
    engine: Engine = None,
) -> int:
    """Change the input that a dead letter is re-driven with; the recorded one is kept. Without --set: in $EDITOR."""
    from perdure.cli.editor import edited
    from perdure.operations.dead_letters import begin_edit, end_edit, take_back

    place = locate(state, file, engine)
    if reset:
        number = take_back(place, letter)
        return dlq_tables.edited(number, "has its recorded input again", {}, json=json)
    editing = begin_edit(place, letter, script)
    if set:
        for path, value in _changes(set):
            editing.arguments.set(path, value)
    else:
        changed = edited(editing.as_json())
        if changed is None:
            return dlq_tables.edited(editing.letter, "was left as it is", editing.as_json(), json=json)
        editing.arguments.replace(changed)
    differs = end_edit(place, editing)
    if editing.spec is None:
        Printer(sys.stderr).line(
            f"the new input was not checked, since the script cannot be loaded: {editing.unchecked}"
        )
    how = f"is re-driven with another input: perdure dlq redrive {editing.letter}{place.option}"
    return dlq_tables.edited(
        editing.letter, how if differs else "has its recorded input again", editing.as_json(), json=json
    )


@app.command
def redrive(
    letters: Annotated[list[str] | None, Parameter(negative="", help="Their numbers.")] = None,
    /,
    which: Which = ANY,
    *,
    all: Every = False,
    rate: Annotated[str | None, Parameter("--rate", help='How many may begin in a time: "5/s", "100/min".')] = None,
    concurrency: Annotated[int, Parameter("--concurrency", validator=Number(gte=1), help="How many at a time.")] = 1,
    script: Script = None,
    json: Json = False,
    log_json: LogJson = False,
    state: State = None,
    file: File = None,
    engine: Engine = None,
) -> int:
    """Try dead letters again, as their steps are in the script now. Exit code 3 if some failed again."""
    from perdure.cli.view.live import logged
    from perdure.core.durations import rate as read_rate
    from perdure.operations import redrive as redriving
    from perdure.operations.dead_letters import refuse_cluster

    place = locate(state, file, engine)
    refuse_cluster(place, "redrive")
    pace = read_rate(rate, option="--rate") if rate else None
    chosen = _chosen(place, letters, which, all=all)
    report = dlq_tables.Report(place, json=json)
    with (
        logged() if log_json or settings.log_json() else nullcontext(),
        redirect_stdout(sys.stderr) if json else nullcontext(),  # whatever the steps print
    ):
        redriving.redrive(place, chosen, report.add, watch=_quiet(), script=script, rate=pace, concurrency=concurrency)
        return report.end()


@app.command
def drop(
    letters: Annotated[list[str] | None, Parameter(negative="", help="Their numbers.")] = None,
    /,
    which: Which = ANY,
    *,
    all: Every = False,
    json: Json = False,
    state: State = None,
    file: File = None,
    engine: Engine = None,
) -> int:
    """Drop dead letters: they are not to be re-driven any more. What is known of them stays."""
    from perdure.operations.dead_letters import drop, refuse_cluster

    place = locate(state, file, engine)
    refuse_cluster(place, "drop")
    chosen = [letter.lid for letter in _chosen(place, letters, which, all=all)]
    refused = drop(place, chosen)
    for error in refused.values():
        Printer(sys.stderr).line(error.what)
    if json:
        dlq_tables.as_line({"dropped": [lid for lid in chosen if lid not in refused], "refused": list(refused)})
    else:
        sys.stdout.write(f"{count(len(chosen) - len(refused), 'dead letter')} dropped\n")
    return FAILED if refused else DONE


@app.command
def export(
    letters: Annotated[list[str] | None, Parameter(negative="", help="Their numbers; by default all.")] = None,
    /,
    which: Which = ANY,
    *,
    status: Status = None,
    output: Annotated[Path | None, Parameter(("--output", "-o"), help="A file, by default standard output.")] = None,
    state: State = None,
    file: File = None,
    engine: Engine = None,
) -> int:
    """Write dead letters as JSON Lines, with every attempt; those that are parked, unless --status says otherwise."""
    from perdure.cli.editor import private
    from perdure.operations.dead_letters import lines

    place = locate(state, file, engine)
    with opened(place, which.run, None if which.run else MOST) as store:
        chosen = _among(store, letters, which, all=True, status=status)
        if output is None:
            for line in lines(store, chosen):
                sys.stdout.write(json_text(line))
            return DONE
        with private(output) as stream:
            stream.writelines(lines(store, chosen))
    sys.stderr.write(f"{count(len(chosen), 'dead letter')} written to {output}\n")
    return DONE


# -- which ------------------------------------------------------------------------------------------------------------


def _chosen(place: Place, named: Sequence[str] | None, which: Which, *, all: bool) -> list[LetterRecord]:
    with opened(place) as store:
        return _among(store, named, which, all=all, status="parked")


def _among(
    store: Store, named: Sequence[str] | None, which: Which, *, all: bool, status: Standings | None
) -> list[LetterRecord]:
    from perdure.operations.dead_letters import find_letter, select

    if named:
        if which != ANY:
            raise OptionError("letters were named, and filters given as well", "give the ones or the others")
        return list({letter.lid: letter for letter in (find_letter(store, each) for each in named)}.values())
    if which == ANY and not all:
        raise OptionError("no dead letter was named", "give their numbers (`perdure dlq ls`), a filter, or --all")
    return list(select(store, which.selection(status or "parked")))


def _changes(given: Sequence[str]) -> list[tuple[str, Any]]:
    import json

    found = []
    for each in given:
        path, equals, text = each.partition("=")
        if not equals:
            raise OptionError(f"--set {each} has no value", "write PATH=JSON, for instance --set order.total=5")
        try:
            found.append((path.strip(), json.loads(text)))
        except ValueError:
            raise OptionError(f"{text!r} is not JSON", f"a text stands in quotes: --set '{path}=\"{text}\"'") from None
    return found


def _quiet() -> Any:
    """Tells nobody of the runs that are gone on with."""
    from perdure.cli.view.progress_lines import Narrator

    return Narrator(lambda text, style: None)
