//! The instructions that mint one ticket. Pure: no network, no clock, no key.

use mpl_token_metadata::{
    instructions::{CreateV1, CreateV1InstructionArgs, MintV1, MintV1InstructionArgs},
    types::{Creator, PrintSupply, TokenStandard},
};
use solana_instruction::Instruction;
use solana_pubkey::{Pubkey, pubkey};
use solana_system_interface::instruction as system;

use crate::domain::{address::TicketAccounts, lamports::Lamports};

/// Bytes of an SPL Token mint (`spl_token_interface::state::Mint::LEN`).
pub const MINT_BYTES: usize = 82;
/// Bytes of an SPL Token account (`spl_token_interface::state::Account::LEN`).
pub const TOKEN_ACCOUNT_BYTES: usize = 165;
/// Bytes of a metadata account as the deployed program creates it (measured; the client crate's 679 is the older layout).
pub const METADATA_BYTES: usize = 607;
/// Bytes of a master edition account as the deployed program creates it (measured).
pub const EDITION_BYTES: usize = 20;
/// Metaplex's creation fee is the rent of an account of this size and the offset below (the program's `state/fee.rs`).
pub const METAPLEX_FEE_BYTES: usize = 1_308;
/// See [`METAPLEX_FEE_BYTES`].
pub const METAPLEX_FEE_OFFSET: Lamports = Lamports(5_440);
/// The network's fee for one signature, the same on all clusters (Agave's `DEFAULT_TARGET_LAMPORTS_PER_SIGNATURE` / 2).
const SIGNATURE_FEE: Lamports = Lamports(5_000);

const SYSVAR_INSTRUCTIONS: Pubkey = pubkey!("Sysvar1nstructions1111111111111111111111111");

/// What the network takes for a transaction with so many signatures.
#[must_use]
pub fn signature_fee(signatures: u64) -> Lamports {
    SIGNATURE_FEE * signatures
}

/// Everything that decides the instructions of a ticket.
#[derive(Clone, Debug)]
pub struct TicketMint {
    /// The seed from which the mint's address is derived.
    pub seed: String,
    /// Where it will be.
    pub accounts: TicketAccounts,
    /// Who will hold the ticket.
    pub owner: Pubkey,
    /// Name on the chain, at most 32 bytes.
    pub name: String,
    /// Symbol, at most 10 bytes.
    pub symbol: String,
    /// Metadata URI, at most 200 bytes.
    pub uri: String,
    /// Royalty in hundredths of a percent.
    pub seller_fee_basis_points: u16,
    /// Rent of the mint account.
    pub mint_rent: Lamports,
    /// Lamports that someone sent to the mint's address before it existed; nearly always none.
    pub prefunded: Option<Lamports>,
}

/// The instructions that mint a ticket, which `authority` signs for and `payer` pays.
#[must_use]
pub fn mint_ticket(authority: &Pubkey, payer: &Pubkey, ticket: &TicketMint) -> Vec<Instruction> {
    let mut instructions = mint_account(authority, payer, ticket);
    instructions.extend(token_metadata(authority, payer, ticket));
    instructions
}

/// Creates and initialises the mint account.
fn mint_account(authority: &Pubkey, payer: &Pubkey, ticket: &TicketMint) -> Vec<Instruction> {
    let (mint, owner, size) = (&ticket.accounts.mint, &spl_token_interface::ID, MINT_BYTES as u64);
    let mut instructions = match ticket.prefunded {
        None => vec![system::create_account_with_seed(
            payer,
            mint,
            authority,
            &ticket.seed,
            ticket.mint_rent.0,
            size,
            owner,
        )],
        // `create_account` refuses an address that holds lamports, so a stranger could block a ticket by sending it one.
        Some(prefunded) => vec![
            system::transfer(payer, mint, ticket.mint_rent.saturating_sub(prefunded).0),
            system::allocate_with_seed(mint, authority, &ticket.seed, size, owner),
            system::assign_with_seed(mint, authority, &ticket.seed, owner),
        ],
    };
    // Fails only for another program id than the token program's.
    instructions
        .extend(spl_token_interface::instruction::initialize_mint2(owner, mint, authority, Some(authority), 0).ok());
    instructions
}

/// Makes the mint an NFT and puts its one token into the owner's account.
fn token_metadata(authority: &Pubkey, payer: &Pubkey, ticket: &TicketMint) -> [Instruction; 2] {
    let accounts = &ticket.accounts;
    let create = CreateV1 {
        metadata: accounts.metadata,
        master_edition: Some(accounts.edition),
        mint: (accounts.mint, false),
        authority: *authority,
        payer: *payer,
        update_authority: (*authority, true),
        system_program: solana_system_interface::program::ID,
        sysvar_instructions: SYSVAR_INSTRUCTIONS,
        spl_token_program: Some(spl_token_interface::ID),
    };
    let create = create.instruction(CreateV1InstructionArgs {
        name: ticket.name.clone(),
        symbol: ticket.symbol.clone(),
        uri: ticket.uri.clone(),
        seller_fee_basis_points: ticket.seller_fee_basis_points,
        creators: Some(vec![Creator { address: *authority, verified: true, share: 100 }]),
        primary_sale_happened: false,
        is_mutable: true,
        token_standard: TokenStandard::NonFungible,
        collection: None,
        uses: None,
        collection_details: None,
        rule_set: None,
        decimals: Some(0),
        print_supply: Some(PrintSupply::Zero),
    });
    let mint = MintV1 {
        token: accounts.token,
        token_owner: Some(ticket.owner),
        metadata: accounts.metadata,
        master_edition: Some(accounts.edition),
        token_record: None,
        mint: accounts.mint,
        authority: *authority,
        delegate_record: None,
        payer: *payer,
        system_program: solana_system_interface::program::ID,
        sysvar_instructions: SYSVAR_INSTRUCTIONS,
        spl_token_program: spl_token_interface::ID,
        spl_ata_program: spl_associated_token_account_interface::program::ID,
        authorization_rules_program: None,
        authorization_rules: None,
    };
    [create, mint.instruction(MintV1InstructionArgs { amount: 1, authorization_data: None })]
}
