"""How it is said what a fork has taken over from its source."""

from __future__ import annotations

from perdure.cli.view.terminal import count
from perdure.core.records import RunRecord
from perdure.operations.fork import Made


def fork_lines(made: Made, source: RunRecord, step: str) -> str:
    """What became of the source and of its dead letters, a line each."""
    forked = made.forked
    unfinished = source.status not in ("done", "cancelled")
    lines = [f"run {made.run.id} is a copy of {source.id} up to {step}" + (", and supersedes it" if unfinished else "")]
    if forked.results:
        lines.append(
            f"{count(forked.results, 're-driven result')} taken over; what has consumed the items is made again"
        )
    if forked.moved:
        lines.append(f"{count(forked.moved, 'parked dead letter')} of {source.id} moved to {made.run.id}")
    if forked.again:
        calls = "call is" if forked.again == 1 else "calls are"
        lines.append(f"{count(forked.again, 'parked dead letter')} superseded: the {calls} made again")
    if forked.remade:
        calls = "it counts" if forked.remade == 1 else "they count"
        lines.append(
            f"{source.id} had undone {count(forked.remade, 'call')} and made them again behind that point: "
            f"{calls} as what follows, also if the script makes them before {step}, and are made once more"
        )
    if forked.undoable:
        lines.append(
            f"{count(forked.undoable, 'call')} with undo= that {source.id} made after that point: "
            "undone if this run fails or is cancelled"
        )
    if forked.below:
        lines.append(
            f"{count(forked.below, 'call')} with undo= of child runs that {source.id} called after that point: "
            "undone if this run is cancelled"
        )
    lines += [line for line in (made.again, made.unknown) if line is not None]
    return "".join(f"{line}\n" for line in lines)
