-- Version 8: since when the timeout of a run counts, over the deaths of its processes. A run of before has its time anew when it
-- is gone on with next, as it had until then.

ALTER TABLE run ADD COLUMN timed_from REAL;
