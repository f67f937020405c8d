-- Batches that wait for their time: a quiet hour, or a moment that the client names.
ALTER TABLE batches ADD COLUMN not_before INTEGER;                      -- Unix milliseconds; null for at once
ALTER TABLE mints ADD COLUMN not_before INTEGER NOT NULL DEFAULT 0;     -- nothing is signed for it earlier

CREATE INDEX mints_waiting ON mints (not_before) WHERE status = 'pending' AND not_before > 0;
