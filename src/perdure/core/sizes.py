"""Numbers of bytes, as people read them."""

from __future__ import annotations


def show_size(count: int) -> str:
    """A number of bytes with a unit: "12.3 MB"."""
    amount = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:,.0f} TB"
