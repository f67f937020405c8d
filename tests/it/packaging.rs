//! What is shipped beside the program speaks of instruments that the program has.

use std::{collections::BTreeSet, fs, path::Path};

use reqwest::Method;
use serde_json::json;

use crate::support::*;

/// Names in Prometheus' and Grafana's files that begin as ours do.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    let ours = |word: &&str| ["minting_", "boxoffice_", "process_"].iter().any(|prefix| word.starts_with(prefix));
    words.filter(ours).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_instrument_that_rules_and_dashboard_name_exists() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    office.mint("v", &tickets("t", 2)).await;
    // A counter by code appears with the first refusal.
    office.post("/admin/batch-mint", &json!({})).await;
    // What is told by job and by venue appears with the first run.
    office.post("/admin/jobs/reconcile/run", &json!({})).await;
    let metrics = async || office.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    until(async || metrics().await.contains("boxoffice_job_last_success_timestamp_seconds{job_id=\"reconcile\"}"))
        .await;
    let text = metrics().await;
    let mut known: BTreeSet<String> = names(&text);
    // Shown only by boxes that share a Redis.
    known.insert("boxoffice_redis_connected".to_owned());
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    for file in ["prometheus/boxoffice.rules.yml", "grafana/boxoffice.json"] {
        let used = names(&fs::read_to_string(packaging.join(file)).unwrap());
        assert!(used.len() > 8, "{file} names {} instruments", used.len());
        let unknown: Vec<&String> = used.difference(&known).collect();
        assert!(unknown.is_empty(), "{file} names what /metrics does not have: {unknown:?}");
    }
    office.finish().await;
}
