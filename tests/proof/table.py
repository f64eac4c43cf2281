"""The tables of docs/reliability.md, made from what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .form import Proof, number_of
from .progress import Done

BEGIN, END = "<!-- proof: written by `python3 dev.py proof --table` -->", "<!-- end of proof -->"

HOW = "| | again | control that has to fail | its failures | measured | in CI |"


def write(page: Path, rows: Sequence[tuple[Proof, Done]], seed: int) -> None:
    """Write the tables between the two markers of the page.

    The rest of the page is kept, and so are the rows of figures of which nothing is in this folder: they were measured
    elsewhere.
    """
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    old, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{tables(rows, seed, old)}\n{END}{after}", encoding="utf-8")


def tables(rows: Sequence[tuple[Proof, Done]], seed: int, old: str = "") -> str:
    """What was found, and below it how; `old` is what the page has of that."""
    kept = dict(zip(("found", "how"), (_rows(part) for part in old.partition(HOW)[::2]), strict=True))
    found, how = [], []
    for proof, done in rows:
        nothing = not done.parts
        found.append((nothing and kept["found"].get(proof.name)) or found_row(proof, done))
        how.append((nothing and kept["how"].get(proof.name)) or how_row(proof, done, seed))
    return "\n".join(
        [
            "| | what holds | tried, of the full size | broken | found beside it |",
            "|---|---|---|---|---|",
            *found,
            "",
            HOW,
            "|---|---|---|---|---|---|",
            *how,
            "",
        ]
    )


def found_row(proof: Proof, done: Done) -> str:
    """One line of the first table."""
    figures = done.figures
    tried = (
        f"{figures.cases:,} of {proof.size:,} {proof.unit}" if figures.cases else f"none of {proof.size:,} {proof.unit}"
    )
    broken = str(number_of(proof.broken(figures))) if figures.cases else "-"
    return _line(proof.name, proof.claim, tried, broken, proof.says(figures) if figures.cases else "")


def how_row(proof: Proof, done: Done, seed: int) -> str:
    """One line of the second table."""
    control = done.control
    caught = "not run" if control is None else f"{number_of(proof.broken(control))} in {control.cases:,}"
    return _line(
        proof.name,
        f"`python3 dev.py proof {proof.name} --seed {seed}`",
        proof.controlled,
        caught,
        _measured(done),
        f"`{proof.short}`" if proof.short else "",
    )


def _rows(table: str) -> dict[str, str]:
    """The lines of a table by the figure that they are of."""
    return {line.split("|")[1].strip(): line for line in table.splitlines() if line.startswith("| ")}


def _measured(done: Done) -> str:
    """Where, how much of it if that was on several sources or days, and for how long."""
    if not done.where:
        return ""
    several = len(done.where) > 1
    shares = [
        f"{cases:,} on {_where(each)}" if several else _where(each)
        for each, cases in zip(done.where, done.cases, strict=True)
    ]
    return "; ".join([*shares, _duration(done.seconds)])


def _where(where: dict[str, str]) -> str:
    return (
        f"{where['day']}, perdure {where['perdure']} (src tree {where['source']}), Python {where['python']},"
        f" SQLite {where['sqlite']}, {where['machine']}, {where['file system']}"
    )


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
