-- Version 14: a run that begins and ends writes fewer indexes (docs/decisions/0106-what-the-indexes-of-runs-cost.md). The checks whose
-- lists SQLite builds a table of at each write are put otherwise by store/migration.py.

DROP INDEX run_unfinished;

DROP INDEX run_key;

DROP INDEX run_status;

DROP INDEX run_workflow;

DROP INDEX run_executing;

DROP INDEX run_held;

CREATE INDEX run_unfinished ON run (workflow, key)
    WHERE named = 0 AND parent IS NULL AND (status = 'running' OR status = 'failed' OR status = 'suspended');

CREATE INDEX run_key ON run (key) WHERE named = 0 OR queue IS NULL;

CREATE INDEX run_status ON run (status, parent) WHERE rid > 0 AND status <> 'running' AND status <> 'done';

CREATE INDEX run_workflow ON run (workflow, status, parent) WHERE rid > 0 AND status <> 'running' AND status <> 'queued';

CREATE INDEX run_running ON run (holder, queue, queue_key) WHERE status = 'running';
