-- What the charts are drawn from, and what is unusual is judged by: what tickets were expected to cost, sums over all venues,
-- and the counts of the box itself. Sums of the past are made up for as far as the books still know it.

ALTER TABLE mints ADD COLUMN estimated_lamports INTEGER; -- its share of its batch's estimate; null for what older versions minted
ALTER TABLE mints ADD COLUMN due_at INTEGER;             -- since when it might be minted; null for what older versions minted

ALTER TABLE mint_hours  ADD COLUMN estimated_lamports INTEGER NOT NULL DEFAULT 0; -- of minted tickets that these books paid for
ALTER TABLE mint_days   ADD COLUMN estimated_lamports INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mint_events ADD COLUMN estimated_lamports INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mint_events ADD COLUMN given_up           INTEGER NOT NULL DEFAULT 0; -- tickets that are failed now

-- The time comes first: what is old is removed as one range.
CREATE TABLE mint_minutes (
    minute             INTEGER NOT NULL,                 -- Unix time in minutes; of the last 25 hours
    venue_id           TEXT    NOT NULL,
    minted             INTEGER NOT NULL DEFAULT 0,
    failed             INTEGER NOT NULL DEFAULT 0,
    spent_lamports     INTEGER NOT NULL DEFAULT 0,
    mint_ms            INTEGER NOT NULL DEFAULT 0,
    estimated_lamports INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (minute, venue_id)
) STRICT, WITHOUT ROWID;

