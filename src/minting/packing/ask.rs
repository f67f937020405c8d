//! Asking a node whether it takes transactions with several tickets, by simulating one. It costs nothing, and nothing waits
//! for the answer.

use std::{sync::Arc, time::Duration};

use solana_pubkey::Pubkey;
use solana_transaction_error::TransactionError;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::super::{
    Shared,
    judge::{Rejection, judge},
};
use crate::{
    chain::{
        ChainError, NextStep, Simulated,
        instructions::TicketMint,
        transaction::{Allowance, Draft, Layout},
    },
    domain::{address::TicketAccounts, lamports::Lamports},
};

/// A cluster learns new layouts, or forgets them, with its releases.
const ASK_AGAIN: Duration = Duration::from_hours(6);
/// Without an answer it is asked again after this time, and later and later.
const FIRST_RETRY: Duration = Duration::from_secs(2);
const LAST_RETRY: Duration = Duration::from_mins(5);
/// As long as the longest that is minted: what is true of it is true of all.
const LONGEST_NAME: usize = 32;
const LONGEST_URI: usize = 66;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Taken,
    NotTaken,
    /// It may be, or not.
    Unclear,
}

/// Asks until the shutdown.
pub(in crate::minting) async fn run(shared: Arc<Shared>, shutdown: CancellationToken) {
    if !shared.packing.wanted {
        return;
    }
    let ask = async {
        let mut retry = FIRST_RETRY;
        loop {
            let wait = match ask(&shared).await {
                Answer::Unclear => {
                    let wait = retry;
                    retry = retry.saturating_mul(2).min(LAST_RETRY);
                    wait
                }
                Answer::Taken => {
                    shared.packing.told(true);
                    retry = FIRST_RETRY;
                    ASK_AGAIN
                }
                Answer::NotTaken => {
                    shared.packing.told(false);
                    retry = FIRST_RETRY;
                    ASK_AGAIN
                }
            };
            // Later answers find it set.
            drop(shared.packing.asked.set(()));
            drop(timeout(wait, shared.packing.doubt.notified()).await);
        }
    };
    shutdown.run_until_cancelled(ask).await;
}

async fn ask(shared: &Shared) -> Answer {
    let Ok(price) = shared.prices.ticket().await else { return Answer::Unclear };
    let wallet = shared.wallet.address();
    let payer = shared.purse.payers().first().copied().unwrap_or(wallet);
    let draft = sample(wallet, payer, &shared.settings.symbol, price.mint_rent_lamports);
    let Some(bytes) = draft.unsigned(Layout::V1) else { return Answer::Unclear };
    let answer = shared.chain.simulate(&bytes).await;
    let meant = meaning(&answer);
    match answer {
        Ok(Simulated { error, units_consumed }) => {
            tracing::debug!(?meant, ?error, ?units_consumed, "several tickets in one transaction were simulated");
        }
        Err(error) => tracing::debug!(?meant, %error, "several tickets in one transaction could not be simulated"),
    }
    meant
}

fn meaning(answer: &Result<Simulated, ChainError>) -> Answer {
    match answer {
        Ok(Simulated { error: None, .. }) => Answer::Taken,
        Ok(Simulated { error: Some(error), .. }) => {
            let passing = matches!(
                error,
                TransactionError::BlockhashNotFound
                    | TransactionError::AccountInUse
                    | TransactionError::ClusterMaintenance
            );
            // A wallet that cannot pay for three tickets shows nothing of what the network takes.
            if passing || judge(error) == Rejection::OutOfFunds { Answer::Unclear } else { Answer::NotTaken }
        }
        Err(error @ ChainError::Refused { .. }) if error.next_step() == NextStep::GiveUp => Answer::NotTaken,
        Err(_) => Answer::Unclear,
    }
}

/// As many tickets as may ride together, at addresses that no ticket ever has: their seeds are shorter than any ticket's.
fn sample(wallet: Pubkey, payer: Pubkey, symbol: &str, mint_rent: Lamports) -> Draft {
    let tickets = (0..Layout::V1.most_tickets()).map(|number| {
        let seed = format!("boxoffice-sample-{number}");
        // Fails for longer seeds only.
        let mint = Pubkey::create_with_seed(&wallet, &seed, &spl_token_interface::ID).unwrap_or_default();
        TicketMint {
            seed,
            accounts: TicketAccounts::of(mint, &wallet),
            owner: wallet,
            name: "n".repeat(LONGEST_NAME),
            symbol: symbol.to_owned(),
            uri: "u".repeat(LONGEST_URI),
            seller_fee_basis_points: 0,
            mint_rent,
            prefunded: None,
        }
    });
    let tickets: Vec<TicketMint> = tickets.collect();
    let allowance = Allowance::together(tickets.iter().map(|_| Allowance::of_attempt(0)));
    Draft { authority: wallet, payer, tickets, allowance }
}

#[cfg(test)]
mod tests {
    use solana_instruction::error::InstructionError;

    use super::*;

    #[test]
    fn only_an_answer_is_an_answer() {
        let simulated = |error| meaning(&Ok(Simulated { error, units_consumed: Some(1) }));
        assert_eq!(simulated(None), Answer::Taken);
        assert_eq!(simulated(Some(TransactionError::UnsupportedVersion)), Answer::NotTaken);
        let too_long = TransactionError::InstructionError(9, InstructionError::MaxInstructionTraceLengthExceeded);
        assert_eq!(simulated(Some(too_long)), Answer::NotTaken);
        for poor in [TransactionError::AccountNotFound, TransactionError::InsufficientFundsForFee] {
            assert_eq!(simulated(Some(poor)), Answer::Unclear);
        }
        let refused = |code| {
            let (endpoint, message) = ("e".to_owned(), "no".to_owned());
            meaning(&Err(ChainError::Refused { endpoint, method: "simulateTransaction", code, message }))
        };
        assert_eq!([refused(-32_602), refused(-32_005)], [Answer::NotTaken, Answer::Unclear]);
        let busy = ChainError::RateLimited { endpoint: "e".into(), retry_after: None };
        assert_eq!(meaning(&Err(busy)), Answer::Unclear);
    }
}
