//! What tickets cost and how long they take, from the chain's own figures.

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
    domain::{lamports::Lamports, spending::TicketPrice},
};

/// Rent changes by governance, not by the minute.
const PRICE_LIFETIME: Duration = Duration::from_mins(10);

/// The price of a ticket, asked from the chain and remembered for ten minutes.
pub struct Prices {
    chain: Arc<dyn Chain>,
    /// Signatures of a transaction.
    signatures: u64,
    known: Mutex<Option<(Instant, TicketPrice)>>,
}

impl fmt::Debug for Prices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prices").field("known", &self.known).finish_non_exhaustive()
    }
}

impl Prices {
    /// Prices on a chain, of transactions with one signature.
    #[must_use]
    pub fn new(chain: Arc<dyn Chain>) -> Self {
        Self { chain, signatures: 1, known: Mutex::new(None) }
    }

    /// The same for transactions with so many signatures.
    #[must_use]
    pub fn with_signatures(self, signatures: u64) -> Self {
        Self { signatures, ..self }
    }

    /// What one ticket cost when the chain last said so, without asking it.
    #[must_use]
    pub fn known(&self) -> Option<TicketPrice> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).map(|(_, price)| price)
    }

    /// What one ticket costs.
    ///
    /// # Errors
    /// When the chain does not answer.
    pub async fn ticket(&self) -> Result<TicketPrice, ChainError> {
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((asked, price)) = known
            && asked.elapsed() < PRICE_LIFETIME
        {
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
        };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), price));
        Ok(price)
    }
}

/// How fast transactions are sent.
#[derive(Clone, Copy, Debug)]
pub struct Pacing {
    /// Transactions in a wave (`MAX_BATCH_SIZE`).
    pub wave_size: usize,
    /// Gap between waves (`BATCH_DELAY_MS`).
    pub wave_gap: Duration,
    /// Time between two blocks of the chain.
    pub slot: Duration,
    /// Whether the rate follows what the endpoints bear (`PACING`); the waves are what it begins with.
    pub adaptive: bool,
}

impl Pacing {
    /// Transactions a second that the waves would send, and at most what one box can.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub fn initial_rate(self) -> f64 {
        (self.wave_size as f64 / self.wave_gap.as_secs_f64()).clamp(1.0, MOST_PER_SECOND)
    }

    /// Seconds from the request to the last confirmation of `count` tickets, when `rate` of them may be sent a second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "seconds shown to people")]
    pub fn seconds_for(self, count: u64, rate: f64) -> f64 {
        if count == 0 {
            return 0.0;
        }
        let paced = if self.adaptive {
            count.saturating_sub(1) as f64 / rate.max(1.0)
        } else {
            let waves = count.div_ceil(self.wave_size.max(1) as u64);
            self.wave_gap.as_secs_f64() * waves.saturating_sub(1) as f64
        };
        let sending = paced.max(count as f64 / MOST_PER_SECOND);
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
    /// What one ticket costs.
    pub per_ticket_lamports: Lamports,
}

/// Slots from the last send until a status poll sees it confirmed: one to land, one to confirm, half a poll.
const SETTLE_SLOTS: f64 = 2.5;
/// Transactions a second that one box on two cores hands over when nothing holds it back (377 were measured): an estimate is
/// never quicker, and an adaptive pace never higher.
pub const MOST_PER_SECOND: f64 = 400.0;

impl Estimate {
    /// The estimate for `count` tickets that take so many seconds.
    #[must_use]
    pub fn new(count: u64, price: TicketPrice, seconds: f64) -> Self {
        let total = price.total() * count;
        Self {
            count,
            estimated_sol: total.as_sol(),
            estimated_lamports: total,
            estimated_time_seconds: (seconds * 100.0).round() / 100.0,
            breakdown: Breakdown { batch: price * count, per_ticket_lamports: price.total() },
        }
    }
}
