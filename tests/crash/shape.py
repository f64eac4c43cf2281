"""The workload shapes that are killed, and the controls that must be caught."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "shapes"


@dataclass(frozen=True)
class Shape:
    """One workload.

    Args:
        name: what it is called, and its file unless `editions` says otherwise.
        concurrency: how many steps it may have in flight, so how many one kill may run again.
        editions: the script's versions in the order in which they are deployed; all but the last end in an error.
        patient: the next edition is deployed when the one before has come to its error, never after a kill alone. Calls
            of one step in another order, of which only some were done, cannot be told from calls with other inputs.
        named: its run has an id, so that running it after its end returns the recorded result.
        own_files: it keeps data in files beside the state file, which the recorder of power cuts does not watch.
        slow: it starts processes of its own, and is left to the long runs.
        workers: those processes are workers, whose executors may be killed alone; the next goes on in the same life.
    """

    name: str
    concurrency: int = 1
    editions: tuple[str, ...] = ()
    named: bool = False
    patient: bool = False
    own_files: bool = False
    slow: bool = False
    workers: bool = False

    @property
    def files(self) -> list[Path]:
        return [FOLDER / f"{edition}.py" for edition in self.editions or (self.name,)]


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("brief"),
        Shape("sequential"),
        Shape("gather", concurrency=8),
        Shape("map_threads", concurrency=4),
        Shape("map_async", concurrency=6),
        Shape("nested"),
        Shape("retrying"),
        Shape("handled"),
        Shape("edited", editions=("edited_before", "edited_after")),
        Shape("reordered", editions=("edited_before", "reordered_after"), patient=True),
        Shape("mixed", concurrency=2),
        Shape("methods"),
        Shape("repeats"),
        Shape("named", named=True),
        Shape("dead_letters", concurrency=3),
        Shape("large"),
        Shape("nested_async", concurrency=3),
        Shape("artifacts", own_files=True),
        Shape("once", named=True),
        Shape("races", concurrency=2),
        Shape("threads", concurrency=4),
        Shape("waits", concurrency=4),
        Shape("signals", named=True),
        Shape("clean_up", named=True),
        Shape("redriven", concurrency=2, named=True),
        Shape("alerts", named=True, own_files=True),
        Shape("queued", concurrency=8, named=True, slow=True, workers=True),
        Shape("scheduled", concurrency=8, named=True, slow=True, workers=True),
        Shape("processes", concurrency=2, slow=True),
    )
}
QUICK = [name for name, shape in SHAPES.items() if not shape.slow]
"""Those that CI runs too."""
RECORDED = [name for name in QUICK if not SHAPES[name].own_files]
"""Those whose power is cut in a simulation; real file systems (proof R2) take the others."""

CONTROLS = {
    shape.name: shape
    for shape in (
        Shape("control_plain"),
        Shape("control_random_key"),
        Shape("control_forgetful"),
        Shape("control_unlocked", named=True),
    )
}
