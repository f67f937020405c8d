//! From pending to recorded: publish, look up, and hand on to be signed and written ahead ([`super::sign`]).

use std::{collections::HashMap, sync::Arc, time::Duration};

use fail::fail_point;
use solana_signature::Signature;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Backoff, Part, Shared, StepError,
    allowance::allow,
    flight::{Flight, Tracked},
    lookup::{Subject, adopt, look_up},
    publish::{Pace, Publication, publish},
    remember,
    sign::{Prepared, Recorded, sign_and_record},
};
use crate::{
    cache::TicketKey,
    chain::{ChainError, RecentBlockhash, ticket::OnChain, transaction::Allowance},
    domain::{address::TicketAccounts, lamports::Lamports},
    simulation,
    store::{PendingMint, Published, Settlement, StoreError, TicketVerdict, Verdict},
};

/// Time between two looks at the books, in case the clock has jumped over the time of waiting tickets.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Files that a provider refused are offered to it again after this time.
const TRY_FILES_AGAIN: Duration = Duration::from_secs(5);
/// While money is missing, the chain is asked this often whether it holds tickets that stand behind those that wait for it.
const LOOK_BEHIND: Duration = Duration::from_secs(30);

/// Takes pending tickets from the books until the shutdown, and hands recorded transactions on.
pub(super) async fn run(
    shared: Arc<Shared>,
    to_send: mpsc::Sender<Arc<Flight>>,
    to_confirm: mpsc::UnboundedSender<Tracked>,
    shutdown: CancellationToken,
) {
    let work = async {
        let mut backoff = Backoff::default();
        let mut desk = Desk { shared: Arc::clone(&shared), pace: Pace::new(), looked_behind: None, blockhash: None };
        loop {
            let prepared = desk.prepare_chunk().await;
            let Recorded { flights, fault } =
                prepared.unwrap_or_else(|error| Recorded { flights: Vec::new(), fault: Some(error) });
            if fault.is_none() {
                backoff.reset();
                shared.free(Part::Prepare);
            }
            let idle = flights.is_empty();
            for tracked in flights {
                let flight = Arc::clone(&tracked.flight);
                // Told first, so that its fate is followed even if this task ends here.
                if to_confirm.send(tracked).is_err() || to_send.send(flight).await.is_err() {
                    return;
                }
            }
            match fault {
                Some(error) => {
                    shared.hold(Part::Prepare, &error);
                    // New tickets may arrive meanwhile; they are prepared with the rest.
                    drop(timeout(backoff.next(), std::future::pending::<()>()).await);
                }
                None if idle => drop(timeout(until_due(&shared).await, shared.work.notified()).await),
                None => {}
            }
        }
    };
    shutdown.run_until_cancelled(work).await;
}

/// How long there is nothing to do, unless somebody says otherwise.
async fn until_due(shared: &Shared) -> Duration {
    let now_ms = shared.now_ms();
    // A fault of the books shows with the next look.
    let due = shared.store.next_due(now_ms).await.ok().flatten();
    let ms = due.map(|due| u64::try_from(due.saturating_sub(now_ms)).unwrap_or_default());
    // The wall clock may jump meanwhile; it is looked at again.
    let again = if shared.is_held(Part::Publish) { TRY_FILES_AGAIN } else { LOOK_AGAIN };
    ms.map_or(again, Duration::from_millis).min(again)
}

/// What is kept from chunk to chunk.
struct Desk {
    shared: Arc<Shared>,
    pace: Pace,
    /// When the chain was last asked about what stands behind tickets that wait for money.
    looked_behind: Option<Instant>,
    /// The last blockhash, and when it was asked for.
    blockhash: Option<(Instant, RecentBlockhash)>,
}

