"""`perdure dlq`: dead letters listed, shown, edited, re-driven, dropped, exported."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Group, Parameter
from cyclopts.validators import Number
from msgspec import structs

from perdure.cli.exit_codes import DONE, FAILED
from perdure.cli.shared_parameters import ANYWHERE, Json, Limit, LogJson, Verbose, Where
from perdure.cli.view import dlq_tables
from perdure.cli.view.terminal import Printer, as_json, count
from perdure.config import settings
from perdure.core.redaction.printable import json_text
from perdure.engines.features import Feature
from perdure.errors import OptionError
from perdure.operations import deeds
from perdure.operations.dead_letters import Selection, Standing, refuse_others
from perdure.operations.deeds import numbers_of
from perdure.operations.location import Location, opened

if TYPE_CHECKING:
    from perdure.core.letter_record import LetterRecord
    from perdure.store.runs import Store

WHICH = Group("Which letters", sort_key=1)

Script = Annotated[Path | None, Parameter("--script", help="The letters' script, if it is not where it was.")]
Numbers = Annotated[list[str] | None, Parameter(negative="", help="Their numbers.")]
Every = Annotated[bool, Parameter("--all", negative="", group=WHICH, help="All that are parked.")]
Status = Annotated[
    Standing | None, Parameter("--status", group=WHICH, help="Only those that stand so; re-driven: at this moment.")
]
Reference = Annotated[str, Parameter(help="A letter's number, or RUN#STEP as `dlq ls` prints it on a cluster.")]

Count = Annotated[
    int | None,
    Parameter("--if-count", validator=Number(gte=0), help="Only if the filters mean so many, as `perdure ui` shows."),
]

MOST = 100_000
"""Runs of a cluster that are asked about."""

app = App(name="dlq", help="Dead letters: what failed for good, to be reviewed, edited and re-driven.")


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
    reason: Annotated[str | None, Parameter("--reason", help="Only those of a reason, as `dlq reasons` has it.")] = None

    def selection(self, status: Standing | None) -> Selection:
        """The same for the operations."""
        return Selection(status, self.run, self.workflow, self.step, self.error, self.older, self.newer, self.reason)


ANY = Which()


@app.command(name=["ls", "list"])
def ls(
    which: Which = ANY,
    *,
    status: Status = None,
    limit: Limit = 50,
    json: Json = False,
    where: Where = ANYWHERE,
) -> int:
    """List the dead letters that are parked, newest first."""
    from perdure.operations.dead_letters import list_letters

    location = where.locate()
    with opened(location, which.run, None if which.run else MOST) as store:
        found = list_letters(store, which.selection(status or "parked"), limit or None)
    if json:
        as_json(found)
    else:
        dlq_tables.listing(found, location, status or "parked")
    return DONE


@app.command
def reasons(*, limit: Limit = 50, json: Json = False, where: Where = ANYWHERE) -> int:
    """Say for which reasons dead letters are parked, and of how many each is; most first."""
    from perdure.operations.letter_pages import letter_reasons

    with opened(where.locate(), most=MOST) as store:
        found = letter_reasons(store, limit or MOST)
    if json:
        as_json({"reasons": found})
    else:
        dlq_tables.reasons(found)
    return DONE


@app.command
def show(
    letter: Reference,
    *,
    verbose: Verbose = False,
    json: Json = False,
    where: Where = ANYWHERE,
) -> int:
    """Show one dead letter: its input, every attempt, what it was edited into, what became of it."""
    from perdure.operations.dead_letters import details_of, find_letter, run_named, texts_of
    from perdure.operations.idempotency_keys import keys_of

    location = where.locate()
    with opened(location, run_named(letter), None if run_named(letter) else MOST) as store:
        found = find_letter(store, letter)
        details, texts = details_of(store, found), texts_of(store, found)
        keys = keys_of(store, found)
    if json:
        as_json(structs.asdict(details) | {"idempotency_keys": keys})
    else:
        dlq_tables.letter(details, texts, keys, verbose=verbose, location=location)
    return DONE


@app.command
def edit(
    letter: Reference,
    *,
    set: Annotated[
        list[str] | None, Parameter("--set", negative="", help="A place in the input and JSON for it: order.total=5.")
    ] = None,
    changes: Annotated[
        Path | None,
        Parameter(
            "--changes",
            allow_leading_hyphen=True,
            help='A file of places and values as JSON, {"order.total": 5}; - for standard input.',
        ),
    ] = None,
    reset: Annotated[bool, Parameter("--reset", negative="", help="Take the recorded input again.")] = False,
    version: Annotated[
        str | None, Parameter("--if-version", help="Only if its input is this version still, as `perdure ui` names it.")
    ] = None,
    script: Script = None,
    json: Json = False,
    where: Where = ANYWHERE,
) -> int:
    """Change the input that a dead letter is re-driven with; the recorded one is kept. Without --set: in $EDITOR."""
    from perdure.cli.editor import edited
    from perdure.operations.dlq_edit import begin_edit, end_edit, take_back

    if reset and (set or changes is not None):
        raise OptionError(
            "--reset is given with --set or --changes: one takes the recorded input, the others change it",
            "give one of them; to change the recorded input, take it first: perdure dlq edit N --reset",
        )
    location = where.locate()
    if reset:
        number = take_back(location, letter, version)
        deeds.note(location, "dlq edit", str(number), "it has its recorded input again")
        return dlq_tables.edited(number, "has its recorded input again", {}, json=json)
    editing = begin_edit(location, letter, script, version)
    places = [*_changes(set or ()), *(_changes_in(changes) if changes is not None else ())]
    if places:
        for path, value in places:
            editing.arguments.set(path, value)
    else:
        changed = edited(editing.as_json())
        if changed is None:
            return dlq_tables.edited(editing.letter, "was left as it is", editing.shown(), json=json)
        editing.arguments.replace(changed)
    differs = end_edit(location, editing)
    deeds.note(location, "dlq edit", str(editing.letter), ", ".join(path for path, _ in places))
    if editing.spec is None:
        Printer(sys.stderr).line(
            f"the new input was not checked, since the script cannot be loaded: {editing.unchecked}"
        )
    for line in editing.unasked:
        Printer(sys.stderr).line(f"the new input was taken as it is; {line}")
    how = f"is re-driven with another input: perdure dlq redrive {editing.letter}{location.option}"
    return dlq_tables.edited(
        editing.letter, how if differs else "has its recorded input again", editing.shown(), json=json
    )


@app.command
def redrive(
    letters: Numbers = None,
    /,
    which: Which = ANY,
    *,
    all: Every = False,
    rate: Annotated[str | None, Parameter("--rate", help='How many may begin in a time: "5/s", "100/min".')] = None,
    concurrency: Annotated[int, Parameter("--concurrency", validator=Number(gte=1), help="How many at a time.")] = 1,
    if_count: Count = None,
    script: Script = None,
    json: Json = False,
    log_json: LogJson = False,
    where: Where = ANYWHERE,
) -> int:
    """Try dead letters again, as their steps are in the script now. Exit code 3 if some failed again."""
    from perdure.cli.view.live import logged
    from perdure.core.durations import rate as read_rate
    from perdure.operations import redrive as redriving

    location = where.locate()
    location.require(Feature.CHANGE_DEAD_LETTERS, command="redrive")
    per_time = read_rate(rate, option="--rate") if rate else None
    chosen = _chosen(location, letters, which, if_count, all=all)
    report = dlq_tables.Report(location, json=json)
    deeds.note(location, "dlq redrive", numbers_of([letter.lid for letter in chosen]))
    with (
        logged() if log_json or settings.log_json() else nullcontext(),
        redirect_stdout(sys.stderr) if json else nullcontext(),  # whatever the steps print
    ):
        follows = redriving.redrive(
            location, chosen, report.add, watch=_quiet(), script=script, rate=per_time, concurrency=concurrency
        )
        return report.end(follows)


@app.command
def drop(
    letters: Numbers = None,
    /,
    which: Which = ANY,
    *,
    all: Every = False,
    if_count: Count = None,
    json: Json = False,
    where: Where = ANYWHERE,
) -> int:
    """Drop dead letters: they are not to be re-driven any more. What is known of them stays."""
    from perdure.operations.dlq_edit import drop

    location = where.locate()
    location.require(Feature.CHANGE_DEAD_LETTERS, command="drop")
    chosen = [letter.lid for letter in _chosen(location, letters, which, if_count, all=all)]
    refused = drop(location, chosen)
    deeds.note(location, "dlq drop", numbers_of([lid for lid in chosen if lid not in refused]))
    for error in refused.values():
        Printer(sys.stderr).line(error.what)
    if json:
        as_json({"dropped": [lid for lid in chosen if lid not in refused], "refused": list(refused)})
    else:
        sys.stdout.write(f"{count(len(chosen) - len(refused), 'dead letter')} dropped\n")
    return FAILED if refused else DONE


@app.command
def export(
    letters: Numbers = None,
    /,
    which: Which = ANY,
    *,
    status: Status = None,
    output: Annotated[Path | None, Parameter(("--output", "-o"), help="A file, by default standard output.")] = None,
    where: Where = ANYWHERE,
) -> int:
    """Write dead letters as JSON Lines, with every attempt; those that are parked, unless --status says otherwise."""
    from perdure.cli.private_file import private_file
    from perdure.operations.dead_letters import lines

    location = where.locate()
    with opened(location, which.run, None if which.run else MOST) as store:
        chosen = _among(store, letters, which, all=True, status=status)
        if output is None:
            for line in lines(store, chosen):
                sys.stdout.write(json_text(line))
            return DONE
        with private_file(output) as stream:
            stream.writelines(lines(store, chosen))
    sys.stderr.write(f"{count(len(chosen), 'dead letter')} written to {output}\n")
    return DONE


# -- which ------------------------------------------------------------------------------------------------------------


def _chosen(
    location: Location, named: Sequence[str] | None, which: Which, if_count: int | None, *, all: bool
) -> list[LetterRecord]:
    with opened(location) as store:
        chosen = _among(store, named, which, all=all, status="parked")
    if if_count is not None:
        refuse_others(len(chosen), if_count)
    return chosen


def _among(
    store: Store, named: Sequence[str] | None, which: Which, *, all: bool, status: Standing | None
) -> list[LetterRecord]:
    from perdure.operations.dead_letters import find_letter, select

    if named:
        if which != ANY:
            raise OptionError("dead letters and filters are both given", "give one of the two")
        return list({letter.lid: letter for letter in (find_letter(store, each) for each in named)}.values())
    if which == ANY and not all:
        raise OptionError("no dead letter is named", "give their numbers (`perdure dlq ls`), a filter, or --all")
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
            raise OptionError(f"{text!r} is not JSON", f"put a text in quotes: --set '{path}=\"{text}\"'") from None
    return found


def _changes_in(file: Path) -> list[tuple[str, Any]]:
    import json

    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        found = json.loads(text)
    except (OSError, ValueError) as error:
        raise OptionError(f"--changes {file} cannot be read: {error}", "give a file of JSON, or -") from None
    if not isinstance(found, dict) or not found:
        raise OptionError(
            f"--changes {file} holds no changes", "give an object of places and values: {'order.total': 5}"
        )
    return list(found.items())


def _quiet() -> Any:
    """An observer that prints nothing of the runs that are gone on with."""
    from perdure.cli.view.progress_lines import ProgressLines

    return ProgressLines(lambda text, style: None)
