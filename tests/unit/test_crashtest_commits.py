"""How crashtest sees the commits of a database, by the statements that sqlite3 is about to execute."""

from __future__ import annotations

import sqlite3

from perdure.crashtest.commits import Commits


def test_each_commit_is_told_once_before_it_happens() -> None:
    """Of transactions their end, of statements on their own each that changes something; reading is no change."""
    told: list[int] = []
    db = sqlite3.connect(":memory:")
    alone = sqlite3.connect(":memory:", isolation_level=None)
    for one in (db, alone):
        one.set_trace_callback(Commits(lambda: told.append(len(told))))
    db.execute("create table t (a)")
    assert len(told) == 1
    db.executemany("insert into t values (?)", [(1,), (2,)])
    assert len(told) == 1
    db.commit()
    assert len(told) == 2
    db.execute("insert into t values (3)")
    db.rollback()
    db.execute("select * from t").fetchall()
    assert len(told) == 2
    alone.execute("create table t (a)")
    alone.execute("insert into t values (1)")
    alone.execute("pragma user_version").fetchall()
    assert len(told) == 4
    db.close()
    alone.close()
