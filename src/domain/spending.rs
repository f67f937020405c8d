//! What tickets cost, and whether that may be spent.

use std::ops::Mul;

use serde::Serialize;
use thiserror::Error;
use utoipa::ToSchema;

use super::lamports::Lamports;

/// What one ticket costs on the chain as it is now; multiplied, what many cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketPrice {
    /// Rent of the mint account.
    pub mint_rent_lamports: Lamports,
    /// Rent of the owner's token account.
    pub token_account_rent_lamports: Lamports,
    /// Rent of the metadata account.
    pub metadata_rent_lamports: Lamports,
    /// Rent of the edition account.
    pub edition_rent_lamports: Lamports,
    /// Metaplex's fee for creating an NFT.
    pub metaplex_fee_lamports: Lamports,
    /// The network's fee for the transaction's signatures.
    pub signature_fee_lamports: Lamports,
}

impl TicketPrice {
    /// Everything together.
    #[must_use]
    pub fn total(&self) -> Lamports {
        self.mint_rent_lamports
            + self.token_account_rent_lamports
            + self.metadata_rent_lamports
            + self.edition_rent_lamports
            + self.metaplex_fee_lamports
            + self.signature_fee_lamports
    }
}

impl Mul<u64> for TicketPrice {
    type Output = Self;
    fn mul(self, count: u64) -> Self {
        Self {
            mint_rent_lamports: self.mint_rent_lamports * count,
            token_account_rent_lamports: self.token_account_rent_lamports * count,
            metadata_rent_lamports: self.metadata_rent_lamports * count,
            edition_rent_lamports: self.edition_rent_lamports * count,
            metaplex_fee_lamports: self.metaplex_fee_lamports * count,
            signature_fee_lamports: self.signature_fee_lamports * count,
        }
    }
}

/// What the operator allows.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpendingLimits {
    /// Kept in the wallet (`MIN_SOL_BALANCE`).
    pub keep_back: Lamports,
    /// Most that one transaction may cost (`TX_LIMIT_SOL`).
    pub per_transaction: Option<Lamports>,
    /// Most that may leave the wallet in any hour (`HOURLY_LIMIT_SOL`).
    pub per_hour: Option<Lamports>,
    /// Most that may leave the wallet in any day (`DAILY_LIMIT_SOL`).
    pub per_day: Option<Lamports>,
}

/// What has been promised or spent already.
#[derive(Clone, Copy, Debug, Default)]
pub struct Commitments {
    /// Tickets accepted and not yet settled.
    pub open_tickets: u64,
    /// Left the wallet in the last hour.
    pub last_hour: Lamports,
    /// Left the wallet in the last day.
    pub last_day: Lamports,
}

/// Why money is not spent: always says by how much it falls short.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The wallet holds too little, or its fee payers.
    #[error(
        "{tickets} new tickets cost {needed}, but {whose} {balance}, of which {reserved} is reserved for tickets already \
         accepted and {kept} is kept back (MIN_SOL_BALANCE): {remedy}",
        whose = whose(wallet, *payers), remedy = remedy(*payers, *missing)
    )]
    InsufficientFunds {
        /// New tickets in the batch.
        tickets: u64,
        /// What they cost.
        needed: Lamports,
        /// The wallet's address.
        wallet: String,
        /// How many fee payers pay in its place.
        payers: usize,
        /// What can be spent of what those who pay hold.
        balance: Lamports,
        /// Reserved for tickets accepted before.
        reserved: Lamports,
        /// Kept back by setting.
        kept: Lamports,
        /// How much is missing.
        missing: Lamports,
    },
    /// A single ticket costs more than a transaction may.
    #[error("one ticket costs {price}, which is {missing} more than TX_LIMIT_SOL allows ({limit})")]
    TransactionLimit {
        /// What one ticket costs.
        price: Lamports,
        /// The limit.
        limit: Lamports,
        /// By how much the price exceeds it.
        missing: Lamports,
    },
    /// The batch would break the limit of an hour or a day.
    #[error(
        "{tickets} new tickets cost {needed}, but {setting} allows {limit}, of which {used} is spent or reserved: \
         {missing} too much; send fewer tickets, wait, or raise the limit"
    )]
    PeriodLimit {
        /// The setting's name.
        setting: &'static str,
        /// New tickets in the batch.
        tickets: u64,
        /// What they cost.
        needed: Lamports,
        /// The limit.
        limit: Lamports,
        /// Spent in the period or reserved.
        used: Lamports,
        /// By how much the batch exceeds it.
        missing: Lamports,
    },
}

fn whose(wallet: &str, payers: usize) -> String {
    match payers {
        0 => format!("the wallet {wallet} has"),
        payers => format!("the {payers} fee payers of the wallet {wallet} can spend"),
    }
}

