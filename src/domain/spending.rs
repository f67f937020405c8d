//! What tickets cost, and whether that may be spent.
//!
//! Hours and days are windows that glide: what left the wallet in a minute counts for 60 or 1,440 more, and what is reserved for
//! tickets that wait for their time counts so much before and after that time, and not now. They are of the wall clock. Money booked in a minute that is still to come, because the clock was moved back, counts as spent now: no window
//! opens because of it, and none stays shut longer than it is.

use std::{ops::Mul, time::Duration};

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
    /// What is offered to land while others want to, paid for the compute units that are asked for.
    pub priority_fee_lamports: Lamports,
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
            + self.priority_fee_lamports
    }

    /// What stays in the ticket's accounts: everything but the network's fees.
    #[must_use]
    pub fn without_fees(&self) -> Lamports {
        let none = Lamports::ZERO;
        Self { signature_fee_lamports: none, priority_fee_lamports: none, ..*self }.total()
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
            priority_fee_lamports: self.priority_fee_lamports * count,
        }
    }
}

/// What the operator allows.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpendingLimits {
    /// Kept in the wallet (`MIN_SOL_BALANCE`, and never less than an account needs to live).
    pub keep_back: Lamports,
    /// Most that one transaction may cost (`TX_LIMIT_SOL`).
    pub per_transaction: Option<Lamports>,
    /// Most that may leave the wallet in any hour (`HOURLY_LIMIT_SOL`).
    pub per_hour: Option<Lamports>,
    /// Most that may leave the wallet in any day (`DAILY_LIMIT_SOL`).
    pub per_day: Option<Lamports>,
}

/// Minutes in an hour.
const HOUR: i64 = 60;
/// Minutes in a day.
pub const DAY: i64 = 24 * HOUR;
const MINUTE_MS: i64 = 60_000;

/// The minute of a time, since the Unix epoch.
#[must_use]
pub fn minute_of(unix_ms: i64) -> i64 {
    unix_ms.div_euclid(MINUTE_MS)
}

/// What has been promised or spent already.
#[derive(Clone, Debug, Default)]
pub struct Commitments {
    /// Tickets accepted and not yet settled.
    pub open_tickets: u64,
    /// Those of them that wait for a time that is still to come: when, Unix milliseconds, and how many.
    pub later: Vec<(i64, u64)>,
    /// Open tickets that the batch under consideration wants sooner than they were to be minted; no longer among `later`.
    pub sooner: u64,
    /// What left the wallet, by minute, at least that of the last day.
    pub spent: Vec<(i64, Lamports)>,
    /// What settled tickets have cost since the process began: only ever grows.
    pub settled: Lamports,
    /// Now, Unix milliseconds.
    pub now_ms: i64,
}

impl Commitments {
    /// An open ticket that was to be minted at a time is wanted sooner. What is due by now is about to be minted anyway.
    pub fn want_sooner(&mut self, not_before_ms: i64) {
        let waiting = self.later.iter_mut().find(|(later, tickets)| *later == not_before_ms && *tickets > 0);
        if let Some((_, tickets)) = waiting {
            *tickets = tickets.saturating_sub(1);
            self.sooner = self.sooner.saturating_add(1);
        }
    }

    /// When money is spent, by minute: what was, what is about to be, and what waits for its time.
    fn by_minute(&self, price: Lamports) -> Vec<(i64, Lamports)> {
        let now = minute_of(self.now_ms);
        let later: u64 = self.later.iter().fold(self.sooner, |sum, (_, tickets)| sum.saturating_add(*tickets));
        let spent = self.spent.iter().map(|(minute, lamports)| ((*minute).min(now), *lamports));
        let about_to_be = (now, price * self.open_tickets.saturating_sub(later));
        let waiting = self.later.iter().map(|(at_ms, tickets)| (minute_of(*at_ms).max(now), price * *tickets));
        spent.chain([about_to_be]).chain(waiting).collect()
    }

