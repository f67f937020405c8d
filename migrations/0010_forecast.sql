-- How minting went, hour by hour: what forecasts are made from. Written every half minute, never with a ticket; what a crash
-- takes of it is missed by nobody. Rows of more than 35 days are removed.
CREATE TABLE engine_hours (
    endpoints     TEXT    NOT NULL,                      -- names of all endpoints of that time: another plan is another record
    hour          INTEGER NOT NULL,                      -- Unix time in hours
    landed        INTEGER NOT NULL,                      -- transactions that worked
    expired       INTEGER NOT NULL,                      -- that provably never will
    rejected      INTEGER NOT NULL,                      -- that the chain refused
    again         INTEGER NOT NULL,                      -- of the last two, those whose tickets were signed for again
    tickets       INTEGER NOT NULL,                      -- that rode in all of them
    settle        TEXT    NOT NULL,                      -- JSON array: histogram of the time from first send to settlement
    expiry_ms     INTEGER NOT NULL,                      -- from signing to the proof of death, summed over the expired
    chunks        INTEGER NOT NULL,                      -- chunks of tickets that were published, looked up and signed
    prepare_ms    INTEGER NOT NULL,                      -- time that took, summed
    paced_ms      INTEGER NOT NULL,                      -- time in which more tickets waited than were under way
    paced_tickets INTEGER NOT NULL,                      -- settled in that time
    paced_squares REAL    NOT NULL,                      -- sum of tickets^2 / ms of its windows: how much its speed varied
    PRIMARY KEY (endpoints, hour)
) STRICT, WITHOUT ROWID;

-- How each endpoint took what was sent to it.
CREATE TABLE endpoint_hours (
    endpoint  TEXT    NOT NULL,                          -- scheme, host and port; never a key
    hour      INTEGER NOT NULL,                          -- Unix time in hours
    sends     INTEGER NOT NULL,
    refused   INTEGER NOT NULL,
    limited   INTEGER NOT NULL,
    failed    INTEGER NOT NULL,                          -- no answer that makes sense
    timed_out INTEGER NOT NULL,
    PRIMARY KEY (endpoint, hour)
) STRICT, WITHOUT ROWID;

CREATE INDEX engine_hours_by_hour ON engine_hours (hour);
CREATE INDEX endpoint_hours_by_hour ON endpoint_hours (hour);

-- What was expected of a batch when it was accepted, as JSON; null without new tickets.
ALTER TABLE batches ADD COLUMN forecast TEXT;
