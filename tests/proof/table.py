"""The tables of docs/reliability.md, made from what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .form import Proof
from .progress import Done

BEGIN, END = "<!-- proof: written by `python3 dev.py proof --table` -->", "<!-- end of proof -->"


def write(page: Path, rows: Sequence[tuple[Proof, Done]], seed: int) -> None:
    """Write the tables between the two markers of the page; the rest of the page is kept."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{tables(rows, seed)}\n{END}{after}", encoding="utf-8")


def tables(rows: Sequence[tuple[Proof, Done]], seed: int) -> str:
    """What was found, and below it how."""
    found = [found_row(proof, done) for proof, done in rows]
    how = [how_row(proof, done, seed) for proof, done in rows]
    return "\n".join(
        [
            "| | what holds | tried, of the full size | broken | found beside it |",
            "|---|---|---|---|---|",
            *found,
            "",
            "| | again | control that has to fail | its failures | measured | in CI |",
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
    broken = str(len(proof.broken(figures))) if figures.cases else "-"
    return _line(proof.name, proof.claim, tried, broken, proof.says(figures) if figures.cases else "")


def how_row(proof: Proof, done: Done, seed: int) -> str:
    """One line of the second table."""
    control = done.control
    caught = "not run" if control is None else f"{len(proof.broken(control))} in {control.cases:,}"
    return _line(
        proof.name,
        f"`python3 dev.py proof {proof.name} --seed {seed}`",
        proof.controlled,
        caught,
        "; ".join(_where(each) for each in done.where) + (f"; {_duration(done.seconds)}" if done.where else ""),
        f"`{proof.short}`" if proof.short else "",
    )


def _where(where: dict[str, str]) -> str:
    return (
        f"{where['day']}, perdure {where['perdure']} (src tree {where['source']}), Python {where['python']},"
        f" SQLite {where['sqlite']}, {where['machine']}, {where['file system']}"
    )


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
