"""Numbers about a state file in the text format of Prometheus: what `perdure ui` answers at /metrics.

No label is the id of a run: what a monitoring system keeps grows with its labels.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from perdure.config import secrets
from perdure.core.redaction.printable import printable
from perdure.operations.alerts import pending
from perdure.operations.breakers import list_breakers
from perdure.operations.location import Location, opened
from perdure.store import metrics, run_pages

MOST = 10_000
"""Running runs of which it is looked up whether a process executes them."""

Sample = tuple[Mapping[str, str], float]


def metrics_of(location: Location) -> str:
    """The metrics of a state file, as Prometheus reads them.

    Args:
        location: the state file.

    Raises:
        StateError: the file cannot be read.
    """
    now = time.time()
    with opened(location) as store:
        counts = metrics.runs(store)
        for run in run_pages.newest(store, MOST, "running")[0]:
            if not run.superseded and store.holding(run) is None:
                counts[run.workflow, "running"] = max(counts.get((run.workflow, "running"), 0) - 1, 0)
                counts[run.workflow, "interrupted"] = counts.get((run.workflow, "interrupted"), 0) + 1
        oldest = metrics.oldest(store)
        successes = {
            workflow: metrics.last_success(store, workflow) for workflow in sorted({name for name, _ in counts})
        }
        letters = metrics.letters(store)
    breakers = [one for one in list_breakers(location) if one.state]
    files = [location.path, location.path.with_name(location.path.name + "-wal")]
    families: tuple[tuple[str, str, Iterable[Sample]], ...] = (
        (
            "perdure_runs",
            "Runs by how they stand, without child runs.",
            [({"workflow": name, "status": status}, count) for (name, status), count in sorted(counts.items())],
        ),
        (
            "perdure_run_oldest_seconds",
            "Age of the oldest run that has not ended.",
            [({"workflow": name}, max(now - created, 0.0)) for name, created in sorted(oldest.items())],
        ),
        (
            "perdure_run_last_success_timestamp_seconds",
            "When a run was done last.",
            [({"workflow": name}, ended) for name, ended in successes.items() if ended is not None],
        ),
        (
            "perdure_dead_letters",
            "Dead letters that are parked.",
            [({"workflow": name, "step": step, "error": error}, count) for name, step, error, count in letters],
        ),
        (
            "perdure_breaker_open",
            "1 where a circuit breaker lets no call through.",
            [({"name": one.name}, float(one.state in ("open", "isolated"))) for one in breakers],
        ),
        ("perdure_alerts_pending", "Alerts that wait to be delivered.", [({}, len(pending(location, None).alerts))]),
        (
            "perdure_state_bytes",
            "Size of the state file with its write-ahead log.",
            [({}, sum(path.stat().st_size for path in files if path.exists()))],
        ),
    )
    hide = secrets.redactor()
    lines = []
    for name, text, samples in families:
        lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
        for labels, value in samples:
            inner = ",".join(f'{key}="{_escaped(hide(label))}"' for key, label in labels.items())
            lines.append(f"{name}{{{inner}}} {value:.15g}" if inner else f"{name} {value:.15g}")
    return "\n".join(lines) + "\n"


def _escaped(label: str) -> str:
    """A label's value: a backslash, a quote and the end of a line have another meaning in this format."""
    return printable(label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n"))
