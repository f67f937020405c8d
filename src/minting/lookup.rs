//! Asking the chain what it holds at tickets' addresses: the judge of everything.

use solana_pubkey::Pubkey;
use solana_signature::Signature;

use super::Shared;
use crate::{
    chain::{
        ChainError, Observed,
        ticket::{ACCOUNTS_PER_TICKET, OnChain, TicketOnChain, read},
    },
    domain::{
        address::TicketAccounts,
        failure::{Failure, FailureCode},
        lamports::Lamports,
    },
    store::{Published, TicketVerdict, Verdict},
};

/// What the chain holds at each of some tickets' addresses. Costs a call for 100 tickets that are not there, and one for 25
/// that are.
pub(super) async fn look_up(
    shared: &Shared,
    mints_and_owners: &[(Pubkey, Pubkey)],
) -> Result<Observed<Vec<OnChain>>, ChainError> {
    let mints: Vec<Pubkey> = mints_and_owners.iter().map(|(mint, _)| *mint).collect();
    let first = shared.chain.accounts(&mints).await?;
    let mut found: Vec<OnChain> = first.value.iter().map(|mint| read([mint.as_ref(), None, None, None])).collect();
    let present = |on_chain: &OnChain| !matches!(on_chain, OnChain::Absent { .. });
    let existing: Vec<usize> = found.iter().enumerate().filter(|(_, entry)| present(entry)).map(|(at, _)| at).collect();
    let subjects = existing.iter().filter_map(|at| mints_and_owners.get(*at));
    let subjects: Vec<_> = subjects.map(|(mint, owner)| TicketAccounts::of(*mint, owner)).collect();
    let whole = look_at(shared, &subjects).await?;
    for (at, on_chain) in existing.into_iter().zip(whole.value) {
        if let Some(entry) = found.get_mut(at) {
            *entry = on_chain;
        }
    }
    // Without anything to look at twice, the second answer has no slot.
    let slot = if subjects.is_empty() { first.slot } else { first.slot.min(whole.slot) };
    Ok(Observed { slot, value: found })
}

/// What the chain holds at the addresses of tickets that are expected to exist: a call for 25.
pub(super) async fn look_at(shared: &Shared, tickets: &[TicketAccounts]) -> Result<Observed<Vec<OnChain>>, ChainError> {
    let wanted: Vec<Pubkey> = tickets.iter().flat_map(TicketAccounts::addresses).collect();
    let answer = shared.chain.accounts(&wanted).await?;
    let (tickets, _none_left_over) = answer.value.as_chunks::<ACCOUNTS_PER_TICKET>();
    let tickets = tickets.iter().map(|accounts| read(accounts.each_ref().map(Option::as_ref)));
    Ok(Observed { slot: answer.slot, value: tickets.collect() })
}

/// What an existing ticket has cost: all that its accounts hold, and the part of the fee that fell to it.
pub(super) async fn cost(shared: &Shared, ticket: &TicketOnChain, fee: Lamports) -> Result<Lamports, ChainError> {
    let missing_rent = if ticket.has_token_account {
        Lamports::ZERO
    } else {
        // The owner has passed the ticket on and closed the account; its rent was paid all the same.
        shared.prices.without_offer().await?.token_account_rent_lamports
    };
    Ok(ticket.lamports + missing_rent + fee)
}

/// A ticket of the books that the chain may hold.
pub(super) struct Subject<'a> {
    pub(super) mint_id: i64,
    pub(super) mint: Pubkey,
    /// Who must hold it; none when that does not matter.
    pub(super) owner: Option<Pubkey>,
    pub(super) published: &'a Published,
}

/// The verdict on a ticket that the chain holds although these books did not see it land. It counts as adopted unless `own`
/// is the transaction that minted it, of whose fee that part fell to the ticket; `told` is what another box says of that one, and the chain of its slot.
pub(super) async fn adopt(
    shared: &Shared,
    Subject { mint_id, mint, owner, published }: Subject<'_>,
    on_chain: &OnChain,
    own: Option<(Signature, Lamports)>,
    told: Option<(Signature, u64)>,
) -> Result<TicketVerdict, ChainError> {
    let failed = |code, message: String| {
        let verdict = Verdict::Failed(Failure::new(code, message));
        Ok(TicketVerdict { mint_id, cost: Lamports::ZERO, paid: Lamports::ZERO, verdict })
    };
    match on_chain {
        OnChain::Ticket(ticket) if owner.is_some() && !ticket.has_token_account => failed(
            FailureCode::ChainConflict,
            format!(
                "this ticket was minted before, at {mint}, but {} has no account for it: it was minted to someone else, or \
                 they have passed it on and closed the account",
                owner.unwrap_or_default()
            ),
        ),
        OnChain::Ticket(ticket) if ticket.uri == published.uri => {
            let created = match told {
                Some(told) => Some(told),
                None => shared.chain.first_signature(&mint).await?,
            };
            let signature = created.map(|(signature, _)| signature);
            let is_own = signature.is_some() && own.map(|(own, _)| own) == signature;
            let found = Published { name: ticket.name.clone(), uri: ticket.uri.clone() };
            let slot = created.map(|(_, slot)| slot);
            let verdict = Verdict::Minted { signature, slot, adopted: (!is_own).then_some(found) };
            // As long as nobody knows which transaction it was, ours is the likeliest. What else rode in another box's is not known.
            let likely_own = own.filter(|_| is_own || signature.is_none());
            let fee = match likely_own {
                Some((_, fee)) => fee,
                None => shared.prices.without_offer().await?.signature_fee_lamports,
            };
            let cost = cost(shared, ticket, fee).await?;
            let paid = if is_own { cost } else { Lamports::ZERO };
            Ok(TicketVerdict { mint_id, cost, paid, verdict })
        }
        OnChain::Ticket(ticket) => failed(
            FailureCode::ChainConflict,
            format!(
                "this ticket was minted before with other content: {mint} has the metadata {}, and these books would make \
                 {}; send it as it was sold then, or sell under a new id. If it was sold with an image of its event, set \
                 that image again (boxoffice image set), and then send the ticket again",
                ticket.uri, published.uri
            ),
        ),
        OnChain::Foreign | OnChain::Absent { .. } => failed(
            FailureCode::AddressTaken,
            format!("the ticket's address {mint} holds an account that is no ticket; sell under a new id"),
        ),
    }
}
