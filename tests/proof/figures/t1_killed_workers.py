"""T1: the workers of a Temporal cluster are killed, one after the other."""

from __future__ import annotations

import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.proof.form import Figures, Proof, each_of

sys.path.insert(0, str(Path(__file__).parents[2]))  # as pytest has it

from tests.conformance.conftest import OF_A_CLUSTER, Server
from tests.conformance.test_kills import VICTIM, carry_through_kills

import warm
from perdure.errors import PerdureError

TWICE = "one effect for each call"
"""What the judge has to miss of a control: a server that does not come up would fail it, too."""
OTHER_KEYS = ("key = perdure.idempotency_key()", "key = os.urandom(8).hex()")


def run(part: int, seed: int, cases: int) -> Figures:
    """A server, and runs whose workers are killed."""
    return judged(cases, lambda server, folder: carry_through_kills(server, folder, cases, seed + part))


def judged(cases: int, campaign: Callable[[Server, Path], str], *, kept: bool = False) -> Figures:
    """What a campaign on a server of its own finds; one that breaks off is one case, however many were to come."""
    found = Figures(cases)
    with tempfile.TemporaryDirectory(prefix="perdure-proof-") as name:
        server = Server(Path(name), kept=kept)
        try:
            with warm.loaded(*OF_A_CLUSTER):
                numbers = re.findall(r"(\d+) (runs|calls|of them executed again)", campaign(server, Path(name)))
            found.counts = Counter({what: int(number) for number, what in numbers})
        except (AssertionError, PerdureError) as error:
            found.cases = 1
            found.failures.append(str(error)[:500])
        finally:
            server.stop()
    return found


def control(seed: int) -> Figures:
    """The same with keys that each execution makes up anew."""
    text = VICTIM.read_text().replace(*OTHER_KEYS)
    return each_of(judged(2, lambda server, folder: carry_through_kills(server, folder, 2, seed, text)), TWICE)


def says(found: Figures) -> str:
    runs, calls, again = (found.counts[each] for each in ("runs", "calls", "of them executed again"))
    return f"{runs:,} runs, {calls:,} calls; {again:,} that were in flight executed again, under the same key"


PROOF = Proof(
    name="T1",
    claim="workers of a cluster killed: every run ends with its result, nothing completed is executed again, one effect"
    " for each call",
    unit="killed workers",
    size=1_000,
    part=25,
    run=run,
    control=control,
    controlled="keys made up anew",
    short="tests/conformance/test_kills.py",
    says=says,
    alone=True,
)
