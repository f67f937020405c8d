-- What transactions offer and cost, and what batches may cost.

-- The fee of a transaction is gone once it is in a block, whether it worked or not. Earlier ones offered nothing.
ALTER TABLE attempts ADD COLUMN fee_lamports       INTEGER NOT NULL DEFAULT 5000;
ALTER TABLE attempts ADD COLUMN compute_units      INTEGER NOT NULL DEFAULT 0;  -- that it may use; 0 for earlier ones
ALTER TABLE attempts ADD COLUMN compute_unit_price INTEGER NOT NULL DEFAULT 0;  -- offered for each, micro-lamports
ALTER TABLE attempts ADD COLUMN never_sent         INTEGER NOT NULL DEFAULT 0;  -- 1: it died before its bytes left the box

-- What a ticket costs at most in this transaction, until that has ended. Transactions that are under way at the upgrade are
-- of batches without a budget.
ALTER TABLE attempt_tickets ADD COLUMN reserved_lamports INTEGER NOT NULL DEFAULT 0;

-- Most that the tickets may cost for which the batch is charged; null for no bound of its own.
ALTER TABLE batches ADD COLUMN max_lamports INTEGER;
CREATE INDEX batches_with_budget ON batches (id) WHERE open > 0 AND max_lamports IS NOT NULL;
