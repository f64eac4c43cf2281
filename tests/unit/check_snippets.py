"""Reads the snippets of a corpus for `perdure check`, and compares what is found with what is marked.

A file `NAME.py.txt` begins with a header, which stands before each of its snippets. A snippet begins with
`# --- bad: WHAT` or `# --- good: WHAT`. A line on which something has to be found ends with `# <- CODE`, one mark for
each code. A good snippet is a near miss of the rules that the bad one before it breaks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from perdure.check.catalogue import RULES
from perdure.check.checker import check

MARK = re.compile(r"<- ([a-z-]+)")
CUT = re.compile(r"^# --- (header|bad|good)(?:: (.*))?\n", re.MULTILINE)


@dataclass(frozen=True)
class Snippet:
    file: str
    what: str
    text: str
    near: frozenset[str] = frozenset()

    @property
    def expected(self) -> set[tuple[int, str]]:
        lines = enumerate(self.text.splitlines(), start=1)
        return {(number, code) for number, line in lines for code in MARK.findall(line)}

    def found(self, folder: Path) -> set[tuple[int, str]]:
        """The errors and warnings of the check, as lines and codes."""
        script = folder / "snippet.py"
        script.write_text(self.text, encoding="utf-8")
        report = check([script])
        assert not report.problems, (self.what, report.problems)
        return {(one.line, one.code) for one in report.findings}


@dataclass
class Score:
    """What was right: lines of the marks that were found, and lines that were found without a mark."""

    marked: dict[str, int] = field(default_factory=dict)
    hit: dict[str, int] = field(default_factory=dict)
    false: dict[str, int] = field(default_factory=dict)
    misses: list[str] = field(default_factory=list)

    def add(self, snippet: Snippet, folder: Path) -> None:
        expected, found = snippet.expected, snippet.found(folder)
        for _, code in expected:
            self.marked[code] = self.marked.get(code, 0) + 1
        for line, code in sorted(expected | found):
            if (line, code) in expected & found:
                self.hit[code] = self.hit.get(code, 0) + 1
                continue
            kind = "missed" if (line, code) in expected else "false"
            if kind == "false":
                self.false[code] = self.false.get(code, 0) + 1
            shown = snippet.text.splitlines()[line - 1].strip()
            self.misses.append(f"{kind} {code}: {snippet.file}: {snippet.what}: {shown}")

    def false_share(self, *severities: str) -> float:
        hits, false = _of(self.hit, severities), _of(self.false, severities)
        return false / (hits + false) if hits + false else 0.0

    def recall(self, *severities: str) -> float:
        return _of(self.hit, severities) / _of(self.marked, severities)


def _of(counts: dict[str, int], severities: tuple[str, ...]) -> int:
    return sum(number for code, number in counts.items() if RULES[code].severity in severities)


def snippets(folder: Path) -> Iterator[Snippet]:
    for path in sorted(folder.glob("*.py.txt")):
        parts = CUT.split(path.read_text(encoding="utf-8"))[1:]
        header, near = "", frozenset[str]()
        for kind, what, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
            if kind == "header":
                header = text
            else:
                near = frozenset(MARK.findall(text)) if kind == "bad" else near
                yield Snippet(path.name, f"{kind}: {what}", header + text, near)
