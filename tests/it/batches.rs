//! Minting through the API, on the real chain with the real program.

use boxoffice::{
    chain::ticket::{OnChain, read},
    domain::{
        address::{Generation, TicketAccounts, mint_address},
        ids::{TicketId, VenueId},
    },
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use solana_pubkey::Pubkey;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_minted_read_back_and_paid_for_to_the_lamport() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    office.packs().await;
    let before = office.balance().await;
    let estimate = office.get("/admin/batch-mint/estimate?count=120").await.1;
    let result = office.mint("venue-123", &tickets("t", 120)).await;
    assert_eq!(result["summary"]["succeeded"], 120, "{result}");
    assert_eq!(result["summary"]["failed"], 0);
    let spent = before - office.balance().await;
    assert_eq!(result["summary"]["spentLamports"], spent);
    assert_eq!(result["summary"]["estimatedLamports"], spent);
    assert_eq!(estimate["estimatedLamports"], spent);
    assert_eq!(nfts_of(chain().rpc_url(), &office.app.authority).await, 120);

    for (position, minted) in result["successful"].as_array().unwrap().iter().enumerate() {
        assert_eq!(minted["ticketId"], format!("t-{position}"), "results are in the order of the request");
    }
    let minted = &result["successful"][7];
    let mint: Pubkey = minted["mintAddress"].as_str().unwrap().parse().unwrap();
    let accounts = TicketAccounts::of(mint, &office.app.authority).addresses();
    let found = boxoffice::chain::Chain::accounts(office.app.chain.as_ref(), &accounts).await.unwrap().value;
    let OnChain::Ticket(found) = read([found[0].as_ref(), found[1].as_ref(), found[2].as_ref(), found[3].as_ref()])
    else {
        panic!("no ticket at {mint}");
    };
    assert_eq!(found.name, "Concert · VIP · t-7");
    assert_eq!(found.symbol, "TKT");
    assert_eq!(found.uri, minted["metadataUri"]);
    assert_eq!(found.update_authority, office.app.authority);
    assert!(found.held_by_owner && found.supply == 1);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_lives_where_anyone_can_compute() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let result = office.mint("venue-123", &[ticket("ticket-1")]).await;
    let (venue, id) = (VenueId::new("venue-123").unwrap(), TicketId::new("ticket-1").unwrap());
    let computed = mint_address(&office.app.authority, &venue, &id, Generation(0)).to_string();
    assert_eq!(result["successful"][0]["mintAddress"], computed);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_batch_twice_is_one_nft_each() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let batch = tickets("t", 30);
    let (first, second) = tokio::join!(office.mint("v", &batch), office.mint("v", &batch));
    let third = office.mint("v", &batch).await;
    let signatures = |result: &Value| -> Vec<String> {
        let minted = result["successful"].as_array().unwrap().iter();
        minted.map(|minted| minted["signature"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(signatures(&first).len(), 30);
    assert_eq!(signatures(&first), signatures(&second));
    assert_eq!(signatures(&first), signatures(&third));
    assert!(third["successful"].as_array().unwrap().iter().all(|minted| minted["replayed"] == true));
    assert_eq!(third["summary"]["spentLamports"], 0);
    let spent = |result: &Value| result["summary"]["spentLamports"].as_u64().unwrap();
    assert_eq!(
        spent(&first) + spent(&second),
        100 * SOL - office.balance().await,
        "each ticket is billed to one batch"
    );
    assert_eq!(nfts_of(chain().rpc_url(), &office.app.authority).await, 30);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_data_folder_is_found_again_on_the_chain() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, authority) = wallet(folder.path(), 100 * SOL);
    let batch = tickets("t", 60);
    let office = BoxOptions::new(folder.path(), &wallet).start().await;
    let first = office.mint("v", &batch).await;
    let balance = office.balance().await;
    office.finish().await;
    std::fs::remove_dir_all(folder.path().join("data")).unwrap();

    let office = BoxOptions::new(folder.path(), &wallet).start().await;
    let second = office.mint("v", &batch).await;
    assert_eq!(second["summary"]["succeeded"], 60, "{second}");
    for (before, after) in first["successful"].as_array().unwrap().iter().zip(second["successful"].as_array().unwrap())
    {
        assert_eq!(before["signature"], after["signature"]);
        assert_eq!(before["mintAddress"], after["mintAddress"]);
        assert_eq!(before["costLamports"], after["costLamports"]);
        assert_eq!(after["adopted"], true);
    }
    assert_eq!(office.balance().await, balance, "nothing was paid twice");
    assert_eq!(nfts_of(chain().rpc_url(), &authority).await, 60);

    // The same ticket with other content is not taken for the one on the chain.
    office.finish().await;
    std::fs::remove_dir_all(folder.path().join("data")).unwrap();
    let office = BoxOptions::new(folder.path(), &wallet).start().await;
    let mut other = ticket("t-0");
    other["ticketData"]["tier"] = json!("Standard");
    let third = office.mint("v", &[other]).await;
    assert_eq!(third["failed"][0]["code"], "chain_conflict", "{third}");
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_data_folder_is_found_again_with_an_empty_wallet() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), SOL / 5);
    let office = BoxOptions::new(folder.path(), &wallet).set("MIN_SOL_BALANCE", "0.1").start().await;
    let first = office.mint("v", &tickets("t", 5)).await;
    assert_eq!(first["summary"]["succeeded"], 5, "{first}");
    let balance = office.balance().await;
    office.finish().await;
    std::fs::remove_dir_all(folder.path().join("data")).unwrap();

    let office = BoxOptions::new(folder.path(), &wallet).set("MIN_SOL_BALANCE", "0.1").start().await;
    let body = json!({ "venueId": "v", "tickets": tickets("t", 5) });
    assert_eq!(office.post("/admin/batch-mint?dryRun=true", &body).await.1["refusal"], json!(null));
    let second = office.mint("v", &tickets("t", 5)).await;
    assert_eq!(second["summary"]["succeeded"], 5, "{second}");
    assert_eq!((&second["summary"]["spentLamports"], &second["summary"]["estimatedLamports"]), (&json!(0), &json!(0)));
    assert_eq!(office.balance().await, balance);
    // One more than the chain holds is one too many.
    let (status, problem) =
        office.post("/admin/batch-mint", &json!({ "venueId": "v", "tickets": tickets("u", 1) })).await;
    assert_eq!((status, &problem["code"]), (StatusCode::PAYMENT_REQUIRED, &json!("insufficient_funds")));
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_was_minted_to_someone_else_is_not_taken_for_the_buyers() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), SOL);
    let office = BoxOptions::new(folder.path(), &wallet).start().await;
    office.mint("v", &tickets("t", 1)).await;
    office.finish().await;
    std::fs::remove_dir_all(folder.path().join("data")).unwrap();
    let office = BoxOptions::new(folder.path(), &wallet).start().await;
    let mut batch = tickets("t", 1);
    batch[0]["ownerAddress"] = json!(boxoffice::chain::wallet::Wallet::ephemeral().address().to_string());
    let result = office.mint("v", &batch).await;
    assert_eq!(result["failed"][0]["code"], "chain_conflict", "{result}");
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_the_middle_parks_what_was_not_sent() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, authority) = wallet(folder.path(), 10 * SOL);
    let slow = || BoxOptions::new(folder.path(), &wallet).set("MAX_BATCH_SIZE", "5").set("BATCH_DELAY_MS", "200");
    let office = slow().start().await;
    let body = json!({ "venueId": "v", "tickets": tickets("t", 100) });
    let request = office.request(reqwest::Method::POST, "/admin/batch-mint").header("prefer", "respond-async");
    answer(request.json(&body)).await;
    while office.app.store.open_attempts().await.unwrap().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let stopping = std::time::Instant::now();
    office.abandon().await;
    assert!(stopping.elapsed().as_secs() < 5, "a stop must not wait for what was never sent");
    let office = BoxOptions::new(folder.path(), &wallet).start().await;
    let result = office.mint("v", &tickets("t", 100)).await;
    assert_eq!(result["summary"]["succeeded"], 100, "{result}");
    assert_eq!(nfts_of(chain().rpc_url(), &authority).await, 100);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn impossible_tickets_fail_alone_and_precisely() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    office.mint("v", &[ticket("known")]).await;
    let mut batch = tickets("good", 20);
    let mut nobody = ticket("nobody");
    nobody["ownerAddress"] = json!("11111111111111111111111111111111");
    let mut long = ticket("long");
    long["ticketData"]["eventName"] = json!("x".repeat(201));
    let mut changed = ticket("known");
    changed["ticketData"]["seatNumber"] = json!("elsewhere");
    let wrong_type = json!("not an object");
    batch.extend([nobody, long, ticket("good-3"), changed, wrong_type]);
    let result = office.mint("v", &batch).await;
    assert_eq!(result["summary"]["succeeded"], 20, "{result}");
    let failed: Vec<_> = result["failed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|failed| {
            assert_eq!(failed["retryable"], false);
            (failed["ticketId"].as_str().unwrap(), failed["code"].as_str().unwrap(), failed["status"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(
        failed,
        [
            ("nobody", "invalid_ticket", 422),
            ("long", "invalid_ticket", 422),
            ("good-3", "duplicate_in_batch", 409),
            ("known", "content_conflict", 409),
            ("", "invalid_ticket", 422)
        ]
    );
    assert_eq!(result["failed"][0]["faults"][0]["pointer"], "/ownerAddress");
    assert_eq!(result["failed"][1]["error"], "ticketData/eventName is 201 bytes long; at most 200 are allowed");
    assert_eq!(nfts_of(chain().rpc_url(), &office.app.authority).await, 21);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_only_the_chain_refuses_fails_alone() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    // Someone else's account sits where the ticket's metadata should be.
    let (venue, id) = (VenueId::new("v").unwrap(), TicketId::new("t-5").unwrap());
    let mint = mint_address(&office.app.authority, &venue, &id, Generation(0));
    let metadata = mpl_token_metadata::accounts::Metadata::find_pda(&mint).0.to_string();
    let foreign =
        json!({ "lamports": 5_000_000, "data": "00", "owner": "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr" });
    rpc_call(chain().rpc_url(), "surfnet_setAccount", json!([metadata, foreign])).await;
    let before = office.balance().await;
    let result = office.mint("v", &tickets("t", 10)).await;
    assert_eq!(result["summary"]["succeeded"], 9, "{result}");
    assert_eq!(result["failed"][0]["ticketId"], "t-5");
    assert_eq!(result["failed"][0]["code"], "rejected_by_chain");
    assert_eq!(result["summary"]["spentLamports"], before - office.balance().await, "its fee is on the bill");
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_cannot_block_a_ticket_by_sending_it_money() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let (venue, id) = (VenueId::new("v").unwrap(), TicketId::new("t-1").unwrap());
    let mint = mint_address(&office.app.authority, &venue, &id, Generation(0));
    fund(chain(), &mint, 900_000);
    let result = office.mint("v", &tickets("t", 3)).await;
    assert_eq!(result["summary"]["succeeded"], 3, "{result}");
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_hold_their_tickets_vaults_too() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), 10 * SOL);
    let office = BoxOptions::new(folder.path(), &wallet).set("ALLOW_OFF_CURVE_OWNERS", "true").start().await;
    let person = boxoffice::chain::wallet::Wallet::ephemeral().address();
    let vault = Pubkey::find_program_address(&[b"vault"], &mpl_token_metadata::ID).0;
    let mut batch = tickets("t", 2);
    batch[0]["ownerAddress"] = json!(person.to_string());
    batch[1]["ownerAddress"] = json!(vault.to_string());
    let result = office.mint("v", &batch).await;
    assert_eq!(result["summary"]["succeeded"], 2, "{result}");
    assert_eq!(nfts_of(chain().rpc_url(), &person).await, 1);
    assert!(nfts_of(chain().rpc_url(), &vault).await >= 1);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_does_not_reach_is_refused_before_anything_is_spent() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, authority) = wallet(folder.path(), SOL / 2);
    let office = BoxOptions::new(folder.path(), &wallet).start().await;
    let price = office.get("/admin/batch-mint/estimate?count=1").await.1["estimatedLamports"].as_u64().unwrap();
    let body = json!({ "venueId": "v", "tickets": tickets("t", 30) });
    let (status, problem) = office.post("/admin/batch-mint", &body).await;
    assert_eq!(status, StatusCode::PAYMENT_REQUIRED);
    assert_eq!(problem["code"], "insufficient_funds");
    assert_eq!(problem["missingLamports"], 30 * price + SOL / 10 - SOL / 2);
    assert!(problem["detail"].as_str().unwrap().contains(&authority.to_string()), "{problem}");
    assert_eq!(office.get("/admin/mints").await.1["mints"], json!([]), "nothing was kept");
    assert_eq!(office.balance().await, SOL / 2);
    // What the wallet can pay is minted.
    let result = office.mint("v", &tickets("t", 10)).await;
    assert_eq!(result["summary"]["succeeded"], 10);
    let spent = result["summary"]["spentLamports"].as_u64().unwrap();
    office.finish().await;

    let daily = BoxOptions::new(folder.path(), &wallet).set("DAILY_LIMIT_SOL", "0.2").start().await;
    let body = json!({ "venueId": "v", "tickets": tickets("u", 1) });
    let (status, problem) = daily.post("/admin/batch-mint", &body).await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::PAYMENT_REQUIRED, Some("spending_limit")), "{problem}");
    assert_eq!(problem["missingLamports"], spent + price - SOL / 5, "what was spent before the restart counts");
    daily.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_runs_dry_holds_the_tickets_until_it_is_filled() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, authority) = wallet(folder.path(), SOL / 2);
    // The second box spends the money that the first one has reserved.
    let office = BoxOptions::new(folder.path(), &wallet).set("MIN_SOL_BALANCE", "0").start().await;
    let params = json!([authority.to_string(), { "lamports": SOL / 20 }]);
    let body = json!({ "venueId": "v", "tickets": tickets("t", 20) });
    let (accepted, ()) = tokio::join!(
        async {
            answer(
                office
                    .request(reqwest::Method::POST, "/admin/batch-mint")
                    .header("prefer", "respond-async")
                    .json(&body),
            )
            .await
        },
        async {
            rpc_call(chain().rpc_url(), "getSlot", json!([])).await;
        }
    );
    assert_eq!(accepted.0, StatusCode::ACCEPTED);
    rpc_call(chain().rpc_url(), "surfnet_setAccount", params).await;
    let location = format!("/admin/batches/{}", accepted.1["batchId"].as_str().unwrap());
    // Either the engine was quicker than the thief, or it holds; in both cases filling the wallet finishes the batch.
    tokio::time::timeout(std::time::Duration::from_secs(20), async {
        loop {
            let (_, batch) = office.get(&location).await;
            let (_, ready) = office.get("/health/ready").await;
            if batch["state"] == "finished" || ready["minting"] == false {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap();
    fund(chain(), &authority, 10 * SOL);
    let result = office.mint("v", &tickets("t", 20)).await;
    assert_eq!(result["summary"]["succeeded"], 20, "{result}");
    assert_eq!(nfts_of(chain().rpc_url(), &authority).await, 20);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_at_the_door_does_not_wait_for_a_bulk_batch() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), 100 * SOL);
    // Twenty tickets a second: the bulk batch takes ten seconds.
    let options = BoxOptions::new(folder.path(), &wallet).set("MAX_BATCH_SIZE", "2").set("BATCH_DELAY_MS", "100");
    let office = options.start().await;
    let bulk = json!({ "venueId": "v", "tickets": tickets("bulk", 200) });
    let request =
        office.request(reqwest::Method::POST, "/admin/batch-mint").header("prefer", "respond-async").json(&bulk);
    let (status, accepted) = answer(request).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let door = office.mint("v", &[ticket("door")]).await;
    assert_eq!(door["summary"]["succeeded"], 1);
    let (_, batch) =
        office.get(&format!("/admin/batches/{}?entries=false", accepted["batchId"].as_str().unwrap())).await;
    assert!(batch["summary"]["pending"].as_u64().unwrap() > 50, "the door waited for the bulk: {batch}");
    let bulk = office.mint("v", &tickets("bulk", 200)).await;
    assert_eq!(bulk["summary"]["succeeded"], 200);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_batches_at_once_share_commits() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let batches: Vec<Vec<Value>> = (0..100).map(|number| vec![ticket(&format!("t-{number}"))]).collect();
    let results = futures_util::future::join_all(batches.iter().map(|batch| office.mint("v", batch))).await;
    assert!(results.iter().all(|result| result["summary"]["succeeded"] == 1));
    assert_eq!(nfts_of(chain().rpc_url(), &office.app.authority).await, 100);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_waits_for_its_time_and_then_runs_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let send = async |venue: &str, not_before: &str, tickets: Vec<Value>| {
        let body = json!({ "venueId": venue, "notBefore": not_before, "tickets": tickets });
        office.post("/admin/batch-mint", &body).await
    };
    let at = |seconds: i64| (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds)).to_string();
    let (status, soon) = send("v", &at(2), tickets("soon", 3)).await;
    assert_eq!((status, &soon["state"]), (StatusCode::ACCEPTED, &json!("waiting")), "{soon}");
    assert!(soon["summary"]["etaSeconds"].as_f64().unwrap() > 1.0, "{soon}");
    let (_, late) = send("v", &at(86_400), tickets("late", 3)).await;
    // What has no time of its own is minted meanwhile.
    assert_eq!(office.mint("v", &tickets("now", 2)).await["summary"]["succeeded"], 2);
    assert_eq!(office.get("/admin/mints/soon-0").await.1["status"], "pending");
    let path = format!("/admin/batches/{}", soon["batchId"].as_str().unwrap());
    until(async || office.get(&path).await.1["state"] == "finished").await;
    let path = format!("/admin/batches/{}", late["batchId"].as_str().unwrap());
    assert_eq!(office.get(&path).await.1["state"], "waiting");
    // Whoever asks for a waiting ticket earlier gets it earlier.
    assert_eq!(office.mint("v", &tickets("late", 3)).await["summary"]["succeeded"], 3);
    assert_eq!(office.get(&path).await.1["state"], "finished");

    let (status, problem) = send("v", "quietHours", tickets("q", 1)).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("/notBefore")));
    let (status, problem) = send("v", "tomorrow", tickets("q", 1)).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("/notBefore")));
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_wait_is_minted_in_quiet_hours() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), SOL);
    // It is always quiet, or never for the next hours.
    let hour = |ahead: i64| {
        let then = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(ahead);
        jiff::tz::TimeZone::UTC.to_datetime(then).strftime("%H:00").to_string()
    };
    let body = json!({ "venueId": "v", "notBefore": "quietHours", "tickets": tickets("t", 2) });
    let loud =
        BoxOptions::new(folder.path(), &wallet).set("QUIET_HOURS", format!("{}-{}", hour(3), hour(5))).start().await;
    let (_, batch) = loud.post("/admin/batch-mint", &body).await;
    assert_eq!(batch["state"], "waiting", "{batch}");
    loud.abandon().await;
    let quiet =
        BoxOptions::new(folder.path(), &wallet).set("QUIET_HOURS", format!("{}-{}", hour(-1), hour(2))).start().await;
    let (_, batch) = quiet.post("/admin/batch-mint", &body).await;
    let path = format!("/admin/batches/{}", batch["batchId"].as_str().unwrap());
    until(async || quiet.get(&path).await.1["state"] == "finished").await;
    quiet.finish().await;
}
