-- Minted tickets of which the last word is not spoken: a fork can still take their block back, or the transaction of an
-- adopted one is not known yet. The engine looks at them again until they leave this table.
CREATE TABLE unproven_mints (
    mint_id       INTEGER PRIMARY KEY REFERENCES mints (id),
    attempt_id    INTEGER REFERENCES attempts (id),      -- the attempt that minted it; none for adopted tickets
    cost_lamports INTEGER NOT NULL,                      -- booked as its cost when it was settled
    paid_lamports INTEGER NOT NULL,                      -- booked as spent then
    looks         INTEGER NOT NULL DEFAULT 0,            -- times that its transaction was asked for in vain
    look_at       INTEGER NOT NULL                       -- not before this time, Unix milliseconds
) STRICT;

CREATE INDEX unproven_mints_due ON unproven_mints (look_at);
CREATE INDEX unproven_mints_by_attempt ON unproven_mints (attempt_id);
