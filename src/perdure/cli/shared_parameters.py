"""Parameters that several commands have, written once."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter
from cyclopts.validators import Number

from perdure.cli.view.terminal import Printer
from perdure.operations.location import Location, locate, locate_beside_cluster

WHERE = Group("State file", sort_key=2)

State = Annotated[Path | None, Parameter("--state", group=WHERE, help="The state file.")]
File = Annotated[
    Path | None, Parameter("--file", group=WHERE, help="A script, whose settings and .perdure/state.db are meant.")
]
Engine = Annotated[
    str | None,
    Parameter("--engine", group=WHERE, help='A cluster: "temporal://HOST:7233/NAMESPACE"; TLS: "temporal+tls://..."'),
]
MovedScript = Annotated[Path | None, Parameter("--file", help="The script, if it is not where it was.")]
Json = Annotated[bool, Parameter("--json", negative="", help="One line of JSON, for programs.")]
LogJson = Annotated[bool, Parameter("--log-json", negative="", help="Standard error is one JSON object a line.")]
Quiet = Annotated[
    bool, Parameter(("--quiet", "-q"), negative="", help="Nothing on standard error of a run that goes well.")
]
Watch = Annotated[bool, Parameter(("--watch", "-w"), negative="", help="Go on showing it as it changes, until Ctrl-C.")]
Verbose = Annotated[bool, Parameter(("--verbose", "-v"), negative="", help="Tracebacks too.")]
COUNT = Number(gte=0, lte=2**31)
"""Of rows: more than there are is a mistake, and what SQLite cannot count."""

Limit = Annotated[int, Parameter("--limit", validator=COUNT, help="How many at most; 0 for all.")]
Budget = Annotated[
    list[str] | None,
    Parameter(
        "--budget", negative="", help="Raise a bound of its budgets: usd=5, tokens=1000000, calls=100 or seconds=900."
    ),
]
ALL = Group("With --all", sort_key=1)

RunOrScript = Annotated[
    str | None,
    Parameter(help='A run\'s id, the beginning of it, or "last"; with --all: a script, if not all are meant.'),
]
AllRuns = Annotated[
    bool, Parameter(("--all", "-a"), group=ALL, negative="", help="Each unfinished run, the oldest first.")
]
ONLY_THOSE = Parameter(group=ALL, negative="", help="Only runs that stand so; else failed and interrupted.")
OfWorkflow = Annotated[str | None, Parameter(group=ALL, help="Only runs of this workflow.")]
Unmoved = Annotated[str | None, Parameter(group=ALL, help="Only runs that have not moved for so long: 30m, 2h, 1d.")]
WithText = Annotated[str | None, Parameter(group=ALL, help="Only runs with this in their id or their inputs.")]

Reference = Annotated[str, Parameter(help='A run\'s id, the beginning of it, or "last".')]


@Parameter(name="*")
@dataclass(frozen=True)
class WhichStateFile:
    """Which state file is meant, for commands that no cluster has."""

    state: State = None
    file: File = None

    def locate(self) -> Location:
        """The state file, also if the settings name a cluster."""
        return locate_beside_cluster(self.state, self.file)

    def locate_for_runs(self, *, also_missing: bool = False) -> Location:
        """The same for what is about runs: that those of the cluster are not meant is said."""
        location = self.locate()
        if location.aside and (also_missing or location.is_there()):
            Printer(sys.stderr).line(f"this is about {location.path}: {location.aside}")
        return location


@Parameter(name="*")
@dataclass(frozen=True)
class Where:
    """Which state file or cluster is meant."""

    state: State = None
    file: File = None
    engine: Engine = None

    def locate(self) -> Location:
        """The state file or the cluster.

        Raises:
            OptionError: both were named.
        """
        return locate(self.state, self.file, self.engine)


ANY_STATE_FILE = WhichStateFile()
ANYWHERE = Where()