-- All of a venue's history in one row.
CREATE TABLE mint_venues (
    venue_id           TEXT    NOT NULL PRIMARY KEY,
    minted             INTEGER NOT NULL DEFAULT 0,
    failed             INTEGER NOT NULL DEFAULT 0,
    spent_lamports     INTEGER NOT NULL DEFAULT 0,
    mint_ms            INTEGER NOT NULL DEFAULT 0,
    estimated_lamports INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- All venues together, so that no answer depends on how many there are. Minutes are kept for 25 hours, hours for 35 days,
-- days for 400.
CREATE TABLE box_periods (
    step               INTEGER NOT NULL,                 -- length of the period in seconds: 60, 3600, 86400
    period             INTEGER NOT NULL,                 -- Unix time in steps
    minted             INTEGER NOT NULL DEFAULT 0,
    failed             INTEGER NOT NULL DEFAULT 0,
    spent_lamports     INTEGER NOT NULL DEFAULT 0,
    mint_ms            INTEGER NOT NULL DEFAULT 0,
    estimated_lamports INTEGER NOT NULL DEFAULT 0,
    adopted            INTEGER NOT NULL DEFAULT 0,       -- of the minted: paid for by an earlier life of these books
    due_ms             INTEGER NOT NULL DEFAULT 0,       -- sum over the others, from due_at to settlement
    cache_hits         INTEGER NOT NULL DEFAULT 0,       -- look-ups
    cache_misses       INTEGER NOT NULL DEFAULT 0,
    uploads            INTEGER NOT NULL DEFAULT 0,       -- files sent to providers
    uploads_saved      INTEGER NOT NULL DEFAULT 0,       -- files that were to be sent and were there already
    PRIMARY KEY (step, period)
) STRICT, WITHOUT ROWID;

-- How each endpoint took what was sent to it, of the last 25 hours; hours and days are in endpoint_hours, kept for 400 days.
CREATE TABLE endpoint_minutes (
    minute   INTEGER NOT NULL,                           -- Unix time in minutes
    endpoint TEXT    NOT NULL,                           -- scheme, host and port; never a key
    sends    INTEGER NOT NULL,
    errors   INTEGER NOT NULL,                           -- refused, without an answer that makes sense, or without any in time
    limited  INTEGER NOT NULL,                           -- turned away because of the plan's limit
    PRIMARY KEY (minute, endpoint)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER mint_event_failed AFTER UPDATE OF status ON mints WHEN new.status = 'failed' AND old.status <> 'failed' BEGIN
    UPDATE mint_events SET given_up = given_up + 1 WHERE venue_id = new.venue_id AND event_id = new.event_id;
END;

CREATE TRIGGER mint_event_reopened AFTER UPDATE OF status ON mints WHEN old.status = 'failed' AND new.status <> 'failed' BEGIN
    UPDATE mint_events SET given_up = given_up - 1 WHERE venue_id = new.venue_id AND event_id = new.event_id;
END;

-- What each ticket was expected to cost: the estimate of the batch that brought it last, divided by that batch's new tickets.
-- What does not divide goes to the first of them, one lamport each.
CREATE TEMP TABLE brought AS
    SELECT e.batch_id, b.created_at, b.estimated_lamports / count(*) AS each, b.estimated_lamports % count(*) AS rest
    FROM batch_entries e JOIN batches b ON b.id = e.batch_id
    WHERE e.replayed = 0 AND e.mint_id IS NOT NULL GROUP BY e.batch_id;
CREATE TEMP TABLE shares (
    mint_id    INTEGER PRIMARY KEY,
    batch_id   INTEGER NOT NULL,
    lamports   INTEGER NOT NULL,
    brought_at INTEGER NOT NULL
);
INSERT INTO temp.shares
    SELECT e.mint_id, e.batch_id, b.each + (e.place <= b.rest), b.created_at
    FROM (SELECT mint_id, batch_id, row_number() OVER (PARTITION BY batch_id ORDER BY position) AS place
          FROM batch_entries WHERE replayed = 0 AND mint_id IS NOT NULL) AS e
         CROSS JOIN temp.brought AS b ON b.batch_id = e.batch_id
    WHERE TRUE
    ON CONFLICT (mint_id) DO UPDATE SET
        batch_id = excluded.batch_id, lamports = excluded.lamports, brought_at = excluded.brought_at
        WHERE excluded.batch_id > shares.batch_id;
UPDATE mints SET (estimated_lamports, due_at) =
        (SELECT lamports, max(brought_at, not_before) FROM temp.shares WHERE mint_id = mints.id)
    WHERE status <> 'minted';

-- The minted tickets in one pass: everything else is summed up from that.
CREATE TEMP TABLE past AS
    SELECT m.venue_id, m.event_id, m.settled_at / 3600000 AS hour, sum(m.adopted) AS adopted,
           sum(iif(m.adopted, 0, s.lamports)) AS estimated,
           sum(iif(m.adopted, 0, max(m.settled_at - max(coalesce(s.brought_at, m.created_at), m.not_before), 0))) AS due_ms
    FROM mints AS m NOT INDEXED LEFT JOIN temp.shares AS s ON s.mint_id = m.id
    WHERE m.status = 'minted' AND m.settled_at IS NOT NULL GROUP BY 1, 2, 3;
UPDATE mint_events AS t SET estimated_lamports = coalesce(p.estimated, 0)
    FROM (SELECT venue_id, event_id, sum(estimated) AS estimated FROM temp.past GROUP BY 1, 2) AS p
    WHERE t.venue_id = p.venue_id AND t.event_id = p.event_id;
UPDATE mint_hours AS t SET estimated_lamports = coalesce(p.estimated, 0)
    FROM (SELECT venue_id, hour, sum(estimated) AS estimated FROM temp.past GROUP BY 1, 2) AS p
    WHERE t.venue_id = p.venue_id AND t.hour = p.hour;
UPDATE mint_days AS t SET estimated_lamports = coalesce(p.estimated, 0)
    FROM (SELECT venue_id, hour / 24 AS day, sum(estimated) AS estimated FROM temp.past GROUP BY 1, 2) AS p
    WHERE t.venue_id = p.venue_id AND t.day = p.day;

-- Events of which no ticket is settled yet are events too.
INSERT OR IGNORE INTO mint_events (venue_id, event_id)
    SELECT DISTINCT venue_id, event_id FROM mints WHERE status <> 'minted';
UPDATE mint_events AS t SET given_up = p.failed
    FROM (SELECT venue_id, event_id, count(*) AS failed FROM mints
          WHERE status <> 'minted' AND status = 'failed' GROUP BY 1, 2) AS p
    WHERE t.venue_id = p.venue_id AND t.event_id = p.event_id;

INSERT INTO mint_venues
    SELECT venue_id, sum(minted), sum(failed), sum(spent_lamports), sum(mint_ms), sum(estimated_lamports)
    FROM mint_events GROUP BY 1;

INSERT INTO mint_minutes
    SELECT m.settled_at / 60000, m.venue_id, sum(m.status = 'minted'), sum(m.status = 'failed'),
           sum(iif(m.adopted, 0, m.cost_lamports)), sum(iif(m.status = 'minted', max(m.settled_at - m.created_at, 0), 0)),
           coalesce(sum(iif(m.status = 'minted' AND NOT m.adopted, s.lamports, 0)), 0)
    FROM mints AS m NOT INDEXED LEFT JOIN temp.shares AS s ON s.mint_id = m.id
    WHERE m.settled_at >= ((SELECT max(hour) FROM mint_hours) - 25) * 3600000 GROUP BY 1, 2;

INSERT INTO box_periods (step, period, minted, failed, spent_lamports, mint_ms, estimated_lamports)
    SELECT 60, minute, sum(minted), sum(failed), sum(spent_lamports), sum(mint_ms), sum(estimated_lamports)
    FROM mint_minutes GROUP BY 2;
INSERT INTO box_periods (step, period, minted, failed, spent_lamports, mint_ms, estimated_lamports)
    SELECT 3600, hour, sum(minted), sum(failed), sum(spent_lamports), sum(mint_ms), sum(estimated_lamports)
    FROM mint_hours GROUP BY 2;
INSERT INTO box_periods (step, period, minted, failed, spent_lamports, mint_ms, estimated_lamports)
    SELECT 86400, day, sum(minted), sum(failed), sum(spent_lamports), sum(mint_ms), sum(estimated_lamports)
    FROM mint_days GROUP BY 2;
UPDATE box_periods AS t SET adopted = p.adopted, due_ms = p.due_ms
    FROM (SELECT hour, sum(adopted) AS adopted, sum(due_ms) AS due_ms FROM temp.past GROUP BY 1) AS p
    WHERE t.step = 3600 AND t.period = p.hour;
UPDATE box_periods AS t SET adopted = p.adopted, due_ms = p.due_ms
    FROM (SELECT hour / 24 AS day, sum(adopted) AS adopted, sum(due_ms) AS due_ms FROM temp.past GROUP BY 1) AS p
    WHERE t.step = 86400 AND t.period = p.day;

DROP TABLE temp.brought;
DROP TABLE temp.shares;
DROP TABLE temp.past;
