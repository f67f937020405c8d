-- What the API answers from: progress of batches, roll-ups for statistics, keys, the audit trail, kept answers.

-- Sums that stay cheap however large a batch is, and the order in which its entries were settled: the ids of its events.
ALTER TABLE batches ADD COLUMN succeeded      INTEGER NOT NULL DEFAULT 0;
ALTER TABLE batches ADD COLUMN failed         INTEGER NOT NULL DEFAULT 0;
ALTER TABLE batches ADD COLUMN events         INTEGER NOT NULL DEFAULT 0;  -- settlements so far; the last event id
ALTER TABLE batches ADD COLUMN reopened       INTEGER NOT NULL DEFAULT 0;  -- tickets that a later batch tried again
ALTER TABLE batches ADD COLUMN spent_lamports INTEGER NOT NULL DEFAULT 0;  -- for tickets that this batch was the last to bring
ALTER TABLE batch_entries ADD COLUMN event    INTEGER;                     -- event id of its settlement, from 1

UPDATE batch_entries AS e SET event = numbered.event
    FROM (SELECT batch_id, position,
                 row_number() OVER (PARTITION BY batch_id ORDER BY coalesce(m.settled_at, 0), position) AS event
          FROM batch_entries LEFT JOIN mints m ON m.id = mint_id
          WHERE mint_id IS NULL OR m.status IN ('minted', 'failed')) AS numbered
    WHERE numbered.batch_id = e.batch_id AND numbered.position = e.position;
UPDATE batches AS b SET
    events    = (SELECT count(*) FROM batch_entries WHERE batch_id = b.id AND event IS NOT NULL),
    -- The plus keeps SQLite from walking all minted tickets for each batch.
    succeeded = (SELECT count(*) FROM batch_entries e JOIN mints m ON m.id = e.mint_id
                 WHERE e.batch_id = b.id AND +m.status = 'minted'),
    failed    = (SELECT count(*) FROM batch_entries e LEFT JOIN mints m ON m.id = e.mint_id
                 WHERE e.batch_id = b.id AND (e.mint_id IS NULL OR +m.status = 'failed')),
    spent_lamports = (SELECT coalesce(sum(m.cost_lamports), 0) FROM batch_entries e JOIN mints m ON m.id = e.mint_id
                      WHERE e.batch_id = b.id AND m.adopted = 0
                        AND b.id = (SELECT max(batch_id) FROM batch_entries WHERE mint_id = m.id AND replayed = 0));

CREATE INDEX batch_entries_by_event ON batch_entries (batch_id, event) WHERE event IS NOT NULL;
CREATE INDEX batches_open ON batches (id) WHERE open > 0;
CREATE INDEX batches_by_venue ON batches (venue_id, id);

DROP TRIGGER batch_entry_opened;
DROP TRIGGER batch_entry_settled;
DROP TRIGGER batch_entry_reopened;

-- An entry counts as open, or is settled as it arrives: faulty, or its ticket was settled before.
CREATE TRIGGER batch_entry_opened AFTER INSERT ON batch_entries
    WHEN (SELECT status FROM mints WHERE id = new.mint_id) IN ('pending', 'minting') BEGIN
    UPDATE batches SET open = open + 1 WHERE id = new.batch_id;
END;

CREATE TRIGGER batch_entry_arrived_settled AFTER INSERT ON batch_entries
    WHEN coalesce((SELECT status FROM mints WHERE id = new.mint_id), 'failed') IN ('minted', 'failed') BEGIN
    UPDATE batches SET events = events + 1,
                       succeeded = succeeded + coalesce((SELECT status = 'minted' FROM mints WHERE id = new.mint_id), 0),
                       failed = failed + coalesce((SELECT status = 'failed' FROM mints WHERE id = new.mint_id), 1)
        WHERE id = new.batch_id;
    UPDATE batch_entries SET event = (SELECT events FROM batches WHERE id = new.batch_id)
        WHERE batch_id = new.batch_id AND position = new.position;
END;

CREATE TRIGGER batch_entry_settled AFTER UPDATE OF status ON mints
    WHEN new.status IN ('minted', 'failed') AND old.status IN ('pending', 'minting') BEGIN
    UPDATE batches SET open = open - 1,
                       events = events + 1,
                       succeeded = succeeded + (new.status = 'minted'),
                       failed = failed + (new.status = 'failed'),
                       finished_at = CASE WHEN open = 1 THEN new.settled_at ELSE finished_at END
        WHERE id IN (SELECT batch_id FROM batch_entries WHERE mint_id = new.id);
    UPDATE batch_entries SET event = (SELECT events FROM batches WHERE id = batch_entries.batch_id)
        WHERE mint_id = new.id;
END;

-- Only a failed ticket is ever tried again. Its next settlement gets a new event.
CREATE TRIGGER batch_entry_reopened AFTER UPDATE OF status ON mints
    WHEN new.status IN ('pending', 'minting') AND old.status = 'failed' BEGIN
    UPDATE batches SET open = open + 1, failed = failed - 1, reopened = reopened + 1, finished_at = NULL
        WHERE id IN (SELECT batch_id FROM batch_entries WHERE mint_id = new.id);
    UPDATE batch_entries SET event = NULL WHERE mint_id = new.id;
