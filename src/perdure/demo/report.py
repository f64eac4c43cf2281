"""How the demo looks: colours and a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from perdure.demo.ledger import Effect, Line, Mark, Request
from perdure.demo.proof import AGAIN, Claim, split
from perdure.demo.trial import Ended


class Report:
    """Prints what happens, as it happens.

    Args:
        console: where to; a terminal gets colours and a bar.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    def line(self, text: str = "", style: str = "") -> None:
        """One line, never wrapped: it may be read by a program."""
        self._console.print(text, style=style, soft_wrap=True, markup=False, highlight=False)

    @contextmanager
    def charging(self, total: int) -> Iterator[Callable[[int], None]]:
        """Show progress while the script runs; gives the function to call with the number of charged orders."""
        if not self._console.is_terminal:
            yield self._quarters(total)
            return
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("orders charged"), TimeElapsedColumn())
        with Progress(TextColumn(" "), *columns, console=self._console) as progress:
            task = progress.add_task("", total=total)
            yield lambda charged: progress.update(task, completed=charged)

    def _quarters(self, total: int) -> Callable[[int], None]:
        said: set[int] = set()

        def charged(count: int) -> None:
            quarter = 4 * count // total
            if quarter not in said:
                said.add(quarter)
                self.line(f"  {count} of {total} orders charged")

        return charged

    def ended(self, ended: Ended, charged: int) -> None:
        """How a run of the script ended, what it printed, and how many orders are charged by now."""
        for line in ended.output.splitlines():
            self.line(f"  {line}")
        how = f"kill -9 {ended.pid}" if ended.killed else f"process {ended.pid} ended with status {ended.status}"
        self.line(f"  {how} after {ended.seconds:.1f} s, {charged} orders charged", "bold red" if ended.killed else "")
        self.line()

    def requests(self, lines: Sequence[Line]) -> None:
        """What the API did, counted in its ledger, one column a run."""
        runs = [Counter(_what(request) for request in run) for run in split(lines)]
        self.line(f"{'What the API did, from its own ledger':<52}{'1st run':>9}{'2nd run':>9}", "bold")
        for what in sorted(set().union(*runs)):
            self.line(f"  {what:<50}{runs[0][what]:>9}{runs[1][what]:>9}")
        self.line(f"  {'all requests':<50}{runs[0].total():>9}{runs[1].total():>9}")
        self.line()

    def proof(self, claims: Sequence[Claim]) -> None:
        """Every claim, and what is wrong with those that do not hold."""
        self.line("What that proves", "bold")
        for claim in claims:
            self.line(f"  {'ok   ' if claim.holds else 'WRONG'}  {claim.text}", "green" if claim.holds else "bold red")
            for problem in claim.problems:
                self.line(f"           {problem}", "red")
        self.line()

    def times(self, first: Ended, second: Ended, lines: Sequence[Line]) -> None:
        """How long it took, and how long the second run took to be where the first had stopped."""
        asked = next((n for n, line in enumerate(lines) if isinstance(line, Mark) and line.name == AGAIN), len(lines))
        text = f"Both runs took {first.seconds + second.seconds:.1f} s"
        if further := lines[asked + 1 :]:
            resumed = further[0].seconds - lines[asked].seconds
            text += f"; the second sent its first request {resumed:.2f} s after it was started"
        self.line(f"{text}.")


def _what(request: Request) -> str:
    replayed = ", key known: nothing charged" if request.effect is Effect.REPLAYED else ""
    charged = ", charged" if request.effect is Effect.CHARGED and not request.outcome.startswith("charged") else ""
    return f"{request.outcome}{charged}{replayed}"
