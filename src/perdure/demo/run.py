"""The demo: 200 orders, an API that misbehaves, a kill -9 half way, a second run, and the proof."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console

from perdure.demo import account
from perdure.demo.api import Order, refusal
from perdure.demo.ledger import charged
from perdure.demo.proof import AGAIN, KILLED, Claim, prove
from perdure.demo.report import Report
from perdure.demo.trial import Ended, Trial
from perdure.errors import OptionError

CONCURRENCY = 8
"""How many orders orders.py has in flight."""

FEWEST = 30
"""With fewer orders some of the mishaps would not come about."""

_HERE = Path(__file__).parent


def main(orders: int = 200, seed: int = 7, keep: Path | None = None, console: Console | None = None) -> int:
    """Run the demo.

    Args:
        orders: how many to charge, 30 to 200.
        seed: decides how the API misbehaves; the same seed, the same mishaps.
        keep: a new or empty folder in which script, state and ledger are kept; by default it is a temporary one, kept
            only if the proof fails.
        console: where to print; standard output by default.

    Returns:
        0 if every claim of the proof holds, else 1.

    Raises:
        OptionError: there are not so many orders, or the folder is not empty.
    """
    lines = (_HERE / "orders.jsonl").read_bytes().splitlines()
    if not FEWEST <= orders <= len(lines):
        raise OptionError(f"{orders} orders are asked for", f"give a number from {FEWEST} to {len(lines)}")
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        if any(keep.iterdir()):
            raise OptionError(f"the folder {keep} is not empty", "name another one")
    report = Report(console or Console())
    folder = keep or Path(tempfile.mkdtemp(prefix="perdure-demo-"))
    try:
        claims = demonstrate(folder, _HERE / "orders.py", lines[:orders], seed, report)
    except KeyboardInterrupt:
        if not keep:
            shutil.rmtree(folder)
        raise
    wrong = [claim for claim in claims if not claim.holds]
    if keep or wrong:
        report.line(f"Script, state and ledger are in {folder}")
    else:
        shutil.rmtree(folder)
    if wrong:
        report.line(f"{len(wrong)} of {len(claims)} claims do not hold.", "bold red")
    return 1 if wrong else 0


def demonstrate(folder: Path, script: Path, lines: Sequence[bytes], seed: int, report: Report) -> list[Claim]:
    """Run `script` against the API, kill it half way, run it again, and say what can be proved.

    Args:
        folder: an empty folder to do it in.
        script: orders.py, or a variant of it.
        lines: the orders, as JSON.
        seed: decides how the API misbehaves.
        report: where to show it.
    """
    orders = [msgspec.json.decode(line, type=Order) for line in lines]
    good = sum(refusal(order) is None for order in orders)
    report.line(f"{len(orders)} orders, {CONCURRENCY} at a time, to an API that misbehaves (seed {seed})", "bold")
    report.line()
    with Trial(folder.absolute(), script, lines, seed) as trial:  # its processes work in that folder
        report.line(f"$ python {script.name}", "bold")
        with report.charging(good) as progress:
            first = trial.run(progress, kill_at=good // 2)
        trial.mark(KILLED)
        report.ended(first, len(charged(trial.lines())))
        saved = account.settled(trial.state)
        trial.mark(AGAIN)
        report.line(f"$ python {script.name}", "bold")
        with report.charging(good) as progress:
            second = trial.run(progress)
        ledger = trial.lines()
        report.ended(second, len(charged(ledger)))
    claims = [_ended(first, second), *prove(orders, ledger, account.read(trial.state, saved), CONCURRENCY)]
    report.requests(ledger)
    report.proof(claims)
    report.times(first, second, ledger)
    return claims


def _ended(first: Ended, second: Ended) -> Claim:
    problems = [] if first.killed else [f"the first run ended by itself, with status {first.status}"]
    if second.status != 0:
        problems.append(f"the second run ended with status {second.status}")
    return Claim("killed-then-finished", f"process {first.pid} was killed, process {second.pid} finished", problems)
