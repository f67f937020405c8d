//! Failed tickets that a retry can help, taken up again.

use std::sync::{Arc, atomic::Ordering};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{SpendingRules, Store, StoreError, spending};
use crate::domain::{failure::FailureCode, lamports::Lamports, spending::Commitments};

impl Store {
    /// The addresses of failed tickets that a retry can help, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn retryable(&self, limit: usize) -> Result<Vec<(i64, String)>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&retryable())?;
            let rows = statement.query_map([limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Queues failed tickets again, all of them or none; those that were taken up in the meantime are left alone. Returns how
    /// many were queued.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the money does not reach, or a database fault.
    pub async fn retry(&self, mint_ids: Vec<i64>, rules: SpendingRules, now_ms: i64) -> Result<u64, StoreError> {
        let sum = Arc::clone(&self.settled);
        self.write_many(mint_ids.len(), move |connection| {
            // Before the tickets count as promised.
            let commitments = spending::commitments(connection, Lamports(sum.load(Ordering::Acquire)), now_ms)?;
            retry(connection, &mint_ids, &rules, &commitments, now_ms)
        })
        .await
    }
}

fn retry(
    connection: &Connection,
    mint_ids: &[i64],
    rules: &SpendingRules,
    commitments: &Commitments,
    now_ms: i64,
) -> Result<u64, StoreError> {
    let sql = format!(
        "UPDATE mints SET status = 'pending', lane = 1, attempts = 0, error_code = NULL, error_message = NULL,
                          settled_at = NULL, due_at = max(?2, not_before)
         WHERE id = ?1 AND {} RETURNING mint_address",
        condition()
    );
    let mut queued: Vec<String> = Vec::new();
    for id in mint_ids {
        queued.extend(connection.prepare_cached(&sql)?.query_row(params![id, now_ms], |row| row.get(0)).optional()?);
    }
    rules.check(rules.to_pay(&queued), commitments.now_ms, commitments)?;
    Ok(queued.len() as u64)
}

fn retryable() -> String {
    format!("SELECT id, mint_address FROM mints WHERE {} ORDER BY id LIMIT ?", condition())
}

/// The codes are ours: nothing in the text comes from outside.
fn condition() -> String {
    // A ticket whose batch has used its budget up would meet the same budget again: it waits for a batch with a new one.
    let helps = |code: &FailureCode| code.retryable() && *code != FailureCode::BudgetUsedUp;
    let codes = FailureCode::OF_MINTING.into_iter().filter(helps);
    let codes: Vec<String> = codes.map(|code| format!("'{}'", code.as_str())).collect();
    let codes = codes.join(", ");
    // An issue that was replaced by a later one stays as it is.
    format!(
        // The index of unminted tickets is used only by those who say that they mean those.
        "status <> 'minted' AND status = 'failed' AND error_code IN ({codes})
             AND NOT EXISTS (SELECT 1 FROM mints AS later WHERE later.venue_id = mints.venue_id
                             AND later.ticket_id = mints.ticket_id AND later.generation > mints.generation)"
    )
}

#[cfg(test)]
mod tests {
    use super::super::plan_of;

    #[test]
    fn failed_tickets_are_found_without_the_minted_ones() {
        let plan = plan_of(&super::retryable());
        assert!(plan.contains("mints_unminted") && !plan.contains("SCAN mints"), "{plan}");
    }
}
