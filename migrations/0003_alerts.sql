-- What somebody should know: incidents, and the messages about them on their way to the webhook.

-- One row for each incident, from the first time it was seen to the all-clear. While it is open, seeing it again only counts.
CREATE TABLE alerts (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,      -- order of opening; never reused, so it serves as a cursor
    key          TEXT    NOT NULL,                       -- what makes two reports the same incident: kind and subject
    kind         TEXT    NOT NULL,                       -- stable code, such as low_balance
    severity     TEXT    NOT NULL CHECK (severity IN ('warning', 'critical')),
    subject      TEXT,                                   -- the venue, endpoint, wallet or job that it is about
    summary      TEXT    NOT NULL,                       -- for a person; that of the last report
    data         TEXT    NOT NULL,                       -- JSON, for programs; that of the last report
    opened_at    INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    seen         INTEGER NOT NULL DEFAULT 1,             -- reports so far
    told_at      INTEGER NOT NULL,                       -- when a message about it was last written; reminders count from here
    closed_at    INTEGER
) STRICT;

CREATE UNIQUE INDEX alerts_open ON alerts (key) WHERE closed_at IS NULL;

-- Messages to the webhook: the queue, and the record of each delivery. A row is on disk before its first attempt, and has a
-- next attempt until it is delivered or given up.
CREATE TABLE webhook_deliveries (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id      TEXT    NOT NULL UNIQUE,             -- the header webhook-id; the same in every attempt
    event_type      TEXT    NOT NULL,
    lane            TEXT    NOT NULL,                    -- key of the incident: its messages arrive in order
    alert_id        INTEGER REFERENCES alerts (id),      -- null for events that are no incident
    payload         TEXT    NOT NULL,                    -- the very bytes that are signed and sent
    created_at      INTEGER NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_attempt_at INTEGER,
    last_attempt_at INTEGER,
    last_status     INTEGER,                             -- HTTP status of the last answer; null when there was none
    last_error      TEXT,
    delivered_at    INTEGER,
    given_up_at     INTEGER
) STRICT;

CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX webhook_deliveries_in_order ON webhook_deliveries (lane, id) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX webhook_deliveries_of_alert ON webhook_deliveries (alert_id) WHERE alert_id IS NOT NULL;
CREATE INDEX webhook_deliveries_by_age ON webhook_deliveries (created_at);

-- Finished batches that nobody has looked at yet. A process that dies between the last ticket and the alert forgets nothing.
ALTER TABLE batches ADD COLUMN judged INTEGER NOT NULL DEFAULT 0;
UPDATE batches SET judged = 1 WHERE finished_at IS NOT NULL;
CREATE INDEX batches_unjudged ON batches (id) WHERE finished_at IS NOT NULL AND judged = 0;

-- A batch that is opened again by a retry will be finished anew.
CREATE TRIGGER batch_unjudged AFTER UPDATE OF finished_at ON batches WHEN new.finished_at IS NULL AND new.judged = 1 BEGIN
    UPDATE batches SET judged = 0 WHERE id = new.id;
END;
