-- The books: what was promised, what was signed, what the chain answered.
-- Times are Unix milliseconds, money is lamports, addresses, signatures and hashes are base58 as every explorer shows them.
-- Migrations are append-only: this file never changes once it is released.

-- One chain and one authority for the life of the database: devnet books must never meet mainnet money.
CREATE TABLE identity (
    id           INTEGER PRIMARY KEY CHECK (id = 1),
    genesis_hash TEXT NOT NULL,
    authority    TEXT NOT NULL,
    network      TEXT NOT NULL,
    created_at   INTEGER NOT NULL
) STRICT;

CREATE TABLE batches (
    id                 INTEGER PRIMARY KEY,
    public_id          TEXT    NOT NULL UNIQUE,          -- UUIDv7, shown to clients
    venue_id           TEXT    NOT NULL,
    total              INTEGER NOT NULL,                 -- entries, faulty and repeated ones too
    open               INTEGER NOT NULL DEFAULT 0,       -- entries not settled yet; kept by the triggers below
    estimated_lamports INTEGER NOT NULL,
    created_at         INTEGER NOT NULL,
    finished_at        INTEGER
) STRICT;

-- One row for each issue of a ticket. Generation 0 is the first issue.
CREATE TABLE mints (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,    -- order of acceptance; never reused, so it serves as a cursor
    venue_id       TEXT    NOT NULL,
    ticket_id      TEXT    NOT NULL,
    generation     INTEGER NOT NULL DEFAULT 0,
    event_id       TEXT    NOT NULL,
    ticket         TEXT    NOT NULL,                     -- canonical JSON of what was sold
    content_digest BLOB    NOT NULL,                     -- SHA-256 of it
    mint_address   TEXT    NOT NULL,
    status         TEXT    NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'minting', 'minted', 'failed')),
    lane           INTEGER NOT NULL DEFAULT 1,           -- 0: a handful of tickets, someone is waiting; 1: bulk
    attempts       INTEGER NOT NULL DEFAULT 0,           -- transactions signed for it
    name           TEXT,                                 -- on the chain
    metadata_uri   TEXT,
    signature      TEXT,                                 -- of the transaction that minted it
    slot           INTEGER,
    adopted        INTEGER NOT NULL DEFAULT 0,           -- 1: found on the chain, minted by an earlier life of these books
    cost_lamports  INTEGER NOT NULL DEFAULT 0,           -- rent, fees and the fees of rejected attempts, as the chain has them
    error_code     TEXT,
    error_message  TEXT,
    created_at     INTEGER NOT NULL,
    settled_at     INTEGER,
    UNIQUE (venue_id, ticket_id, generation)
) STRICT;

CREATE INDEX mints_to_do ON mints (lane, id) WHERE status = 'pending';
CREATE INDEX mints_by_status ON mints (status, id);
CREATE INDEX mints_by_venue ON mints (venue_id, status, id);
CREATE INDEX mints_by_event ON mints (event_id, id);
CREATE INDEX mints_by_ticket ON mints (ticket_id);

