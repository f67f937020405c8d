//! Tickets as venues sell them, by number: the same number is always the same ticket.

use std::{fs::Permissions, os::unix::fs::PermissionsExt as _, sync::LazyLock};

use boxoffice::{
    chain::{
        instructions::TicketMint,
        transaction::{Allowance, Draft},
        wallet::Wallet,
    },
    domain::{
        address::{Generation, TicketAccounts, mint_address, mint_seed},
        document::{Image, chain_name, metadata_json},
        ids::{TicketId, VenueId},
        lamports::Lamports,
        ticket::{Ticket, TicketRules},
    },
    metadata::{Content, ContentId},
    store::Published,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use solana_hash::Hash;
use solana_keypair::Keypair;
use solana_pubkey::Pubkey;
use solana_signer::Signer as _;

pub const SYMBOL: &str = "TKT";
/// Tickets of one event, and of one batch that is not of a handful.
pub const EVENT: u64 = 1_000;
/// Venues that share the box.
pub const VENUES: u64 = 10;
/// Rent of a mint account.
const MINT_RENT: Lamports = Lamports(1_461_600);

/// The box's wallet, with a fee payer of its own.
pub static WALLET: LazyLock<Wallet> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wallet.json");
    let key = Keypair::new_from_array([7; 32]);
    std::fs::write(&path, serde_json::to_string(key.to_bytes().as_slice()).unwrap()).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    Wallet::load(&path).unwrap().with_payers(1).unwrap()
});

/// Buyers' wallets, who take turns.
static BUYERS: LazyLock<Vec<Pubkey>> = LazyLock::new(|| {
    let buyer = |number: u64| Keypair::new_from_array(digest("buyer", number)).pubkey();
    (0..256).map(buyer).collect()
});

/// What all tickets show that were sold without a picture.
pub static IMAGE: LazyLock<Image> = LazyLock::new(|| {
    let drawn = Content::new("image/svg+xml", &include_bytes!("../../assets/ticket.svg")[..]);
    Image { uri: drawn.id.uri(), media_type: drawn.media_type }
});

/// Bytes that look random and are always the same.
pub fn digest(of: &str, number: u64) -> [u8; 32] {
    Sha256::new().chain_update(of).chain_update(number.to_le_bytes()).finalize().into()
}

pub fn blockhash() -> Hash {
    Hash::new_from_array(digest("blockhash", 0))
}

/// Events follow each other, each in another venue.
pub fn venue(number: u64) -> VenueId {
    VenueId::new(format!("venue-{}", number / EVENT % VENUES)).unwrap()
}

pub fn buyer(number: u64) -> Pubkey {
    BUYERS[number as usize % BUYERS.len()]
}

/// As it comes in a request, for the box's own wallet.
pub fn request(number: u64) -> Value {
    let (event, place) = (number / EVENT, number % EVENT);
    json!({
        "id": format!("order-{number:08}"),
        "eventId": format!("event-{event}"),
        "userId": format!("customer-{}", number / 2),
        "ticketData": {
            "eventName": format!("Winter Festival, Night {}", event + 1),
            "eventDate": "2026-12-05T20:00:00+01:00",
            "venue": "City Arena",
            "tier": if place < 100 { "VIP" } else { "Standard" },
            "seatNumber": format!("{}{}", char::from(b'A' + (place / 40) as u8), place % 40 + 1),
            "gate": place % 8 + 1,
        },
    })
}

/// The same for a buyer's own wallet.
pub fn request_of_buyer(number: u64) -> Value {
    let mut request = request(number);
    request["ownerAddress"] = json!(buyer(number).to_string());
    request
}

pub fn ticket(number: u64) -> Ticket {
    Ticket::from_json(&request_of_buyer(number), TicketRules::default()).unwrap()
}

/// Its own name, of its type.
pub fn ticket_id(number: u64) -> TicketId {
    ticket(number).ticket_id().unwrap()
}

/// Where it lives.
pub fn mint(number: u64) -> Pubkey {
    mint_address(&WALLET.address(), &venue(number), &ticket_id(number), Generation(0))
}

/// What is published of it.
pub fn published(ticket: &Ticket) -> Published {
    let uri = ContentId::of(&metadata_json(ticket, SYMBOL, &IMAGE)).uri();
    Published { name: chain_name(&ticket.ticket_data), uri }
}

/// What is minted for it.
pub fn ticket_mint(number: u64) -> TicketMint {
    let Published { name, uri } = published(&ticket(number));
    TicketMint {
        seed: mint_seed(&venue(number), &ticket_id(number), Generation(0)),
        accounts: TicketAccounts::of(mint(number), &buyer(number)),
        owner: buyer(number),
        name,
        symbol: SYMBOL.into(),
        uri,
        seller_fee_basis_points: 500,
        mint_rent: MINT_RENT,
        prefunded: None,
    }
}

/// Transactions of so many tickets each, that `payer` pays.
pub fn drafts(count: u64, tickets: u64, payer: Pubkey) -> Vec<Draft> {
    let draft = |number: u64| Draft {
        authority: WALLET.address(),
        payer,
        tickets: (number * tickets..(number + 1) * tickets).map(ticket_mint).collect(),
        allowance: Allowance::together(
            (0..tickets).map(|_ticket| Allowance { compute_unit_price: 10_000, ..Allowance::of_attempt(0) }),
        ),
    };
    (0..count).map(draft).collect()
}
