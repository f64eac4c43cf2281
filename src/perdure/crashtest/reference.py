"""What undisturbed runs have in common, which runs that were killed and resumed are compared with.

Two undisturbed runs differ where a clock, chance or another process has a say. That is no kill's doing, so each thing
is compared as closely as undisturbed runs agree on it: a file by its content, else by its lines or rows, else by its
being there; results and files of JSON by the parts that are the same; names that are another one in each run by how
many of a shape there are; effects by the shape of what they reach.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from perdure.crashtest import varying_values
from perdure.crashtest.effects import Effect
from perdure.crashtest.file_contents import Content
from perdure.crashtest.kept_rows import KeptByAll
from perdure.crashtest.lives import Life
from perdure.crashtest.outcome import Failure, Outcome
from perdure.crashtest.varying_names import Names

FIELDS = {
    "end": "the end",
    "kind": "the class of the error",
    "error": "the error",
    "result": "the result",
    "dead_letters": "the number of dead letters",
    "clean_ups": "what the clean-ups failed with",
}
"""What is compared of an outcome, and how people call it. Which comes first is what a finding names."""

_CLOSELY = ("digest", "extent")
"""What is compared of a file, if undisturbed runs agree on it: the closest first. Of JSON they may agree on parts."""

_SAID = {"digest": "the content of {}", "extent": "the lines or rows of {}"}

SHOWN = 5
"""Parts of a value that are named as differing."""

Identity = tuple[str, str, str]
"""Of effects that are alike: step, kind, and what is common to what they reach."""


class End(msgspec.Struct, frozen=True):
    """What is left at the end of a run: how it ended, what lies in the folder, what the oracle says."""

    life: Life
    files: dict[str, Content]
    oracle: list[str]


class Other(msgspec.Struct, frozen=True):
    """Files that came out otherwise: `shown` are names or shapes, `now` and `usual` how many of a shape there are."""

    shown: str
    now: int = 0
    usual: int = 0


class Reference:
    """Undisturbed runs.

    Args:
        ends: theirs, two or more.
    """

    def __init__(self, ends: Sequence[End]) -> None:
        self.ends = ends
        self.files = Names([end.files for end in ends])
        self._reached = Names([{effect.what for effect in end.life.effects} for end in ends])
        self._logs = {self.files.common(e.what) for end in ends for e in end.life.effects if e.kind == "log"}
        self.kept = KeptByAll([end.life.outcome.kept for end in ends if end.life.outcome is not None])
        self._groups = [self._grouped(end.files) for end in ends]
        self._effects = [Counter((*self.identity(effect), effect.call) for effect in end.life.effects) for end in ends]

    def outcome(self) -> Outcome:
        """How the first of them ended."""
        found = self.ends[0].life.outcome
        assert found is not None
        return found

    def and_one_more(self, end: End) -> Reference:
        """With another undisturbed run."""
        return Reference([*self.ends, end])

    # -- ends ---------------------------------------------------------------------------------------------------------

    def fits(self, field: str, value: Any) -> bool:
        """Is that field of an outcome as they have it, in all that is the same in all of them?"""
        return varying_values.fits(self._common(field), _parsed(field, value))

    def difference(self, field: str, value: Any) -> tuple[str, Any, Any]:
        """Where that field of an outcome is another one, in words; what it is there, and what it is undisturbed."""
        at, was, now = varying_values.difference(self._common(field), _parsed(field, value))
        return (f"{at} of {FIELDS[field]}" if at else FIELDS[field]), now, was

    def new_failures(self, outcome: Outcome) -> list[Failure]:
        """The calls of steps that failed there and in none of them."""
        usual = {
            (failure.step, failure.call)
            for end in self.ends
            if end.life.outcome is not None
            for failure in end.life.outcome.failures
        }
        return [failure for failure in outcome.failures if (failure.step, failure.call) not in usual]

    def _common(self, field: str) -> Any:
        return varying_values.common([_parsed(field, getattr(end.life.outcome, field, None)) for end in self.ends])

    def agrees_with_oracle(self) -> bool:
        """Does the oracle say the same each time?"""
        return all(end.oracle == self.ends[0].oracle for end in self.ends)

    # -- files --------------------------------------------------------------------------------------------------------

    def _grouped(self, files: Mapping[str, Content]) -> dict[str, list[Content]]:
        """The files by their name or its shape."""
        found: dict[str, list[Content]] = {}
        for name in sorted(files):
            found.setdefault(self.files.common(name), []).append(files[name])
        return found

    def other_files(self, files: Mapping[str, Content], leave: Collection[str] = ()) -> list[Other]:
        """What is not as it is undisturbed.

        Args:
            files: of a run.
            leave: names, or their shapes, that are not compared.
        """
        now, (usual, *more) = self._grouped(files), self._groups
        found = []
        for common in sorted(usual.keys() | now.keys()):
            here, there = now.get(common, []), usual.get(common, [])
            others = [each.get(common, []) for each in more]
            if common in leave or any(len(each) != len(there) for each in others):
                continue
            if (
                len(here) != len(there)
                or any(
                    _all(there, field) != _all(here, field)
                    for field in _CLOSELY
                    if all(_all(there, field) == _all(each, field) for each in others)
                )
                or not all(map(varying_values.fits, _parts([there, *others]), _parts([here])))
            ):
                found.append(Other(self.files.shown(common), len(here), len(there)))
        return found

    def differing(self, here: Mapping[str, Content], there: Mapping[str, Content]) -> list[str]:
        """The files that a run leaves otherwise than all undisturbed runs and `here` do."""
        usual, *others = (end.files for end in self.ends)
        return [
            name
            for name in sorted(usual.keys() | there.keys())
            if all(each.get(name) == usual.get(name) for each in (*others, here)) and there.get(name) != usual.get(name)
        ]

    # -- effects ------------------------------------------------------------------------------------------------------

    def identity(self, effect: Effect) -> Identity:
        """By what effects are counted: names that are another one in each run are one."""
        return (effect.step, effect.kind, self._reached.common(effect.what))

    def shown(self, effects: Sequence[Effect]) -> str:
        """What effects that are alike reach: a shape, if that is another name each time."""
        what = effects[-1].what
        return what if all(each.what == what for each in effects) else self._reached.shown(self._reached.common(what))

    def usual(self, effect: Effect) -> int:
        """How often a call has such an effect: that call, or if it is another one in each run, any of its step."""
        identity = self.identity(effect)
        own = max(counts[*identity, effect.call] for counts in self._effects)
        if own:
            return own
        alike = [n for counts in self._effects for key, n in counts.items() if key[:3] == identity]
        return max(alike, default=1)

    # -- what is not compared -----------------------------------------------------------------------------------------

    def unstable(self) -> list[str]:
        """What differs between them, in words."""
        found = []
        first, *others = self._groups
        for common in sorted(set().union(*self._groups)):
            shown = self.files.shown(common)
            if common in self._logs:
                found.append(f"{shown}, a log")
                continue
            if any(len(each.get(common, ())) != len(first.get(common, ())) for each in others):
                found.append(f"how many files {shown} there are" if self.files.is_shape(common) else shown)
                continue
            if self.files.is_shape(common):
                found.append(f"the names of {shown}")
            differ = [f for f in _CLOSELY if any(_all(each[common], f) != _all(first[common], f) for each in others)]
            parts = [
                at for part in _parts([each[common] for each in self._groups]) for at in varying_values.differing(part)
            ]
            if differ and parts and all(parts):
                found += [f"{at} of {shown}" for at in parts[:SHOWN]]
            else:
                found += [_SAID[field].format(shown) for field in differ[-1:]]
        for field, said in FIELDS.items():
            parts = list(varying_values.differing(self._common(field)))
            found += [f"{at} of {said}" if at else said for at in parts[:SHOWN]]
        found += self.kept.unstable()
        if not self.agrees_with_oracle():
            found.append("what the oracle says")
        return found


def _parsed(field: str, value: Any) -> Any:
    return msgspec.json.decode(value) if field == "result" and value else value


def _parts(files: Sequence[Sequence[Content]]) -> list[Any]:
    """What the one file of each group has in common with the others, if they are JSON."""
    values = [each.value for group in files for each in group]
    alone = all(len(group) == 1 for group in files) and not any(each is None for each in values)
    return [varying_values.common(values)] if alone else []


def _all(contents: Sequence[Content], field: str) -> list[str]:
    return sorted(getattr(content, field) for content in contents)
