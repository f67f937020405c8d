//! What is shipped beside the program speaks of instruments that the program has.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use boxoffice::config::{Config, SETTINGS, Setting, Sources};
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

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(path)
}

/// The file that is installed, with every setting in it put to use.
fn installed_settings() -> String {
    let text = fs::read_to_string(shipped("boxoffice.toml")).unwrap();
    let is_setting = |line: &str| {
        line.strip_prefix("# ")
            .and_then(|rest| rest.split_once(" = "))
            .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
    };
    text.lines().map(|line| if is_setting(line) { &line[2..] } else { line }).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_installed_settings_name_every_setting_that_is_no_secret_with_its_default() {
    let table: toml::Table = installed_settings().parse().unwrap();
    let value = |setting: &Setting| {
        let value = table.get(setting.group)?.get(setting.name.to_lowercase())?;
        let is_empty = value.as_array().is_some_and(Vec::is_empty);
        Some(value.as_str().map_or_else(|| if is_empty { String::new() } else { value.to_string() }, str::to_owned))
    };
    let chosen = ["NETWORK", "WALLET_PATH", "DATA_DIR", "BACKUP_SCHEDULE"];
    for setting in SETTINGS.iter().filter(|setting| !chosen.contains(&setting.name)) {
        match value(setting) {
            Some(text) => assert_eq!(text, setting.default, "{}", setting.name),
            None => assert!(setting.secret, "{} is missing", setting.name),
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("boxoffice.toml");
    for text in [installed_settings(), fs::read_to_string(shipped("boxoffice.toml")).unwrap()] {
        fs::write(&path, text).unwrap();
        Config::load(&Sources { file: Some(path.clone()), ..Sources::default() }).unwrap();
    }
}

#[test]
fn the_unit_hands_over_every_secret() {
    let unit = fs::read_to_string(shipped("systemd/boxoffice.service")).unwrap();
    let secrets = SETTINGS.iter().filter(|setting| setting.secret).map(|setting| setting.name);
    for name in secrets.chain(["wallet.json"]) {
        // What is not there is empty, or systemd would not start the box.
        let load = format!("\nLoadCredential={name}:/etc/boxoffice/credentials/{name}\n");
        assert!(unit.contains(&load) && unit.contains(&format!("\nSetCredential={name}:\\n\n")), "{name}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_is_told_that_the_box_is_ready_that_it_lives_and_that_it_stops() {
    use std::{os::unix::net::UnixDatagram, process::Stdio, time::Duration};

    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), SOL);
    let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let hear = || {
        let mut word = [0; 1_024];
        let length = socket.recv(&mut word).expect("nothing was told");
        String::from_utf8(word[..length].to_vec()).unwrap()
    };
    let rpc = chain().rpc_url().to_string();
    let mut server = boxoffice(folder.path())
        .args(["serve", "--set", "PORT=0", "--set", "NETWORK=localnet", "--set", &format!("SOLANA_RPC_URLS={rpc}")])
        .args(["--set", &format!("WALLET_PATH={}", wallet.display())])
        .env("NOTIFY_SOCKET", folder.path().join("notify"))
        .env("WATCHDOG_USEC", "800000")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert_eq!(hear(), "STATUS=starting: opening the books, reaching the chain");
    assert_eq!(hear(), "READY=1");
    for _ in 0..3 {
        assert_eq!(hear(), "WATCHDOG=1\nSTATUS=localnet: 0 tickets under way, 0 waiting");
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&server), rustix::process::Signal::TERM).unwrap();
    let last = std::iter::repeat_with(hear).find(|word| !word.starts_with("WATCHDOG")).unwrap();
    assert!(last.starts_with("STOPPING=1\n"), "{last}");
    assert!(server.wait().unwrap().success());
}
