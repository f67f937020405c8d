//! What tickets cost and how long they take, from the chain's own figures.

mod compute;
mod fees;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::{
    chain::{Chain, ChainError, instructions},
    domain::{forecast::Allowed, lamports::Lamports, spending::TicketPrice},
};

pub use compute::ComputeUnits;
pub use fees::{PriorityFeeSettings, PriorityPrice};

use fees::PriorityFees;

/// Rent changes by governance, not by the minute.
const PRICE_LIFETIME: Duration = Duration::from_mins(10);

/// The price of a ticket, asked from the chain: rents are remembered for ten minutes, what others offer for some seconds.
pub struct Prices {
    chain: Arc<dyn Chain>,
    /// Signatures of a transaction.
    signatures: u64,
    /// Without an offer.
    known: Mutex<Option<(Instant, TicketPrice)>>,
    /// Held while the chain is asked, so that all who want to know together ask once.
    asking: tokio::sync::Mutex<()>,
    fees: PriorityFees,
    /// What tickets need of the chain's time.
    pub compute: ComputeUnits,
}

impl fmt::Debug for Prices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prices").field("known", &self.known).finish_non_exhaustive()
    }
}

impl Prices {
    /// Prices on a chain, of transactions with one signature and without priority fees.
    #[must_use]
    pub fn new(chain: Arc<dyn Chain>) -> Self {
        let fees = PriorityFees::new(Arc::clone(&chain), PriorityFeeSettings::default());
        Self {
            chain,
            signatures: 1,
            known: Mutex::new(None),
            asking: tokio::sync::Mutex::default(),
            fees,
            compute: ComputeUnits::default(),
        }
    }

    /// The same for transactions with so many signatures.
    #[must_use]
    pub fn with_signatures(self, signatures: u64) -> Self {
        Self { signatures, ..self }
    }

    /// The same, with priority fees.
    #[must_use]
    pub fn with_priority_fees(self, settings: PriorityFeeSettings) -> Self {
        Self { fees: PriorityFees::new(Arc::clone(&self.chain), settings), ..self }
    }

    /// What one ticket was expected to cost when the chain last said so, without asking it.
    #[must_use]
    pub fn known(&self) -> Option<TicketPrice> {
        let price = self.known.lock().unwrap_or_else(PoisonError::into_inner).map(|(_, price)| price)?;
        Some(self.offering(price, self.fees.known()))
    }

    /// What one ticket is expected to cost.
    ///
    /// # Errors
    /// When the chain does not answer.
    pub async fn ticket(&self) -> Result<TicketPrice, ChainError> {
        let (rents, price) = tokio::join!(self.without_offer(), self.fees.price());
        Ok(self.offering(rents?, price))
    }

    /// The most that one ticket's transaction may cost, whatever is offered for it: what is reserved. A transaction that fails
    /// on the chain costs its fee on top, and is booked at once.
    ///
    /// # Errors
    /// When the chain does not answer.
    pub async fn most(&self) -> Result<TicketPrice, ChainError> {
        Ok(TicketPrice { priority_fee_lamports: self.most_offered(), ..self.without_offer().await? })
    }

    /// The same, as the chain last said it, without asking it.
    #[must_use]
    pub fn most_known(&self) -> Option<TicketPrice> {
        Some(TicketPrice { priority_fee_lamports: self.most_offered(), ..self.known()? })
    }

    /// The most that is offered for one ticket.
    #[must_use]
    pub fn most_offered(&self) -> Lamports {
        self.fees.settings.most_per_ticket()
    }

    /// What to offer for a compute unit. Never fails: without an answer the floor is offered.
    pub async fn offer(&self) -> PriorityPrice {
        self.fees.price().await
    }

    fn offering(&self, price: TicketPrice, offer: PriorityPrice) -> TicketPrice {
        let usual = self.compute.usual(offer.usual()).capped(self.most_offered());
        TicketPrice { priority_fee_lamports: usual.priority_fee(), ..price }
    }

