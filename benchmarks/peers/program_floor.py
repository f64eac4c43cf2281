"""Three rows at the raw floor, as a whole program."""

import os

import apsw

connection = apsw.Connection(os.environ["BENCH_STATE"] + "/floor.db")
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("PRAGMA synchronous = FULL")
connection.execute("CREATE TABLE step (seq INTEGER PRIMARY KEY, output INTEGER NOT NULL) STRICT")
for i in (1, 2, 3):
    connection.execute("INSERT INTO step VALUES (?, ?)", (i, i))
print(connection.execute("SELECT sum(output) FROM step").fetchone()[0])
