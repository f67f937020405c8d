//! Keeps batches within the budgets that came with them: nothing is signed that could cost more.
//!
//! What a batch has spent, what is under way for it and what comes next never exceed its budget, the fees of transactions that
//! came to nothing included. A ticket beyond it fails at once and alone; no other batch's ticket waits for it. Only the one
//! task that signs looks here, so that nothing is signed between the look and the record.

use std::collections::BTreeMap;

use super::{Shared, sign::Prepared};
use crate::{
    domain::{
        failure::{Failure, FailureCode},
        lamports::Lamports,
    },
    store::{Budgets, Settlement, StoreError, TicketVerdict, Verdict},
};

/// What is left of the budgets of a chunk's batches, while its transactions are signed.
pub(super) struct Allotted {
    budgets: Budgets,
    /// What stays in a ticket's accounts.
    rent: Lamports,
}

impl Allotted {
    pub(super) async fn of(shared: &Shared, prepared: &[Prepared], rent: Lamports) -> Result<Self, StoreError> {
        let budgets = shared.store.budgets(prepared.iter().map(|ticket| ticket.mint.id).collect()).await?;
        Ok(Self { budgets, rent })
    }

    /// Takes what a transaction costs out of the budgets of its tickets: for all of them, or for none.
    ///
    /// # Errors
    /// Why a ticket in it cannot be paid.
    pub(super) fn take(&mut self, mint_ids: &[i64], fee: Lamports) -> Result<(), Failure> {
        #[cfg(feature = "failpoints")]
        if crate::simulation::sabotaged("ignore budgets") {
            return Ok(());
        }
        let mut next: BTreeMap<i64, Lamports> = BTreeMap::new();
        for (mint_id, fee) in mint_ids.iter().zip(fee.split(mint_ids.len())) {
            if let Some(batch) = self.budgets.of_mint.get(mint_id) {
                let sum = next.entry(*batch).or_default();
                *sum = *sum + self.rent + fee;
            }
        }
        for (batch, next) in &next {
            if let Some(budget) = self.budgets.by_batch.get(batch)
                && budget.spent + budget.under_way + *next > budget.most
            {
                let message = format!(
                    "the budget of batch {} is used up: of {} (maxLamports) {} is spent and {} under way, and what comes next \
                     costs up to {next}; send it again with a larger budget",
                    budget.public_id, budget.most, budget.spent, budget.under_way
                );
                return Err(Failure::new(FailureCode::BudgetUsedUp, message));
            }
        }
        for (batch, next) in next {
            if let Some(budget) = self.budgets.by_batch.get_mut(&batch) {
                budget.under_way = budget.under_way + next;
            }
        }
        Ok(())
    }
}

/// A ticket that its batch's budget does not reach for.
pub(super) fn refused(mint_id: i64, failure: Failure) -> Settlement {
    let (cost, paid, verdict) = (Lamports::ZERO, Lamports::ZERO, Verdict::Failed(failure));
    let tickets = vec![TicketVerdict { mint_id, cost, paid, verdict }];
    Settlement { attempt: None, slot: None, error: None, never_sent: false, tickets }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Budget;

    #[test]
    fn a_budget_is_taken_to_the_lamport_and_no_further() {
        let budget =
            Budget { public_id: "b".into(), most: Lamports(100), spent: Lamports(50), under_way: Lamports(10) };
        let budgets = Budgets { of_mint: [(1, 7), (2, 7)].into(), by_batch: [(7, budget)].into() };
        let mut allotted = Allotted { budgets, rent: Lamports(18) };
        assert_eq!(allotted.take(&[1, 2], Lamports(5)).unwrap_err().code, FailureCode::BudgetUsedUp);
        assert_eq!(allotted.take(&[9, 9, 9], Lamports(5)), Ok(()), "others have no budget");
        assert_eq!(allotted.take(&[1, 2], Lamports(4)), Ok(()), "all that is left");
        assert!(allotted.take(&[1], Lamports(0)).unwrap_err().message.contains("larger budget"));
    }

    #[test]
    fn a_shared_fee_is_shared_between_budgets() {
        let budget =
            |most| Budget { public_id: "b".into(), most: Lamports(most), spent: Lamports(0), under_way: Lamports(0) };
        let budgets = Budgets { of_mint: [(1, 7), (2, 8)].into(), by_batch: [(7, budget(13)), (8, budget(11))].into() };
        let mut allotted = Allotted { budgets, rent: Lamports(10) };
        assert!(allotted.take(&[1, 2], Lamports(6)).is_err());
        assert_eq!(allotted.take(&[1, 2, 3], Lamports(5)), Ok(()));
    }
}
