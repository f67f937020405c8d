-- Comparing books and chain, and repairing the books.

-- Where an NFT of this wallet stands in the books, whoever asks by its address.
CREATE INDEX mints_by_address ON mints (mint_address);
-- Transactions of adopted tickets have no attempt that names them.
CREATE INDEX mints_adopted ON mints (signature) WHERE adopted = 1;

-- A minted ticket that provably does not exist goes back to the queue, as a failed one does.
DROP TRIGGER batch_entry_reopened;
CREATE TRIGGER batch_entry_reopened AFTER UPDATE OF status ON mints
    WHEN new.status IN ('pending', 'minting') AND old.status IN ('minted', 'failed') BEGIN
    UPDATE batches SET open = open + 1,
                       succeeded = succeeded - (old.status = 'minted'),
                       failed = failed - (old.status = 'failed'),
                       reopened = reopened + 1,
                       finished_at = NULL
        WHERE id IN (SELECT batch_id FROM batch_entries WHERE mint_id = new.id);
    UPDATE batch_entries SET event = NULL WHERE mint_id = new.id;
END;

-- The books themselves never do this; a hand that corrects them might.
CREATE TRIGGER batch_entry_resettled AFTER UPDATE OF status ON mints
    WHEN new.status <> old.status AND new.status IN ('minted', 'failed') AND old.status IN ('minted', 'failed') BEGIN
    UPDATE batches SET succeeded = succeeded + (new.status = 'minted') - (old.status = 'minted'),
                       failed = failed + (new.status = 'failed') - (old.status = 'failed')
        WHERE id IN (SELECT batch_id FROM batch_entries WHERE mint_id = new.id);
END;
