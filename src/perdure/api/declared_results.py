"""Results that are not what the annotation of their step or workflow declares."""

from __future__ import annotations


def say_unlike(text: str) -> None:
    """Say it once, and keep it with the run; what says so is loaded where it is needed."""
    from perdure.engines.runtime import unsaved

    unsaved.unlike(text)
