"""The tables: medians of every peer, and each target beside what was reached."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from cases import ROWS, TARGETS, Row, Target

Results = dict[str, dict[str, list[dict[str, float] | None]]]
"""Case, peer, round: the figures, or None for a round that failed."""


def medians(results: Results, peers: Sequence[str]) -> list[list[str]]:
    """The lines of the table of medians, its head first."""
    lines = [["median", "unit", *peers]]
    lines += [
        [row.title, row.unit, *(_cell(results, row, peer) for peer in peers)] for row in ROWS if row.case in results
    ]
    return lines


def verdicts(results: Results) -> list[list[str]]:
    """The lines of the table of targets, its head first."""
    lines = [["target", "to reach", "reached", "verdict"]]
    lines += [_verdict(results, target) for target in TARGETS if target.case in results]
    return lines


def aligned(lines: list[list[str]]) -> str:
    """A table as plain text that is valid Markdown, too."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    out = []
    for first, *others in [lines[0], rule, *lines[1:]]:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        out.append("| " + " | ".join([first.ljust(widths[0]), *cells]) + " |")
    return "\n".join(out)


def reached(results: Results, target: Target) -> float | None:
    """The value that a target is judged by: a median, or the median of the ratios of each round."""
    ours = _figures(results, target.case, "perdure", target.metric)
    if not target.against:
        whole = [value for value in ours if value is not None]
        return statistics.median(whole) if whole else None
    theirs = _figures(results, target.case, target.against, target.metric)
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=False) if a is not None and b is not None]
    if not pairs:
        return None
    return statistics.median(b / a if target.upside_down else a / b for a, b in pairs)


def met(target: Target, value: float) -> bool:
    """Whether a value reaches the target."""
    if target.at_least is not None and value < target.at_least:
        return False
    return target.at_most is None or value <= target.at_most


def _verdict(results: Results, target: Target) -> list[str]:
    row = next(row for row in ROWS if (row.case, row.metric) == (target.case, target.metric))
    limit, sign = (target.at_most, "<=") if target.at_most is not None else (target.at_least, ">=")
    unit = "x" if target.against else f" {row.unit}"
    what = f"{row.title}: {target.against}" if target.against else row.title
    value = reached(results, target)
    if value is None:
        return [what, f"{sign} {limit:g}{unit}", "-", "not measured"]
    digits = 2 if value < 10 and target.against else 1
    verdict = "met" if met(target, value) else "NOT MET"
    return [what, f"{sign} {limit:g}{unit}", f"{value:.{digits}f}{unit}", verdict]


def _cell(results: Results, row: Row, peer: str) -> str:
    figures = _figures(results, row.case, peer, row.metric)
    whole = [value for value in figures if value is not None]
    if not whole:
        return "FAILED" if figures and None in results[row.case].get(peer, ()) else "-"
    text = f"{statistics.median(whole):,.{row.digits}f}"
    return text if len(whole) == len(figures) else f"{text} (!)"


def _figures(results: Results, case: str, peer: str, metric: str) -> list[float | None]:
    rounds = results.get(case, {}).get(peer, [])
    return [None if figures is None else figures.get(metric) for figures in rounds]
