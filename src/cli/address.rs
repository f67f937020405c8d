//! `boxoffice address`.

use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::Args;
use solana_pubkey::Pubkey;

use super::SettingFlags;
use crate::domain::{
    address::{Generation, mint_address},
    ids::{TicketId, VenueId},
};

/// Needs no database and no network: whoever knows the authority's public key can find a venue's tickets.
#[derive(Debug, Args)]
#[command(after_help = "Example: boxoffice address --venue venue-123 ticket-1 \
                        --authority 4Nd1mBQtrMJVYVfKf2PJy9NZUZdTAsp7D4xWLs4gDB4T")]
pub(super) struct AddressArgs {
    /// The ticket's id
    ticket: String,
    /// The venue's id
    #[arg(long)]
    venue: String,
    /// Which issue of the ticket; 0 is the first
    #[arg(long, default_value_t = 0)]
    generation: u32,
    /// Public key of the wallet that mints [default: that of `WALLET_PATH`]
    #[arg(long, value_name = "PUBKEY")]
    authority: Option<Pubkey>,
}

pub(super) fn run(args: AddressArgs, settings: &SettingFlags) -> anyhow::Result<ExitCode> {
    let authority = if let Some(authority) = args.authority {
        authority
    } else {
        let config = settings.load_quietly()?;
        let address = config.wallet.address()?;
        address.context("whose tickets? Give --authority PUBKEY, or set WALLET_PATH")?
    };
    let venue = VenueId::new(args.venue).map_err(|fault| anyhow!("the venue's id {fault}"))?;
    let ticket = TicketId::new(args.ticket).map_err(|fault| anyhow!("the ticket's id {fault}"))?;
    say!("{}", mint_address(&authority, &venue, &ticket, Generation(args.generation)));
    Ok(ExitCode::SUCCESS)
}
