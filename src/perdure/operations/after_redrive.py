"""What has to follow when dead letters were resolved: who sees the results, and the command by which others do."""

from __future__ import annotations

from collections.abc import Iterable
from shlex import quote

from perdure.core.records import CLEAN_UPS, RunRecord
from perdure.store import dead_letters
from perdure.store.calls_by_id import begun_by, calls_by_id
from perdure.store.runs import Store
from perdure.store.unseen_results import fork_of, record_of, unseen_records


def follow(store: Store, resolved: Iterable[tuple[int, bool]]) -> dict[int, str]:
    """One line for each run about what has to follow, by the number of each letter that it is about.

    A run that has not seen several results has one fork that sees them all.

    Args:
        store: the state file.
        resolved: the numbers of letters that were resolved, and whether the run of each will see the result.
    """
    tops: dict[int, RunRecord] = {}
    letters: dict[int, list[int]] = {}
    missed: dict[int, list[int]] = {}  # the records that a fork has to take over
    resumed: set[int] = set()
    for lid, seen in resolved:
        letter = dead_letters.get(store, lid)
        run = store.run_by_number(letter.run)
        seq: int | None = letter.seq
        if not letter.seq or store.record(run.rid, letter.seq).kind in CLEAN_UPS:
            continue  # the run has ended with that, or nothing consumes it
        for parent in store.parents(run):
            if seq is None:
                break
            run, seq = parent, record_of(store, parent, run)
        top = _top(store, run)
        tops[top.rid] = top
        letters.setdefault(top.rid, []).append(lid)
        if run.parent is not None or seq is None or (seen and run.status not in ("done", "cancelled")):
            resumed.add(top.rid)
        else:
            missed.setdefault(top.rid, []).append(seq)
    ids = {top.id for rid, top in tops.items() if top.named and rid not in resumed} if len(tops) > 1 else set()
    lines = {rid: _line(store, top, rid in resumed, missed.get(rid, ()), ids) for rid, top in tops.items()}
    return {lid: lines[rid] for rid in tops for lid in letters[rid]}


def _line(store: Store, run: RunRecord, resumed: bool, missed: Iterable[int], forked: set[str]) -> str:
    """`forked` are the runs by an id that have a fork of their own."""
    id = quote(run.id)
    if resumed:
        late = "; what has consumed others of them does not, and its end names the fork that makes it again"
        return f"run {run.id} sees it when it is resumed: perdure resume {id}{late if missed else ''}"
    how = "has gone on since" if run.status not in ("done", "cancelled") else f"is {run.status}"
    return (
        f"run {run.id} {how}, and what has consumed the items does not see the result: "
        f"{fork_of(store, run, [*missed, *unseen_records(store, run)])} makes it again{_kept(store, run, forked)}"
    )


def _kept(store: Store, run: RunRecord, forked: set[str]) -> str:
    """Which results of runs by an id a run keeps in that fork, and how it gets those that their forks have."""
    ended = calls_by_id(store, run) if forked else {}
    ids = [(end, begun_by(store, run.rid, seq)) for seq, end in ended.items() if end is not None]
    taken = sorted((end, id) for end, id in ids if id in forked)
    if not taken:
        return ""
    first, called = taken[0]
    more = f" and {len(taken) - 1:,} more" if len(taken) > 1 else ""
    return (
        f", and keeps the result of {called}{more}; to have the new one, fork {called}{more} first, then "
        f'perdure fork {quote(run.id)} --from "#{first}", which makes again all that came after'
    )


def _top(store: Store, run: RunRecord) -> RunRecord:
    return [run, *store.parents(run)][-1]
