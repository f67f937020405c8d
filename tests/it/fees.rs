//! measure
use crate::support::*;
use boxoffice::{
    chain::{
        Chain as _, compute,
        instructions::TicketMint,
        transaction::{Allowance, Draft, Layout},
    },
    domain::{
        address::{Generation, mint_address, mint_seed},
        ids::{TicketId, VenueId},
    },
};
use solana_transaction::versioned::VersionedTransaction;

#[tokio::test(flavor = "multi_thread")]
async fn measure_units() {
    let folder = tempfile::tempdir().unwrap();
    let (_, authority) = wallet(folder.path(), 100 * SOL);
    let chain = boxoffice::chain::rpc::RpcChain::new(
        vec![chain().rpc_url().clone()],
        solana_commitment_config::CommitmentConfig::confirmed(),
    )
    .unwrap();
    println!("FEES {:?}", chain.priority_fees(&[]).await);
    let rent = chain.rent(82).await.unwrap();
    let venue = VenueId::new("venue-1").unwrap();
    for n in 0..300 {
        let id = TicketId::new(format!("t-{n}")).unwrap();
        let mint = mint_address(&authority, &venue, &id, Generation(0));
        let owner = if n % 2 == 0 { authority } else { solana_keypair::Keypair::new().pubkey() };
        let ticket = TicketMint {
            seed: mint_seed(&venue, &id, Generation(0)),
            mint,
            owner,
            name: format!("Ticket name {}", "x".repeat(n % 20)),
            symbol: "TKT".into(),
            uri: format!("ipfs://{}", "b".repeat(59)),
            seller_fee_basis_points: 0,
            mint_rent: rent,
            prefunded: None,
        };
        let draft = Draft {
            authority,
            payer: authority,
            tickets: vec![ticket],
            allowance: Allowance { compute_units: 1_400_000, compute_unit_price: 0 },
        };
        let message = draft.message(&Layout::Legacy, &solana_hash::Hash::default());
        let transaction = VersionedTransaction { signatures: vec![solana_signature::Signature::default()], message };
        let bytes = wincode::serialize(&transaction).unwrap();
        let answer = chain.simulate(&bytes).await;
        println!("{answer:?}");
    }
}
use solana_signer::Signer as _;