    /// Whether money is booked in minutes that are still to come: the clock was moved back.
    #[must_use]
    pub fn is_from_the_future(&self) -> bool {
        self.spent.iter().any(|(minute, _)| *minute > minute_of(self.now_ms))
    }

    /// The first moment, not before a minute, at which no more than `most` counts for a window, Unix milliseconds.
    fn free_at(by_minute: &[(i64, Lamports)], window: i64, from: i64, most: Lamports) -> i64 {
        let leaves = by_minute.iter().map(|(minute, _)| minute.saturating_add(window).saturating_add(1));
        let mut moments: Vec<i64> = leaves.filter(|minute| *minute > from).collect();
        moments.sort_unstable();
        moments.dedup();
        let free = moments.into_iter().find(|minute| counted(by_minute, window, *minute) <= most);
        free.unwrap_or(from).saturating_mul(MINUTE_MS)
    }
}

/// What counts for a window of so many minutes when more is spent in a minute.
fn counted(by_minute: &[(i64, Lamports)], window: i64, minute: i64) -> Lamports {
    let near = |other: i64| other.abs_diff(minute) <= window.unsigned_abs();
    by_minute.iter().filter(|(other, _)| near(*other)).map(|(_, lamports)| *lamports).sum()
}

/// When a limit lets a batch through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// At that moment, if nothing else is spent before.
    At {
        /// Unix milliseconds.
        unix_ms: i64,
        /// Until then.
        wait: Duration,
    },
    /// Never: the batch costs more than the limit by itself.
    Never {
        /// As many tickets would do.
        fitting: u64,
    },
}

impl std::fmt::Display for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::At { unix_ms, .. } => {
                let time = jiff::Timestamp::from_millisecond(*unix_ms).unwrap_or_default();
                write!(
                    f,
                    "send the batch again at {time}, when enough of it is no longer counted, send fewer tickets, or raise the limit"
                )
            }
            Self::Never { fitting: 0 } => f.write_str("waiting cannot help, not even for one ticket: raise the limit"),
            Self::Never { fitting } => {
                write!(f, "waiting cannot help: send at most {fitting} tickets at once, or raise the limit")
            }
        }
    }
}

