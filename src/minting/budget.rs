//! Keeps batches within the budgets that came with them: nothing is signed that could cost more.
//!
//! What a batch has spent, what is under way for it and what comes next never exceed its budget, the fees of transactions that
//! came to nothing included. A ticket beyond it fails at once and alone; no other batch's ticket waits for it. Only the one
//! task that signs looks here, so that nothing is signed between the look and the record.

use std::sync::Arc;

use super::{Shared, StepError, sign::Prepared};
use crate::{
    domain::{
        failure::{Failure, FailureCode},
        lamports::Lamports,
    },
    store::{Budget, Settlement, TicketVerdict, Verdict},
};

/// Those tickets that their batches' budgets allow; the others are settled as failed.
pub(super) async fn within_budgets(shared: &Arc<Shared>, prepared: Vec<Prepared>) -> Result<Vec<Prepared>, StepError> {
    let mut budgets = shared.store.budgets(prepared.iter().map(|ticket| ticket.mint.id).collect()).await?;
    if budgets.of_mint.is_empty() {
        return Ok(prepared);
    }
    #[cfg(feature = "failpoints")]
    if crate::simulation::sabotaged("ignore budgets") {
        return Ok(prepared);
    }
    let price = shared.prices.without_offer().await?.total();
    let (mut allowed, mut refused) = (Vec::with_capacity(prepared.len()), Vec::new());
    for ticket in prepared {
        let next = price + ticket.allowance.priority_fee();
        let budget = budgets.of_mint.get(&ticket.mint.id).and_then(|batch| budgets.by_batch.get_mut(batch));
        match budget.map_or(Ok(()), |budget| take(budget, next)) {
            Ok(()) => allowed.push(ticket),
            Err(failure) => refused.push(settlement(ticket.mint.id, failure)),
        }
    }
    if !refused.is_empty() {
        tracing::warn!(tickets = refused.len(), "tickets fail, because their batches' budgets are used up");
        shared.settle(Vec::new(), refused).await?;
    }
    Ok(allowed)
}

/// Takes what comes next out of a budget.
fn take(budget: &mut Budget, next: Lamports) -> Result<(), Failure> {
    let Budget { public_id, most, spent, under_way } = budget;
    if *spent + *under_way + next <= *most {
        *under_way = *under_way + next;
        return Ok(());
    }
    let message = format!(
        "the budget of batch {public_id} is used up: of {most} (maxLamports) {spent} is spent and {under_way} under way, and \
         this ticket costs up to {next}; send it again with a larger budget"
    );
    Err(Failure::new(FailureCode::BudgetUsedUp, message))
}

fn settlement(mint_id: i64, failure: Failure) -> Settlement {
    let (cost, paid, verdict) = (Lamports::ZERO, Lamports::ZERO, Verdict::Failed(failure));
    let tickets = vec![TicketVerdict { mint_id, cost, paid, verdict }];
    Settlement { attempt: None, slot: None, error: None, never_sent: false, tickets }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_taken_to_the_lamport_and_no_further() {
        let (most, spent, under_way) = (Lamports(100), Lamports(50), Lamports(10));
        let mut budget = Budget { public_id: "b".into(), most, spent, under_way };
        assert_eq!(take(&mut budget, Lamports(41)).unwrap_err().code, FailureCode::BudgetUsedUp);
        assert_eq!(take(&mut budget, Lamports(40)), Ok(()), "a smaller one still fits");
        assert!(take(&mut budget, Lamports(1)).unwrap_err().message.contains("larger budget"));
    }
}