impl Desk {
    /// Takes the next pending tickets as far as they go: those that the chain has already are settled, the others recorded.
    /// Empty only if nothing else is pending than tickets one of whose files no provider takes: those wait, and the others go on.
    /// Where money is missing for the first of them, those behind are settled all the same, as far
    /// as the chain has them.
    async fn prepare_chunk(&mut self) -> Result<Recorded, StepError> {
        let Self { shared, pace, looked_behind, blockhash } = self;
        // Tickets that wait for money or for a provider to take their files, and what money is missing.
        let (mut left, mut low_balance) = (0_usize, None);
        loop {
            let (pending, behind) = pace.take(shared, left).await?;
            shared.forecaster.set_backlog(pace.is_full(shared, pending.len()));
            if pending.is_empty() {
                if left == 0 {
                    shared.free(Part::Publish);
                }
                return low_balance.map_or_else(|| Ok(Recorded::default()), Err);
            }
            let wanted = pending.len();
            let places = u32::try_from(wanted).unwrap_or(u32::MAX);
            let places = Arc::clone(&shared.in_flight).acquire_many_owned(places).await;
            let places = places.map_err(|_closed| StoreError::Closed)?;

            let began = Instant::now();
            let publication = publish(shared, pending).await;
            pace.note_published(shared, began.elapsed());
            let Publication { ready, waiting, cause } = publication?;
            match cause {
                // Nothing else can be published either, just now.
                Some(cause) if ready.is_empty() && !cause.is_of_files() => return Err(cause.into()),
                Some(cause) if waiting > 0 => shared.hold(Part::Publish, &cause.into()),
                Some(_) | None if left == 0 => shared.free(Part::Publish),
                Some(_) | None => {}
            }
            // Only now: what is needed next should not wait for what is needed later.
            pace.publish_ahead(shared, &behind);
            fail_point!("prepare.published");
            // The same bytes again would be the same transaction, which the chain has refused; perhaps for want of money.
            let again = ready.iter().any(|(mint, _)| mint.attempts > 0 || mint.refused > 0);
            // Asked together, for each is a way there and back; whether money is missing matters only to what the chain has not.
            let (looked_up, budget, recent) = tokio::join!(
                look_up_and_adopt(shared, ready),
                shared.purse.budget(&shared.prices, wanted, if again { Duration::ZERO } else { shared.shelf_life() }),
                recent(shared, blockhash, again),
            );
            let (mut prepared, settlements) = looked_up?;
            fail_point!("prepare.looked_up");
            if !settlements.is_empty() {
                tracing::info!(tickets = settlements.len(), "tickets found on the chain");
                shared.settle(Vec::new(), settlements).await?;
            }
            if low_balance.is_none() && !prepared.is_empty() {
                prepared = allow(shared, prepared).await?;
                let budget = budget?;
                match budget.affordable(prepared.len()) {
                    Ok(affordable) => {
                        prepared.truncate(affordable);
                        let signed = sign_and_record(shared, prepared, budget, recent?, places, pace).await;
                        shared.forecaster.prepared(began.elapsed());
                        return signed;
                    }
                    Err(error) if looked_behind.is_none_or(|at| at.elapsed() >= LOOK_BEHIND) => {
                        *looked_behind = Some(Instant::now());
                        low_balance = Some(error.into());
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            left = left.saturating_add(prepared.len()).saturating_add(waiting);
        }
    }
}

/// A blockhash to sign with: the last one while it is young, unless something is to be signed `again`.
async fn recent(
    shared: &Shared,
    last: &mut Option<(Instant, RecentBlockhash)>,
    again: bool,
) -> Result<RecentBlockhash, ChainError> {
    if let Some((asked, blockhash)) = last.filter(|_| !again)
        && asked.elapsed() < shared.shelf_life()
    {
        return Ok(blockhash);
    }
    let asked = Instant::now();
    let blockhash = shared.chain.latest_blockhash().await?;
    *last = Some((asked, blockhash));
    Ok(blockhash)
}

/// Asks the chain which of the tickets it holds already: those are settled, never minted again.
async fn look_up_and_adopt(
    shared: &Arc<Shared>,
    pending: Vec<(PendingMint, Published)>,
) -> Result<(Vec<Prepared>, Vec<Settlement>), StepError> {
    let wallet = shared.wallet.address();
    let subject = |(mint, _): &(PendingMint, Published)| (mint.mint_address, mint.ticket.owner().unwrap_or(wallet));
    let subjects: Vec<_> = pending.iter().map(subject).collect();
    let found = look_up(shared, &subjects).await?;
    let is_there = |on_chain: &OnChain| !matches!(on_chain, OnChain::Absent { .. });
    let there = pending.iter().zip(&found.value).filter(|(_, on_chain)| is_there(on_chain));
    let keys: Vec<_> = there.map(|((mint, _), _)| TicketKey::new(&mint.venue_id, &mint.ticket.id)).collect();
    let mut told = remember::signatures(shared, &keys).await.into_iter();
    let (mut absent, mut settlements) = (Vec::new(), Vec::new());
    for ((mint, published), on_chain) in pending.into_iter().zip(found.value) {
        if let OnChain::Absent { prefunded } = on_chain {
            absent.push((mint, published, prefunded));
            continue;
        }
        let owner = mint.ticket.owner();
        let subject = Subject { mint_id: mint.id, mint: mint.mint_address, owner, published: &published };
        let verdict = adopt(shared, subject, &on_chain, None, told.next().flatten()).await?;
        settlements.push(Settlement {
            attempt: None,
            slot: None,
            error: None,
            never_sent: false,
            tickets: vec![verdict],
        });
    }
    if !settlements.is_empty() {
        share_fees(&mut settlements, shared.prices.without_offer().await?.signature_fee_lamports);
    }
    let prepare = move |(mint, published, prefunded): (PendingMint, _, _)| {
        let accounts = TicketAccounts::of(mint.mint_address, &mint.ticket.owner().unwrap_or(wallet));
        let allowance = Allowance::of_attempt(mint.attempts);
        Prepared { mint, published, prefunded, accounts, allowance }
    };
    let prepared = simulation::aside(move || absent.into_iter().map(prepare).collect()).await;
    Ok((prepared.ok_or(StoreError::Closed)?, settlements))
}

/// Tickets that another box, or an earlier life of these books, minted with the same transaction have shared its fee.
fn share_fees(found: &mut [Settlement], fee: Lamports) {
    let signature_of = |ticket: &TicketVerdict| match ticket.verdict {
        Verdict::Minted { signature, .. } => signature,
        Verdict::Failed(_) | Verdict::Again { .. } => None,
    };
    let mut by_transaction: HashMap<Signature, Vec<&mut TicketVerdict>> = HashMap::new();
    for ticket in found.iter_mut().flat_map(|settlement| &mut settlement.tickets) {
        if let Some(signature) = signature_of(ticket) {
            by_transaction.entry(signature).or_default().push(ticket);
        }
    }
    for tickets in by_transaction.into_values() {
        let shares = fee.split(tickets.len());
        for (ticket, share) in tickets.into_iter().zip(shares) {
            ticket.cost = ticket.cost.saturating_sub(fee) + share;
        }
    }
}
