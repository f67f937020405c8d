//! What is left of batches' budgets. Nothing is decided here.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension as _};

use super::{Store, StoreError, batches};
use crate::domain::lamports::Lamports;

/// The budget of a batch, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The name that clients know.
    pub public_id: String,
    /// What its tickets may cost at most.
    pub most: Lamports,
    /// What they have cost so far.
    pub spent: Lamports,
    /// What the transactions cost at most that are under way for them.
    pub under_way: Lamports,
}

/// The budgets of some mints' batches.
#[derive(Clone, Debug, Default)]
pub struct Budgets {
    /// The batch that is charged for a mint, if it has a budget.
    pub of_mint: HashMap<i64, i64>,
    /// Budgets by batch.
    pub by_batch: BTreeMap<i64, Budget>,
}

impl Store {
    /// The budgets that mints are charged to. Those without one are left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn budgets(&self, mint_ids: Vec<i64>) -> Result<Budgets, StoreError> {
        self.read(move |connection| budgets(connection, &mint_ids)).await
    }
}

fn budgets(connection: &Connection, mint_ids: &[i64]) -> Result<Budgets, StoreError> {
    let mut budgets = Budgets::default();
    // Nearly always there is none.
    let any = "SELECT EXISTS (SELECT 1 FROM batches WHERE open > 0 AND max_lamports IS NOT NULL)";
    if !connection.prepare_cached(any)?.query_row([], |row| row.get::<_, bool>(0))? {
        return Ok(budgets);
    }
    let sql = format!("SELECT id FROM batches WHERE max_lamports IS NOT NULL AND id = {}", batches::payer("?"));
    let mut payer = connection.prepare_cached(&sql)?;
    for mint_id in mint_ids {
        let Some(batch_id) = payer.query_row([mint_id], |row| row.get(0)).optional()? else { continue };
        budgets.of_mint.insert(*mint_id, batch_id);
        if let std::collections::btree_map::Entry::Vacant(place) = budgets.by_batch.entry(batch_id) {
            place.insert(budget(connection, batch_id)?);
        }
    }
    Ok(budgets)
}

/// CROSS JOIN has SQLite begin with the few attempts that are under way, rather than with every ticket of every attempt.
fn sql() -> String {
    format!(
        "SELECT public_id, max_lamports, spent_lamports,
                (SELECT coalesce(sum(t.reserved_lamports), 0)
                 FROM attempts a CROSS JOIN attempt_tickets t ON t.attempt_id = a.id
                 WHERE a.state IN ('recorded', 'sent', 'unknown') AND batches.id = {})
         FROM batches WHERE id = ?",
        batches::payer("t.mint_id")
    )
}

fn budget(connection: &Connection, batch_id: i64) -> Result<Budget, StoreError> {
    let budget = connection.prepare_cached(&sql())?.query_row([batch_id], |row| {
        Ok(Budget {
            public_id: row.get(0)?,
            most: Lamports(row.get(1)?),
            spent: Lamports(row.get(2)?),
            under_way: Lamports(row.get(3)?),
        })
    })?;
    Ok(budget)
}

#[cfg(test)]
mod tests {
    use super::super::plan_of;

    #[test]
    fn what_is_under_way_is_found_without_what_ended() {
        let plan = plan_of(&super::sql());
        assert!(plan.contains("attempts_open") && !plan.contains("SCAN t"), "{plan}");
    }
}
