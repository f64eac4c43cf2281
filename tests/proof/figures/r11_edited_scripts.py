"""R11: scripts that were edited between a crash and the next try."""

from __future__ import annotations

import tempfile
from itertools import islice
from pathlib import Path
from unittest.mock import patch

from tests.proof import edited_scripts
from tests.proof.edited_scripts import CALLS, EDITS
from tests.proof.form import Figures, Proof

from perdure.engines.local import engine as loaded_before_the_forks  # noqa: F401


def run(part: int, seed: int, cases: int) -> Figures:
    """Every edit, at one place of death a part."""
    place = part % CALLS + 1
    found = Figures(seen={"edits": set()})
    with tempfile.TemporaryDirectory() as folder:
        bench = edited_scripts.Bench(Path(folder))
        for edit in islice(EDITS, cases):
            verdict = bench.trial(edit, place)
            found.cases += 1
            found.counts[verdict.how] += 1
            found.seen["edits"].add(edit.name)
            if verdict.how == "wrong":
                found.failures.append(edited_scripts.line(edit, place, verdict))
    return found


def control(seed: int) -> Figures:
    """The same when no call finds its record, and none is judged for that."""
    from perdure.core.execution.history import History

    nothing_found = patch.object(History, "claim", lambda self, call: None)
    with nothing_found, patch.object(History, "unsettled", lambda self, name, key=b"": False):
        return run(9, seed, 8)


PROOF = Proof(
    name="R11",
    claim="a script that was edited after it was killed: the edit is caught before any effect, or what was completed "
    "is not executed again and the rest is done",
    unit="edits at places of death",
    size=len(EDITS) * CALLS,
    part=len(EDITS),
    parts=CALLS,
    run=run,
    control=control,
    controlled="no call finds its record, and none is judged",
    short="tests/integration/test_edited_scripts.py",
)
