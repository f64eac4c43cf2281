"""What was asked of a figure, and what was reached: said at once, and as a table at the end."""

from __future__ import annotations

FOUND: list[tuple[str, str, str, str, str]] = []
"""Figure, what, asked, reached, and whether that is met."""


def reach(figure: str, what: str, reached: float, asked: float, unit: str, *, at_least: bool = False) -> None:
    """Note one figure: at most what is asked is met, or `at_least` that."""
    met = reached >= asked if at_least else reached <= asked
    sign = "at least " if at_least else ""
    row = (figure, what, f"{sign}{_number(asked)} {unit}", f"{_number(reached)} {unit}", "met" if met else "missed")
    FOUND.append(row)
    print(f"{figure} {what}: {row[3]} (asked {row[2]}: {row[4]})", flush=True)


def table() -> str:
    """All that was noted, in Markdown."""
    rows = [("", "what", "asked", "reached", ""), ("---",) * 5, *FOUND]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