/// Why money is not spent: always says by how much it falls short.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The wallet holds too little, or its fee payers.
    #[error(
        "{tickets} new tickets cost {needed}, but {whose} {balance}, of which {reserved} is reserved for tickets already \
         accepted and {kept} is kept back (MIN_SOL_BALANCE, and never less than an account needs to live): {remedy}",
        whose = whose(wallet, *payers), remedy = remedy(*payers, *missing, *own)
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
        /// What the wallet itself holds.
        own: Lamports,
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
         {missing} too much; {opening}"
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
        /// When it can be accepted.
        opening: Opening,
    },
    /// The batch is expected to cost more than whoever sent it allows.
    #[error(
        "{tickets} new tickets are expected to cost {needed}, which is {missing} more than the batch's budget of {budget} \
         (maxLamports): send fewer tickets or a larger budget"
    )]
    OverBudget {
        /// New tickets in the batch.
        tickets: u64,
        /// What they are expected to cost.
        needed: Lamports,
        /// The budget.
        budget: Lamports,
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

fn remedy(payers: usize, missing: Lamports, own: Lamports) -> String {
    match payers {
        0 => format!("send it {missing} more"),
        _ if own > missing => {
            format!(
                "they lack {missing}, and the wallet itself has {own}: move it to them with `boxoffice payers fund`"
            )
        }
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
    /// What the wallet itself holds.
    pub own: Lamports,
    /// [`Commitments::settled`] from before the balance was asked for: what was settled since may still be in it.
    pub settled: Lamports,
}

/// Decides whether `tickets` new tickets may be accepted that are to be minted at a time, Unix milliseconds, or at once.
///
/// Tickets that are accepted but not settled count as money gone, even if their transactions are already in the balance:
/// a check may refuse a batch a moment too long, but never lets one through that cannot be paid.
///
/// # Errors
/// The first rule that the batch would break.
pub fn check(
    tickets: u64,
    at_ms: i64,
    price: Lamports,
    funds: Funds<'_>,
    limits: &SpendingLimits,
    commitments: &Commitments,
) -> Result<(), Refusal> {
    if tickets > 0 {
        check_funds(tickets, price, funds, limits, commitments)?;
    }
    // Tickets that are wanted sooner are paid for already, but not then.
    let tickets = tickets.saturating_add(commitments.sooner);
    let (needed, by_minute) = (price * tickets, commitments.by_minute(price));
    let at = minute_of(at_ms.max(commitments.now_ms));
    let periods = [("HOURLY_LIMIT_SOL", limits.per_hour, HOUR), ("DAILY_LIMIT_SOL", limits.per_day, DAY)];
    for (setting, limit, window) in periods {
        let Some(limit) = limit else { continue };
        let used = counted(&by_minute, window, at);
        let missing = (used + needed).saturating_sub(limit);
        if missing == Lamports::ZERO || tickets == 0 {
            continue;
        }
        let opening = if needed > limit {
            Opening::Never { fitting: limit.0.checked_div(price.0).unwrap_or_default() }
        } else {
            let unix_ms = Commitments::free_at(&by_minute, window, at, limit.saturating_sub(needed));
            let wait = u64::try_from(unix_ms.saturating_sub(commitments.now_ms)).unwrap_or_default();
            Opening::At { unix_ms, wait: Duration::from_millis(wait) }
        };
        return Err(Refusal::PeriodLimit { setting, tickets, needed, limit, used, missing, opening });
    }
    Ok(())
}

fn check_funds(
    tickets: u64,
    price: Lamports,
    funds: Funds<'_>,
    limits: &SpendingLimits,
    commitments: &Commitments,
) -> Result<(), Refusal> {
    if let Some(limit) = limits.per_transaction.filter(|limit| price > *limit) {
        return Err(Refusal::TransactionLimit { price, limit, missing: price.saturating_sub(limit) });
    }
    let Funds { wallet, payers, balance, own, settled } = funds;
    let needed = price * tickets;
    let reserved = price * commitments.open_tickets + commitments.settled.saturating_sub(settled);
    let missing = (needed + reserved + limits.keep_back).saturating_sub(balance);
    if missing > Lamports::ZERO {
        let (wallet, kept) = (wallet.to_owned(), limits.keep_back);
        return Err(Refusal::InsufficientFunds {
            tickets,
            needed,
            wallet,
            payers,
            balance,
            reserved,
            kept,
            missing,
            own,
        });
    }
    Ok(())
}

/// Decides whether `tickets` new tickets, each of which is expected to cost `price`, are within a batch's budget.
///
/// # Errors
/// [`Refusal::OverBudget`].
pub fn check_budget(tickets: u64, needed: Lamports, budget: Lamports) -> Result<(), Refusal> {
    match needed.saturating_sub(budget) {
        Lamports::ZERO => Ok(()),
        missing => Err(Refusal::OverBudget { tickets, needed, budget, missing }),
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "small numbers of minutes")]
mod tests {
    use super::*;

    const PRICE: Lamports = Lamports(20);
    const NOW: i64 = 10_000;

    /// Money that left the wallet so many minutes ago.
    fn spent(open_tickets: u64, ago: &[(i64, u64)]) -> Commitments {
        let spent = ago.iter().map(|(minutes, lamports)| (NOW - minutes, Lamports(*lamports))).collect();
        Commitments {
            open_tickets,
            spent,
            settled: Lamports(7),
            now_ms: NOW * MINUTE_MS + 30_000,
            ..Commitments::default()
        }
    }

    fn refusal(balance: u64, limits: SpendingLimits, commitments: &Commitments) -> Option<Refusal> {
        let funds =
            Funds { wallet: "w", payers: 0, balance: Lamports(balance), own: Lamports(balance), settled: Lamports(7) };
        check(3, commitments.now_ms, PRICE, funds, &limits, commitments).err()
    }

    fn limits(hour: u64, day: u64) -> SpendingLimits {
        SpendingLimits { per_hour: Some(Lamports(hour)), per_day: Some(Lamports(day)), ..SpendingLimits::default() }
    }

    /// The setting, what is too much, and in how many minutes it opens.
    fn opening(hour: u64, day: u64, commitments: &Commitments) -> Option<(&'static str, u64, i64)> {
        let Refusal::PeriodLimit { setting, missing, opening, .. } = refusal(1_000, limits(hour, day), commitments)?
        else {
            panic!("only periods are limited here");
        };
        let Opening::At { unix_ms, wait } = opening else { return Some((setting, missing.0, -1)) };
        assert_eq!(commitments.now_ms + i64::try_from(wait.as_millis()).unwrap(), unix_ms);
        Some((setting, missing.0, minute_of(unix_ms) - NOW))
    }

    #[test]
    fn a_refusal_says_by_how_much() {
        let limits = SpendingLimits { keep_back: Lamports(5), ..SpendingLimits::default() };
        let commitments = spent(2, &[]);
        assert_eq!(refusal(105, limits, &commitments), None);
        let Some(Refusal::InsufficientFunds { missing, reserved, .. }) = refusal(100, limits, &commitments) else {
            panic!("a wallet that is short by five lamports must be refused");
        };
        assert_eq!((missing, reserved), (Lamports(5), Lamports(40)));
    }

    #[test]
    fn a_refusal_names_those_who_pay() {
        let told = |payers, own| {
            let funds =
                Funds { wallet: "w", payers, balance: Lamports(50), own: Lamports(own), settled: Lamports::ZERO };
            check(3, 0, PRICE, funds, &SpendingLimits::default(), &Commitments::default()).unwrap_err().to_string()
        };
        assert!(
            told(0, 50).contains("the wallet w has 0.00000005 SOL")
                && told(0, 50).ends_with("send it 0.00000001 SOL more")
        );
        assert!(told(8, 9).contains("8 fee payers of the wallet w") && told(8, 9).contains("send that to the wallet"));
        let rich = told(8, 99);
        assert!(rich.contains("payers fund") && !rich.contains("send"), "{rich}");
    }

    #[test]
    fn hours_and_days_count_what_is_reserved() {
        let commitments = spent(1, &[(10, 10), (100, 40)]);
        assert_eq!(opening(90, 130, &commitments), None);
        assert_eq!(opening(89, 130, &commitments), Some(("HOURLY_LIMIT_SOL", 1, 51)));
        assert_eq!(opening(90, 129, &commitments), Some(("DAILY_LIMIT_SOL", 1, 1_341)));
        let one = SpendingLimits { per_transaction: Some(Lamports(19)), ..SpendingLimits::default() };
        assert!(matches!(refusal(1_000, one, &commitments), Some(Refusal::TransactionLimit { .. })));
    }

    #[test]
    fn a_refusal_says_when_it_can_go_on() {
        // Three tickets cost 60. The oldest money is enough, or the two oldest, or all of it.
        let commitments = spent(0, &[(50, 10), (40, 20), (30, 30)]);
        assert_eq!(opening(110, 1_000, &commitments), Some(("HOURLY_LIMIT_SOL", 10, 11)));
        assert_eq!(opening(109, 1_000, &commitments), Some(("HOURLY_LIMIT_SOL", 11, 21)));
        assert_eq!(opening(60, 1_000, &commitments), Some(("HOURLY_LIMIT_SOL", 60, 31)));
        assert_eq!(opening(59, 1_000, &commitments), Some(("HOURLY_LIMIT_SOL", 61, -1)), "never");
        // What is reserved leaves the window last.
        assert_eq!(opening(60, 1_000, &spent(1, &[(50, 10)])), Some(("HOURLY_LIMIT_SOL", 30, 61)));
        // At that moment it is accepted, and a millisecond earlier it is not.
        let then = |ms: i64| Commitments { now_ms: (NOW + 11) * MINUTE_MS + ms, ..commitments.clone() };
        assert_eq!(refusal(1_000, limits(110, 1_000), &then(0)), None);
        assert!(refusal(1_000, limits(110, 1_000), &then(-1)).is_some());
        let said = refusal(1_000, limits(59, 1_000), &commitments).unwrap().to_string();
        assert!(said.ends_with("waiting cannot help: send at most 2 tickets at once, or raise the limit"), "{said}");
        let said = refusal(1_000, limits(110, 1_000), &commitments).unwrap().to_string();
        assert!(said.contains("send the batch again at 1970-01-07T22:51:00Z"), "{said}");
    }

    #[test]
    fn what_waits_for_its_time_counts_around_that_time() {
        // Three tickets cost 60, and as many wait for the fifth hour.
        let at = |minutes: i64| (NOW + minutes) * MINUTE_MS;
        let commitments = Commitments { later: vec![(at(300), 3)], ..spent(3, &[]) };
        let funds =
            Funds { wallet: "w", payers: 0, balance: Lamports(1_000), own: Lamports(1_000), settled: Lamports(7) };
        let hour = SpendingLimits { per_hour: Some(Lamports(60)), ..SpendingLimits::default() };
        let opens = |minutes: i64| match check(3, at(minutes), PRICE, funds, &hour, &commitments) {
            Ok(()) => None,
            Err(Refusal::PeriodLimit { opening: Opening::At { unix_ms, .. }, .. }) => Some(minute_of(unix_ms) - NOW),
            Err(other) => panic!("{other}"),
        };
        for (minutes, opening) in
            [(0, None), (239, None), (240, Some(361)), (300, Some(361)), (360, Some(361)), (361, None)]
        {
            assert_eq!(opens(minutes), opening, "{minutes}");
        }
        // The balance is promised all the same.
        let poor = Funds { balance: Lamports(119), ..funds };
        assert!(matches!(
            check(3, at(0), PRICE, poor, &hour, &commitments),
            Err(Refusal::InsufficientFunds { missing: Lamports(1), .. })
        ));
        // Wanted now they count now, and no longer then; what is due anyway counts once.
        let mut sooner = commitments.clone();
        (0..3).for_each(|_| sooner.want_sooner(at(300)));
        sooner.want_sooner(at(-1));
        assert_eq!((sooner.sooner, check(0, at(0), PRICE, funds, &hour, &sooner)), (3, Ok(())));
        assert!(check(1, at(0), PRICE, funds, &hour, &sooner).is_err());
        assert_eq!(check(0, at(300), PRICE, funds, &hour, &sooner), Ok(()));
    }

    #[test]
    fn money_of_minutes_to_come_counts_as_spent_now() {
        // The clock stood two days ahead, and was moved back.
        let commitments = spent(0, &[(-2_880, 60)]);
        assert!(commitments.is_from_the_future());
        assert_eq!(opening(119, 1_000, &commitments), Some(("HOURLY_LIMIT_SOL", 1, 61)));
        assert!(!spent(0, &[(0, 60)]).is_from_the_future());
    }

    #[test]
    fn a_budget_is_kept_to_the_lamport() {
        assert_eq!(check_budget(3, PRICE * 3, Lamports(60)), Ok(()));
        let Err(Refusal::OverBudget { needed, missing, .. }) = check_budget(3, PRICE * 3, Lamports(59)) else {
            panic!("one lamport too much must be refused");
        };
        assert_eq!((needed, missing), (Lamports(60), Lamports(1)));
    }
}