END;

-- Lists read newest first whatever they are filtered by, and never sort. Minted tickets are nearly all tickets, so an index
-- by status needs only the others; a query must say `status <> 'minted'` itself for SQLite to use it.
DROP INDEX mints_by_status;
DROP INDEX mints_by_venue;
DROP INDEX mints_by_event;
CREATE INDEX mints_of_venue ON mints (venue_id, id);
CREATE INDEX mints_of_event ON mints (event_id, id);
CREATE INDEX mints_unminted ON mints (status, id) WHERE status <> 'minted';
CREATE INDEX mints_unminted_of_venue ON mints (venue_id, status, id) WHERE status <> 'minted';
CREATE INDEX mints_unminted_of_event ON mints (event_id, status, id) WHERE status <> 'minted';

-- Sums for statistics that stay quick at a million mints: by hour and by day (UTC) for series, by event for totals.
CREATE TABLE mint_hours (
    venue_id       TEXT    NOT NULL,
    hour           INTEGER NOT NULL,                     -- Unix time in hours
    minted         INTEGER NOT NULL DEFAULT 0,           -- tickets
    failed         INTEGER NOT NULL DEFAULT 0,           -- tickets given up, those that a retry minted later too
    spent_lamports INTEGER NOT NULL DEFAULT 0,
    mint_ms        INTEGER NOT NULL DEFAULT 0,           -- sum over the minted tickets, from acceptance to settlement
    PRIMARY KEY (venue_id, hour)
) STRICT, WITHOUT ROWID;

CREATE TABLE mint_days (
    venue_id       TEXT    NOT NULL,
    day            INTEGER NOT NULL,                     -- Unix time in days
    minted         INTEGER NOT NULL DEFAULT 0,
    failed         INTEGER NOT NULL DEFAULT 0,
    spent_lamports INTEGER NOT NULL DEFAULT 0,
    mint_ms        INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (venue_id, day)
) STRICT, WITHOUT ROWID;

CREATE TABLE mint_events (
    venue_id       TEXT    NOT NULL,
    event_id       TEXT    NOT NULL,
    minted         INTEGER NOT NULL DEFAULT 0,
    failed         INTEGER NOT NULL DEFAULT 0,
    spent_lamports INTEGER NOT NULL DEFAULT 0,
    mint_ms        INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (venue_id, event_id)
) STRICT, WITHOUT ROWID;

INSERT INTO mint_hours
    SELECT venue_id, coalesce(settled_at, created_at) / 3600000, sum(status = 'minted'), sum(status = 'failed'),
           sum(CASE adopted WHEN 0 THEN cost_lamports ELSE 0 END),
           sum(CASE status WHEN 'minted' THEN settled_at - created_at ELSE 0 END)
    FROM mints GROUP BY 1, 2;
INSERT INTO mint_days
    SELECT venue_id, coalesce(settled_at, created_at) / 86400000, sum(status = 'minted'), sum(status = 'failed'),
           sum(CASE adopted WHEN 0 THEN cost_lamports ELSE 0 END),
           sum(CASE status WHEN 'minted' THEN settled_at - created_at ELSE 0 END)
    FROM mints GROUP BY 1, 2;
INSERT INTO mint_events
    SELECT venue_id, event_id, sum(status = 'minted'), sum(status = 'failed'),
           sum(CASE adopted WHEN 0 THEN cost_lamports ELSE 0 END),
           sum(CASE status WHEN 'minted' THEN settled_at - created_at ELSE 0 END)
    FROM mints GROUP BY 1, 2;

-- Keys for the admin API that were made with `boxoffice key create`. The key itself is shown once and never stored.
CREATE TABLE api_keys (
    id           INTEGER PRIMARY KEY,
    name         TEXT    NOT NULL UNIQUE,                -- for ever, so that the audit trail's names keep their meaning
    role         TEXT    NOT NULL CHECK (role IN ('read', 'operate')),
    digest       BLOB    NOT NULL UNIQUE,                -- SHA-256 of the key, which is 256 random bits
    created_at   INTEGER NOT NULL,
    revoked_at   INTEGER
) STRICT;

-- Who did what, from where: a row is on disk before the request is acted upon.
CREATE TABLE audit (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    actor      TEXT    NOT NULL,                         -- name of the key; ADMIN_API_KEY, "local" without one
    client     TEXT    NOT NULL,                         -- address of the client, or "command line"
    action     TEXT    NOT NULL,                         -- method and path
    request_id TEXT    NOT NULL,
    status     INTEGER,                                  -- answered; null for commands, and while under way
    outcome    TEXT                                      -- what was done, for a person; null while under way
) STRICT;

CREATE INDEX audit_open ON audit (id) WHERE status IS NULL AND outcome IS NULL;

-- Answers to requests that came with an Idempotency-Key, so that a repeated request is answered alike.
CREATE TABLE kept_answers (
    actor       TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL,                        -- SHA-256 of method, path and body
    status      INTEGER NOT NULL,
    location    TEXT,
    body        BLOB    NOT NULL,                        -- gzip
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (actor, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX kept_answers_by_age ON kept_answers (created_at);
