-- What the box does by itself: when each job ran and how it ended, and how far its due times have been dealt with.

CREATE TABLE job_runs (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    job           TEXT    NOT NULL,                      -- id of the job, such as "backup"
    trigger       TEXT    NOT NULL CHECK (trigger IN ('schedule', 'manual', 'catch_up')),
    scheduled_for INTEGER NOT NULL,                      -- the due time; for a manual run the time it was asked for
    started_at    INTEGER NOT NULL,
    finished_at   INTEGER,                               -- null while it runs
    outcome       TEXT    CHECK (outcome IN ('ok', 'failed', 'skipped')),
    detail        TEXT                                   -- what was done, or why not, for a person
) STRICT;

CREATE INDEX job_runs_by_job ON job_runs (job, id);
-- Whatever the clock does: one due time, one run.
CREATE UNIQUE INDEX job_runs_by_due_time ON job_runs (job, scheduled_for) WHERE trigger <> 'manual';

-- Due times up to here are dealt with, so that a machine that was off catches up, and a schedule that is new does not.
CREATE TABLE job_schedules (
    job        TEXT    PRIMARY KEY,
    expression TEXT    NOT NULL,                         -- with its time zone; another one begins afresh
    done_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
