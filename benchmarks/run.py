"""Measures perdure beside the raw floor and DBOS, in one session: `python benchmarks/run.py`.

See benchmarks/README.md for what each workload is and how the ratios are formed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import machine
import table
from cases import CASES, MILLION, PEERS, Case
from environments import HERE, prepare
from measure import Failure, Measurer

_PROBE = Case("probe", "probe", "steps", "sequential", 3_000)


def main() -> int:
    """Runs the benchmarks; 1 if a measurement failed (a missed target is not a failure)."""
    options = _options()
    options.state.mkdir(parents=True, exist_ok=True)
    if (kind := machine.file_system_of(options.state)) in machine.MEMORY_FILE_SYSTEMS - {"unknown"}:
        print(f"{options.state} lies on {kind}: choose a real disk with --state", file=sys.stderr)
        return 2
    facts = {"date": time.strftime("%Y-%m-%d")} | machine.facts(options.state)
    facts["load before"] = f"{os.getloadavg()[1]:.1f} (5 minutes)"
    facts["peers"] = _prepare(options)
    cases = [case for case in (*CASES, *(MILLION if options.million else ())) if case.workload in options.workloads]
    place = Path(tempfile.mkdtemp(prefix="session-", dir=options.state))
    try:
        measurer = Measurer(place)
        facts["raw floor"] = f"{measurer.measure(_PROBE, 'floor')['rate']:,.0f} commits/s"
        results, failures = _rounds(measurer, cases, options.peers, options.rounds)
    except Failure as failure:
        print(f"FAILED: the raw floor could not be measured: {failure}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(place)
    facts["load while it ran"] = f"{os.getloadavg()[1]:.1f} (5 minutes; near 1 or less: nobody disturbed it)"
    text = _report(facts, results, options.peers, options.rounds)
    print(text)
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    if options.results:
        options.results.write_text(
            f"# Results\n\n`python benchmarks/run.py`; README.md says what is measured.\n\n{text}\n"
        )
    if options.json:
        options.json.write_text(json.dumps({"machine": facts, "results": results, "failures": failures}, indent=1))
    return 1 if failures else 0


def _prepare(options: argparse.Namespace) -> str:
    """What is installed of each peer. A peer that cannot be had is named and left out, unless the rest needs it."""
    found: dict[str, None] = {}
    for peer in dict.fromkeys(["floor", *options.peers]):
        try:
            found[prepare(peer)] = None
        except (subprocess.CalledProcessError, OSError) as error:
            if peer in ("floor", "perdure"):
                raise
            found[f"{peer} is left out: it cannot be installed here"] = None
            print(f"{peer} is left out: {error}", file=sys.stderr)
            options.peers.remove(peer)
    return "; ".join(found)


def _rounds(measurer: Measurer, cases: list[Case], peers: list[str], rounds: int) -> tuple[table.Results, list[str]]:
    """Measures A B C, A B C, ...: what slows the machine down for a while hits all peers alike."""
    results: table.Results = {case.name: {} for case in cases}
    failures: list[str] = []
    for case in cases:
        repeats = 1 if case in MILLION else rounds
        for number in range(1, repeats + 1):
            for peer in (peer for peer in peers if peer in case.peers):
                print(f"{case.name}, round {number} of {repeats}: {peer}", file=sys.stderr)
                figures: dict[str, float] | None = None
                try:
                    figures = measurer.measure(case, peer)
                except Failure as failure:
                    failures.append(f"{case.name}: {failure}")
                    print(f"FAILED: {failure}", file=sys.stderr)
                results[case.name].setdefault(peer, []).append(figures)
    return results, failures


def _report(facts: dict[str, str], results: table.Results, peers: list[str], rounds: int) -> str:
    lines = [f"- {name}: {value}" for name, value in facts.items()]
    lines += [f"- rounds: {rounds}, interleaved; each run in a fresh process and a fresh folder", ""]
    lines += [table.aligned(table.medians(results, peers))]
    payloads = {
        peer: figures[-1]["payload"]
        for peer, figures in results.get("w6", {}).items()
        if peer in ("floor", "perdure") and figures and figures[-1]
    }
    if payloads:
        lines += ["", "text and blobs in a step row: " + ", ".join(f"{k} {v:.1f} bytes" for k, v in payloads.items())]
    if "perdure" in peers:
        lines += ["", table.aligned(table.verdicts(results))]
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    workloads = list(dict.fromkeys(case.workload for case in CASES))
    parser.add_argument("--workloads", type=_list(workloads), default=workloads, metavar="w1,w2", help="default: all")
    parser.add_argument("--peers", type=_list(PEERS), default=list(PEERS), metavar="perdure,floor", help="default: all")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (default: %(default)s)")
    parser.add_argument("--million", action="store_true", help="w3 also with 1,000,000 items, perdure alone, once")
    parser.add_argument("--state", type=Path, default=HERE / ".state", help="a folder on a real disk")
    parser.add_argument(
        "--results", type=Path, metavar="FILE", help="also write what is printed, as benchmarks/RESULTS.md"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every single figure to this file")
    return parser.parse_args()


def _list(known: Sequence[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(known)}")
        return [name for name in known if name in names]

    return parse


if __name__ == "__main__":
    sys.exit(main())
