"""How fast `perdure check` is: `python benchmarks/check.py`, with perdure installed.

The ratio is CPU time of the check to that of `ast.parse` of the same bytes, in the same process and by turns. The
scripts are the snippets of tests/check_corpus, of which nearly every function is a step or a workflow: the dense case.
"""

from __future__ import annotations

import ast
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from perdure.check.checker import check

CORPUS = Path(__file__).parents[1] / "tests" / "check_corpus"
ROUNDS = 7
STARTS = 11
LINES_OF_ONE = 300


def scripts(folder: Path) -> list[Path]:
    """The snippets as files."""
    found = []
    for path in sorted(CORPUS.rglob("*.py.txt")):
        parts = re.split(r"^# --- (?:header|bad|good).*\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
        for number, text in enumerate(parts[1:]):
            file = folder / f"{path.stem.replace('.', '_')}_{number}.py"
            file.write_text(parts[0] + text, encoding="utf-8")
            found.append(file)
    return found


def cpu(work: Callable[[], object]) -> float:
    """Seconds of CPU."""
    start = time.process_time()
    work()
    return time.process_time() - start


def whole_process(words: list[str]) -> tuple[float, float]:
    """Milliseconds from spawn to exit, and of CPU, the medians."""
    taken, used = [], []
    for _ in range(STARTS):
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "perdure", *words], stdout=subprocess.DEVNULL, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append((time.perf_counter() - start) * 1e3)
        used.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3)
    return statistics.median(taken), statistics.median(used)


def main() -> None:
    """Prints the figures."""
    with tempfile.TemporaryDirectory() as place:
        files = scripts(Path(place))
        texts = [file.read_text(encoding="utf-8") for file in files]
        lines = sum(text.count("\n") for text in texts)
        check(files)
        checks, parses = [], []
        for _ in range(ROUNDS):
            checks.append(cpu(lambda: check(files)))
            parses.append(cpu(lambda: [ast.parse(text) for text in texts]))
        ratio = statistics.median(one / other for one, other in zip(checks, parses, strict=True))
        rate = lines / statistics.median(checks)
        print(f"{lines:,} lines in {len(files)} files: {rate:,.0f} lines/s of CPU; {ratio:.1f} times ast.parse")
        one = Path(place) / "one.py"
        one.write_text(_of_lines(texts, LINES_OF_ONE), encoding="utf-8")
        for name, words in ((f"check of {LINES_OF_ONE} lines", ["check", str(one)]), ("--version", ["--version"])):
            took, used = whole_process(words)
            print(f"perdure {name}, whole process: {took:.0f} ms, {used:.0f} ms of CPU")


def _of_lines(texts: list[str], most: int) -> str:
    """A script of about so many lines: as many snippets as fit."""
    kept: list[str] = []
    for text in texts:
        if sum(one.count("\n") for one in [*kept, text]) <= most:
            kept.append(text)
    return "\n".join(kept)


if __name__ == "__main__":
    main()
