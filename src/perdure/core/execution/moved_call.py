"""A completed call that an edit seems to have moved from one run of a tree to another."""

from __future__ import annotations

from typing import NamedTuple


class TreeRun(NamedTuple):
    """A run of the tree: number, id, the number of its parent (None: the root), workflow, and the key of its inputs."""

    rid: int
    id: str
    parent: int | None
    workflow: str
    key: bytes


class Moved(NamedTuple):
    """A completed call that another run is about to make: record `seq` of the run `before`; that run is `now`."""

    before: TreeRun
    now: TreeRun
    seq: int
    root: str