    /// What one ticket costs for which nothing is offered: rents and fixed fees.
    ///
    /// # Errors
    /// When the chain does not answer.
    pub async fn without_offer(&self) -> Result<TicketPrice, ChainError> {
        if let Some(price) = self.fresh() {
            return Ok(price);
        }
        let _asking = self.asking.lock().await;
        if let Some(price) = self.fresh() {
            return Ok(price);
        }
        let rent = |size| self.chain.rent(size);
        let (mint, token_account, metadata, edition, fee) = tokio::try_join!(
            rent(instructions::MINT_BYTES),
            rent(instructions::TOKEN_ACCOUNT_BYTES),
            rent(instructions::METADATA_BYTES),
            rent(instructions::EDITION_BYTES),
            rent(instructions::METAPLEX_FEE_BYTES),
        )?;
        let price = TicketPrice {
            mint_rent_lamports: mint,
            token_account_rent_lamports: token_account,
            metadata_rent_lamports: metadata,
            edition_rent_lamports: edition,
            metaplex_fee_lamports: fee + instructions::METAPLEX_FEE_OFFSET,
            signature_fee_lamports: instructions::signature_fee(self.signatures),
            priority_fee_lamports: Lamports::ZERO,
        };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), price));
        Ok(price)
    }

    fn fresh(&self) -> Option<TicketPrice> {
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.filter(|(asked, _)| asked.elapsed() < PRICE_LIFETIME).map(|(_, price)| price)
    }
}

/// How fast transactions are sent.
#[derive(Clone, Copy, Debug)]
pub struct Pacing {
    /// Tickets in a wave (`MAX_BATCH_SIZE`).
    pub wave_size: usize,
    /// Gap between waves (`BATCH_DELAY_MS`).
    pub wave_gap: Duration,
    /// Time between two blocks of the chain.
    pub slot: Duration,
    /// Whether the rate follows what the endpoints bear (`PACING`); the waves are what it begins with.
    pub adaptive: bool,
}

impl Pacing {
    /// Transactions a second that the waves would send with a ticket in each, and at most what one box can.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub fn initial_rate(self) -> f64 {
        (self.wave_size as f64 / self.wave_gap.as_secs_f64()).clamp(1.0, MOST_PER_SECOND)
    }

    /// What it allows in a second, when `rate` transactions may be sent: waves are of tickets, whatever rides together.
    #[must_use]
    pub fn allowed(self, rate: f64) -> Allowed {
        if self.adaptive { Allowed::Transactions(rate) } else { Allowed::Tickets(self.initial_rate()) }
    }

    /// Seconds from the request to the last confirmation of `count` tickets, when `together` of them ride in a transaction and
    /// `rate` transactions may be sent a second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "seconds shown to people")]
    pub fn seconds_for(self, count: u64, together: u64, rate: f64) -> f64 {
        if count == 0 {
            return 0.0;
        }
        let transactions = count.div_ceil(together.max(1));
        let paced = if self.adaptive {
            transactions.saturating_sub(1) as f64 / rate.max(1.0)
        } else {
            let waves = count.div_ceil(self.wave_size.max(1) as u64);
            self.wave_gap.as_secs_f64() * waves.saturating_sub(1) as f64
        };
        let sending = paced.max(transactions as f64 / MOST_PER_SECOND);
        self.slot.as_secs_f64().mul_add(SETTLE_SLOTS, sending)
    }
}

/// Price and time of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    /// Tickets.
    pub count: u64,
    /// Everything together, in SOL.
    #[serde(rename = "estimatedSOL")]
    pub estimated_sol: f64,
    /// Everything together.
    pub estimated_lamports: Lamports,
    /// From the request to the last confirmation.
    pub estimated_time_seconds: f64,
    /// Where the money goes.
    pub breakdown: Breakdown,
}

/// Where the money goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Breakdown {
    /// Each part for the whole batch.
    #[serde(flatten)]
    pub batch: TicketPrice,
    /// What a ticket costs that is minted by itself. In a batch it costs less where several ride in one transaction, and share
    /// its fee; what is reserved for a ticket is always this.
    pub per_ticket_lamports: Lamports,
}

/// Slots from the last send until a status poll sees it confirmed: one to land, one to confirm, half a poll.
const SETTLE_SLOTS: f64 = 2.5;
/// Transactions a second that one box on two cores hands over when nothing holds it back (377 were measured): an estimate is
/// never quicker, and an adaptive pace never higher.
pub const MOST_PER_SECOND: f64 = 400.0;

impl Estimate {
    /// The estimate for `count` tickets, so many `together` in a transaction, that take so many seconds.
    #[must_use]
    pub fn new(count: u64, price: TicketPrice, together: u64, seconds: f64) -> Self {
        let signature_fee_lamports = price.signature_fee_lamports * count.div_ceil(together.max(1));
        let batch = TicketPrice { signature_fee_lamports, ..price * count };
        let total = batch.total();
        Self {
            count,
            estimated_sol: total.as_sol(),
            estimated_lamports: total,
            estimated_time_seconds: (seconds * 100.0).round() / 100.0,
            breakdown: Breakdown { batch, per_ticket_lamports: price.total() },
        }
    }
}
