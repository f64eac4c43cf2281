"""Draws the random programs of race_programs.py."""

from __future__ import annotations

import random
from typing import Any

from tests.integration.race_programs import KINDS

FAILING = ("fails", "raises", "hurts", "alarm", "all", "exception")


def program(seed: int, depth: int = 3, *, failures: bool = False) -> list[Any]:
    """A random program."""
    chance = random.Random(seed)
    names = iter(range(1000))

    def ticks() -> int:
        return chance.choice((1, 2, 3, 5, 8, 400))

    def several(depth: int) -> list[Any]:
        return [node(depth - 1) for _ in range(chance.choice((2, 2, 3)))]

    def node(depth: int) -> list[Any]:
        if depth <= 0:
            kind = chance.choice(("work", "work", "work", "sleep", *(("fails", "hurts") if failures else ("work",))))
        else:
            kind = chance.choice(
                [
                    kind
                    for kind in KINDS
                    if kind not in ("raises", "sleep", "hurts") and (failures or kind not in FAILING)
                ]
            )
        name = f"{kind}{next(names)}"
        match kind:
            case "work" | "fails" | "hurts":
                return [kind, name]
            case "sleep":
                return [kind, name, ticks()]
            case "map":
                return [kind, name, chance.choice((1, 3))]
            case "child" | "alarm":
                return [kind, name, node(depth - 1)]
            case "wait_for" | "timeout" | "shield" | "flag":
                return [kind, name, node(depth - 1), ticks()]
            case "group":
                nodes = several(depth)
                return [kind, name, [*nodes, ["raises", f"{name}r"]] if failures and chance.random() < 0.5 else nodes]
        return [kind, name, several(depth)]

    return ["sequence", "all", [node(depth) for _ in range(2)]]