fn remedy(payers: usize, missing: Lamports) -> String {
    match payers {
        0 => format!("send it {missing} more"),
        _ => format!("they lack {missing}; send that to the wallet and move it to them with `boxoffice payers fund`"),
    }
}

/// What is there to spend.
#[derive(Clone, Copy, Debug)]
pub struct Funds<'a> {
    /// The wallet's address.
    pub wallet: &'a str,
    /// How many fee payers pay in its place.
    pub payers: usize,
    /// What can be spent of what those who pay hold.
    pub balance: Lamports,
}

/// Decides whether `tickets` new tickets may be accepted.
///
/// Tickets that are accepted but not settled count as money gone, even if their transactions are already in the balance:
/// a check may refuse a batch a moment too long, but never lets one through that cannot be paid.
///
/// # Errors
/// The first rule that the batch would break.
pub fn check(
    tickets: u64,
    price: Lamports,
    funds: Funds<'_>,
    limits: &SpendingLimits,
    commitments: &Commitments,
) -> Result<(), Refusal> {
    let needed = price * tickets;
    let reserved = price * commitments.open_tickets;
    if let Some(limit) = limits.per_transaction.filter(|limit| price > *limit) {
        return Err(Refusal::TransactionLimit { price, limit, missing: price.saturating_sub(limit) });
    }
    let Funds { wallet, payers, balance } = funds;
    let missing = (needed + reserved + limits.keep_back).saturating_sub(balance);
    if missing > Lamports::ZERO {
        let (wallet, kept) = (wallet.to_owned(), limits.keep_back);
        return Err(Refusal::InsufficientFunds { tickets, needed, wallet, payers, balance, reserved, kept, missing });
    }
    let periods = [
        ("HOURLY_LIMIT_SOL", limits.per_hour, commitments.last_hour),
        ("DAILY_LIMIT_SOL", limits.per_day, commitments.last_day),
    ];
    for (setting, limit, spent) in periods {
        let Some(limit) = limit else { continue };
        let used = spent + reserved;
        let missing = (used + needed).saturating_sub(limit);
        if missing > Lamports::ZERO {
            return Err(Refusal::PeriodLimit { setting, tickets, needed, limit, used, missing });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICE: Lamports = Lamports(20);

    fn refusal(balance: u64, limits: SpendingLimits, commitments: Commitments) -> Option<Refusal> {
        check(3, PRICE, Funds { wallet: "w", payers: 0, balance: Lamports(balance) }, &limits, &commitments).err()
    }

    #[test]
    fn a_refusal_says_by_how_much() {
        let limits = SpendingLimits { keep_back: Lamports(5), ..SpendingLimits::default() };
        let commitments = Commitments { open_tickets: 2, ..Commitments::default() };
        assert_eq!(refusal(105, limits, commitments), None);
        let Some(Refusal::InsufficientFunds { missing, reserved, .. }) = refusal(100, limits, commitments) else {
            panic!("a wallet that is short by five lamports must be refused");
        };
        assert_eq!((missing, reserved), (Lamports(5), Lamports(40)));
    }

    #[test]
    fn a_refusal_names_those_who_pay() {
        let told = |payers| {
            let funds = Funds { wallet: "w", payers, balance: Lamports(50) };
            check(3, PRICE, funds, &SpendingLimits::default(), &Commitments::default()).unwrap_err().to_string()
        };
        assert!(
            told(0).contains("the wallet w has 0.00000005 SOL") && told(0).ends_with("send it 0.00000001 SOL more")
        );
        assert!(told(8).contains("8 fee payers of the wallet w") && told(8).contains("payers fund"), "{}", told(8));
    }

    #[test]
    fn hours_and_days_count_what_is_reserved() {
        let commitments = Commitments { open_tickets: 1, last_hour: Lamports(10), last_day: Lamports(50) };
        let limits = |hour, day| SpendingLimits {
            per_hour: Some(Lamports(hour)),
            per_day: Some(Lamports(day)),
            ..SpendingLimits::default()
        };
        assert_eq!(refusal(1_000, limits(90, 130), commitments), None);
        for (limits, name) in [(limits(89, 130), "HOURLY_LIMIT_SOL"), (limits(90, 129), "DAILY_LIMIT_SOL")] {
            let Some(Refusal::PeriodLimit { setting, missing, .. }) = refusal(1_000, limits, commitments) else {
                panic!("{name} must refuse");
            };
            assert_eq!((setting, missing), (name, Lamports(1)));
        }
        let one = SpendingLimits { per_transaction: Some(Lamports(19)), ..SpendingLimits::default() };
        assert!(matches!(refusal(1_000, one, commitments), Some(Refusal::TransactionLimit { .. })));
    }
}
