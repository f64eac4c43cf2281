"""Names that are another one in each run, made of a clock, chance or a process id: what they have in common."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

_WORD = re.compile(r"([0-9A-Za-z]+)")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HEX = re.compile(r"(?<![0-9A-Za-z])[0-9a-f]{12,}(?![0-9A-Za-z])")
_MADE = "0made0"
"""A word that stands for such a number."""

_SEVERAL = re.compile(r"\*(?:[^0-9A-Za-z/*]*\*)+")
_ENDING = re.compile(r"\.[A-Za-z]+$")


class Names:
    """The names that several runs have made: those of each run, and shapes for those that are made anew.

    A shape has `*` where a name differs, as in `report-*.txt`: for words with a digit in them if that is enough, for
    whole parts of a path otherwise.

    Args:
        runs: the names of each run.
    """

    def __init__(self, runs: Sequence[Collection[str]]) -> None:
        self._same = set.intersection(*map(set, runs))
        anew = [set(run) - self._same for run in runs]
        self._parts = set.intersection(*({part for name in run for part in name.split("/")} for run in runs))
        self._shapes = sorted(set.intersection(*({_by_words(name) for name in each} for each in anew)))
        self._patterns = [(shape, _pattern(shape)) for shape in self._shapes]
        rest = [{self._by_parts(name) for name in each if not self._of_words(name)} for each in anew]
        self._wide = set.intersection(*rest)
        self._shown = self._examples(name for each in anew for name in each)

    def common(self, name: str) -> str:
        """A name as it is if it is the same in each run, or is of no shape; else its shape."""
        if name in self._same:
            return name
        found = self._of_words(name)
        if found:
            return found
        wide = self._by_parts(name)
        return wide if wide in self._wide else name

    def is_shape(self, common: str) -> bool:
        """Does that stand for names that are made anew?"""
        return common in self._shown

    def shown(self, common: str) -> str:
        """What people read: a shape with what is the same in all of its names."""
        return self._shown.get(common, common)

    def _of_words(self, name: str) -> str:
        return next((shape for shape, pattern in self._patterns if pattern.fullmatch(name)), "")

    def _by_parts(self, name: str) -> str:
        return "/".join(
            part if part in self._parts else f"*{''.join(_ENDING.findall(part))}" for part in name.split("/")
        )

    def _examples(self, names: Iterable[str]) -> dict[str, str]:
        of_shape: dict[str, list[str]] = {}
        for name in sorted(names):
            common = self.common(name)
            if common != name:
                of_shape.setdefault(common, []).append(name)
        return {common: _merged(common, found) for common, found in of_shape.items()}


def _by_words(name: str) -> str:
    whole = _HEX.sub(_MADE, _UUID.sub(_MADE, name))
    words = ["*" if any(letter.isdigit() for letter in word) else word for word in _WORD.split(whole)]
    return _SEVERAL.sub("*", "".join(words))


def _pattern(shape: str) -> re.Pattern[str]:
    return re.compile("[^/]+".join(map(re.escape, shape.split("*"))))


def _merged(shape: str, names: Sequence[str]) -> str:
    """The words that all names have in common, and `*` for the others; the shape if they are not built alike."""
    split = [_WORD.split(_HEX.sub(_MADE, _UUID.sub(_MADE, name))) for name in names]
    if len({(len(each), tuple(each[::2])) for each in split}) > 1:
        return shape
    words = [column[0] if len(set(column)) == 1 and column[0] != _MADE else "*" for column in zip(*split, strict=True)]
    return _SEVERAL.sub("*", "".join(words))
