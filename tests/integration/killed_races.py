"""The judge of random programs that race: killed twice, at effects of theirs, each life goes the way of the one before.

A program writes into the file `ledger` what it "did", what it "saw", and each "order" of results that it has come to.
"""

from __future__ import annotations

import ast
import random

from conftest import Scripts


def judge(scripts: Scripts, program: str, seed: int) -> None:
    """Execute the program until it ends: no call is made again whose result was seen, and the order is that of before.

    Args:
        scripts: where it is written and executed, with KILL_AT (the effect at which it dies; 0: none) and SEED set.
        program: the script.
        seed: decides what it does, and when it dies.
    """
    rng = random.Random(seed)
    script = scripts.write(program)
    ledger = script.parent / "ledger"
    ledger.touch()
    seen: set[str] = set()
    orders: list[list[int]] = []
    for kill_at in (rng.randint(1, 20), rng.randint(1, 10), 0):
        before = len(ledger.read_text().splitlines())
        done = scripts.run(script, KILL_AT=str(kill_at), SEED=str(seed), PERDURE_CRASH_LIMIT="1000")
        lines = [line.split(" ", 1) for line in ledger.read_text().splitlines()[before:]]
        assert not seen & {n for what, n in lines if what == "did"}, done.stderr
        seen |= {n for what, n in lines if what == "saw"}
        orders += [ast.literal_eval(order) for what, order in lines if what == "order"]
        if done.returncode == 0:
            break
        assert done.returncode == -9, done.stderr
    assert done.returncode == 0, done.stderr
    assert all(order == orders[-1][: len(order)] for order in orders), orders
