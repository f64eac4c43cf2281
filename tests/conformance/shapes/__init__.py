"""Shapes of workflows: each function runs one, and says what must have happened; it is called once on each engine."""

from tests.conformance.shape import SHAPES
from tests.conformance.shapes import again, batches, branches, endings, failures, letters, names, results

__all__ = ["SHAPES", "again", "batches", "branches", "endings", "failures", "letters", "names", "results"]