-- What each batch asked for, entry by entry. Faulty entries have no mint.
CREATE TABLE batch_entries (
    batch_id      INTEGER NOT NULL REFERENCES batches (id),
    position      INTEGER NOT NULL,                      -- from 0, as sent
    ticket_id     TEXT    NOT NULL,                      -- as sent, even when it is faulty
    mint_id       INTEGER REFERENCES mints (id),
    replayed      INTEGER NOT NULL DEFAULT 0,            -- 1: the ticket was known before this batch
    error_code    TEXT,
    error_message TEXT,
    faults        TEXT,                                  -- JSON array of {pointer, detail}
    PRIMARY KEY (batch_id, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX batch_entries_by_mint ON batch_entries (mint_id) WHERE mint_id IS NOT NULL;

-- Write-ahead log of signed transactions: a row is on disk before the transaction's first byte leaves the box.
CREATE TABLE attempts (
    id                      INTEGER PRIMARY KEY,
    signature               TEXT    NOT NULL UNIQUE,
    transaction_bytes       BLOB    NOT NULL,            -- emptied once settled
    blockhash               TEXT    NOT NULL,
    last_valid_block_height INTEGER NOT NULL,
    state                   TEXT    NOT NULL CHECK (state IN ('recorded', 'sent', 'unknown', 'landed', 'rejected', 'dead')),
    slot                    INTEGER,
    error                   TEXT,
    recorded_at             INTEGER NOT NULL,
    settled_at              INTEGER
) STRICT;

CREATE INDEX attempts_open ON attempts (id) WHERE state IN ('recorded', 'sent', 'unknown');

CREATE TABLE attempt_tickets (
    attempt_id INTEGER NOT NULL REFERENCES attempts (id),
    mint_id    INTEGER NOT NULL REFERENCES mints (id),
    PRIMARY KEY (attempt_id, mint_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX attempt_tickets_by_mint ON attempt_tickets (mint_id);

-- Money that left the wallet, by minute, for the hourly and daily limits.
CREATE TABLE spending (
    minute   INTEGER PRIMARY KEY,                        -- Unix time in minutes
    lamports INTEGER NOT NULL
) STRICT;

-- Counts that stay cheap however many mints there are.
CREATE TABLE mint_counts (
    venue_id TEXT    NOT NULL,
    status   TEXT    NOT NULL,
    count    INTEGER NOT NULL,
    PRIMARY KEY (venue_id, status)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER mint_counted AFTER INSERT ON mints BEGIN
    INSERT INTO mint_counts VALUES (new.venue_id, new.status, 1)
        ON CONFLICT (venue_id, status) DO UPDATE SET count = count + 1;
END;

CREATE TRIGGER mint_recounted AFTER UPDATE OF status ON mints WHEN new.status <> old.status BEGIN
    UPDATE mint_counts SET count = count - 1 WHERE venue_id = old.venue_id AND status = old.status;
    INSERT INTO mint_counts VALUES (new.venue_id, new.status, 1)
        ON CONFLICT (venue_id, status) DO UPDATE SET count = count + 1;
END;

CREATE TRIGGER mint_uncounted AFTER DELETE ON mints BEGIN
    UPDATE mint_counts SET count = count - 1 WHERE venue_id = old.venue_id AND status = old.status;
END;

-- A batch is finished when the last of its mints is settled.
CREATE TRIGGER batch_entry_opened AFTER INSERT ON batch_entries WHEN new.mint_id IS NOT NULL BEGIN
    UPDATE batches SET open = open + 1
        WHERE id = new.batch_id
          AND (SELECT status FROM mints WHERE id = new.mint_id) IN ('pending', 'minting');
END;

CREATE TRIGGER batch_entry_settled AFTER UPDATE OF status ON mints
    WHEN new.status IN ('minted', 'failed') AND old.status IN ('pending', 'minting') BEGIN
    UPDATE batches SET open = open - 1,
                       finished_at = CASE WHEN open = 1 THEN new.settled_at ELSE finished_at END
        WHERE id IN (SELECT batch_id FROM batch_entries WHERE mint_id = new.id);
END;

CREATE TRIGGER batch_entry_reopened AFTER UPDATE OF status ON mints
    WHEN new.status IN ('pending', 'minting') AND old.status IN ('minted', 'failed') BEGIN
    UPDATE batches SET open = open + 1, finished_at = NULL
        WHERE id IN (SELECT batch_id FROM batch_entries WHERE mint_id = new.id);
END;

-- Columns as in the specification of the reconciliation service.
CREATE TABLE reconciliation_reports (
    id                INTEGER PRIMARY KEY,
    venue_id          TEXT    NOT NULL,
    report_date       INTEGER NOT NULL,
    total_checked     INTEGER NOT NULL,
    confirmed         INTEGER NOT NULL,
    not_found         INTEGER NOT NULL,
    pending           INTEGER NOT NULL,
    errors            INTEGER NOT NULL,
    discrepancy_count INTEGER NOT NULL,
    discrepancy_rate  REAL    NOT NULL,
    report_data       TEXT,                              -- JSON
    created_at        INTEGER NOT NULL
) STRICT;

CREATE INDEX reconciliation_reports_by_venue ON reconciliation_reports (venue_id, report_date);
