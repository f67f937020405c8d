//! Settings: precedence, faults all at once, secrets.

use std::{collections::BTreeMap, fs, net::SocketAddr};

use boxoffice::config::{Config, Network, Sources, describe};

fn sources(
    folder: &std::path::Path,
    file: &str,
    dot_env: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Sources {
    let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    fs::write(folder.join("boxoffice.toml"), file).unwrap();
    fs::write(folder.join(".env"), dot_env).unwrap();
    Sources {
        preferred: BTreeMap::new(),
        file: Some(folder.join("boxoffice.toml")),
        dot_env: Some(folder.join(".env")),
        credentials: None,
        environment: map(environment),
        flags: map(flags),
    }
}

#[test]
fn later_sources_win() {
    let folder = tempfile::tempdir().unwrap();
    let file = "[server]\nport = 1\nhost = \"127.0.0.2\"\n[minting]\nsymbol = \"FILE\"\nmax_batch_size = 5\n";
    let all =
        sources(folder.path(), file, "PORT=2\nSYMBOL=DOTENV\n", &[("PORT", "3"), ("PATH", "x")], &[("PORT", "4")]);
    let config = Config::load(&all).unwrap();
    assert_eq!(config.listen, "127.0.0.2:4".parse::<SocketAddr>().unwrap());
    assert_eq!(config.symbol, "DOTENV");
    assert_eq!(config.pacing.wave_size, 5);
    assert_eq!(config.network, Network::Embedded);
    let without_flags = Config::load(&Sources { flags: BTreeMap::new(), ..all }).unwrap();
    assert_eq!(without_flags.listen.port(), 3);
}

#[test]
fn files_of_a_supervisor_win_over_the_file_and_lose_to_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let handed = folder.path().join("handed");
    fs::create_dir(&handed).unwrap();
    let file = "[server]\nadmin_api_key = \"of the file\"\n[solana]\nwallet_path = \"elsewhere/wallet.json\"\n";
    let write = |name: &str, text: &str| fs::write(handed.join(name), text).unwrap();
    let load = |environment: &[(&str, &str)]| {
        let all = Sources { credentials: Some(handed.clone()), ..sources(folder.path(), file, "", environment, &[]) };
        (Config::load(&all), all)
    };
    let key = |config: Config| config.admin_api_key.unwrap().expose().to_owned();

    // What is optional is empty there, and counts as not set.
    write("ADMIN_API_KEY", "\n");
    write("wallet.json", "\n");
    let config = load(&[]).0.unwrap();
    assert_eq!(config.wallet.key_file.as_deref(), Some(std::path::Path::new("elsewhere/wallet.json")));
    assert_eq!(key(config), "of the file");

    write("ADMIN_API_KEY", "of a credential\r\n");
    write("wallet.json", "[1,2]");
    write("somebody-else", "ignored");
    let (config, all) = load(&[]);
    let config = config.unwrap();
    assert_eq!(config.wallet.key_file, Some(handed.join("wallet.json")));
    assert_eq!(key(config), "of a credential");
    let described = describe(&all);
    let told = described.iter().find(|(setting, ..)| setting.name == "ADMIN_API_KEY").unwrap();
    assert_eq!((told.1.as_str(), told.2.as_str()), ("[redacted]", handed.join("ADMIN_API_KEY").to_str().unwrap()));
    assert_eq!(key(load(&[("ADMIN_API_KEY", "of the environment")]).0.unwrap()), "of the environment");

    // Two wallets are one too many.
    let rotated = "[solana]\nwallet_path = \"wallet-new.json\"\n";
    let all = Sources { credentials: Some(handed.clone()), ..sources(folder.path(), rotated, "", &[], &[]) };
    let told = Config::load(&all).unwrap_err().to_string();
    assert!(
        told.contains("WALLET_PATH is wallet-new.json, and") && told.contains("holds another wallet.json"),
        "{told}"
    );

    write("ADMIN_API_KEY", "hunter2\nhunter2");
    write("PINATA_JTW", "hunter2");
    fs::create_dir(handed.join("REDIS_PASSWORD")).unwrap();
    let told = load(&[]).0.unwrap_err().to_string();
    for wanted in [
        &*format!(
            "ADMIN_API_KEY has more than one line; the file must hold the value and nothing else ({}",
            handed.display()
        ),
        "PINATA_JTW is not a setting; did you mean PINATA_JWT?",
        "REDIS_PASSWORD cannot be read: ",
    ] {
        assert!(told.contains(wanted), "{wanted:?} is not in:\n{told}");
    }
    assert!(!told.contains("hunter2"), "{told}");
    fs::remove_dir_all(&handed).unwrap();
    let told = load(&[]).0.unwrap_err().to_string();
    assert!(told.contains("CREDENTIALS_DIRECTORY leads to") && told.contains("no folder"), "{told}");
}

#[test]
fn every_fault_is_told_at_once_with_its_source() {
    let folder = tempfile::tempdir().unwrap();
    let file = "network = \"devnet\"\n[solana]\nwalet_path = \"x\"\n[minting]\nport = 1\n";
    let all = sources(
        folder.path(),
        file,
        "SYMBLO=X\n",
        &[("PORT", "99999"), ("ALLOWED_IPS", "10.0.0.0/8, 10.0.0.0/33"), ("RATE_LIMIT_MAX", "many")],
        &[("NETWORK", "mainnet")],
    );
    let told = Config::load(&all).unwrap_err().to_string();
    for wanted in [
        "solana.walet_path is not a setting; did you mean WALLET_PATH?",
        "network belongs into the table [solana]",
        "minting.port belongs into the table [server]",
        "SYMBLO is not a setting; did you mean SYMBOL?",
        "PORT must be a whole number from 0 to 65535, not \"99999\" (environment)",
        "NETWORK must be one of embedded, localnet, devnet, testnet, mainnet-beta, not \"mainnet\" (command line)",
        "ALLOWED_IPS has \"10.0.0.0/33\", which is no address and no network",
        "RATE_LIMIT_MAX must be a whole number, or off, not \"many\" (environment)",
    ] {
        assert!(told.contains(wanted), "{wanted:?} is not in:\n{told}");
    }
}

#[test]
fn secrets_are_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = [("ADMIN_API_KEY", "hunter2"), ("SOLANA_RPC_URLS", "https://rpc.example/hunter2,hunter2")];
    let all = sources(folder.path(), "", "", &secrets, &[]);
    let told = Config::load(&all).unwrap_err().to_string();
    assert!(told.contains("SOLANA_RPC_URLS entry 2 is not"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
    assert!(!format!("{:?}", describe(&all)).contains("hunter2"));
    let all = sources(folder.path(), "", "", &secrets[..1], &[]);
    assert!(!format!("{:?}", Config::load(&all).unwrap()).contains("hunter2"));
}

#[test]
fn a_file_with_a_slip_is_not_quoted() {
    let folder = tempfile::tempdir().unwrap();
    for (file, place) in [
        ("[server]\nport = 1\nadmin_api_key = \"SECRETK1\n", "line 3, column "),
        ("[server]\nadmin_api_key = SECRETK1\n", "line 2, column 17"),
        ("[server]\nadmin_api_key = \"SECRETK1\" SECRETK1\n", "line 2, column "),
        ("[server]\nSECRETK1 = 1\nSECRETK1 = 1\n", "line 3, column 1"),
        ("[SECRETK1]\n[SECRETK1]\n", "line 2, column 1"),
        ("[server]\nport = 99999999999999999999SECRETK1\n", "line 2, column "),
        ("SECRETK1", "line 1, column "),
    ] {
        let told = Config::load(&sources(folder.path(), file, "", &[], &[])).unwrap_err().to_string();
        assert!(told.contains("boxoffice.toml is not valid TOML: ") && told.contains(place), "{told}");
        assert!(!told.contains("SECRET"), "{told}");
    }
    fs::write(folder.path().join("bytes.toml"), [0xff]).unwrap();
    let bytes = Sources { file: Some(folder.path().join("bytes.toml")), ..Sources::default() };
    assert!(Config::load(&bytes).unwrap_err().to_string().contains("bytes.toml cannot be read"));
}

#[test]
fn what_would_quietly_lift_a_limit_is_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    let told = |pairs: &[(&str, &str)]| {
        Config::load(&sources(folder.path(), "", "", pairs, &[])).map_err(|faults| faults.to_string())
    };
    for name in ["RATE_LIMIT_MAX", "RATE_LIMIT_READ_MAX"] {
        let fault = told(&[(name, "0")]).unwrap_err();
        assert!(fault.contains(&format!("{name} would let nobody in; write off for no limit")), "{fault}");
        assert!(told(&[(name, "off")]).is_ok());
    }
    for name in ["ALLOWED_IPS", "TRUSTED_PROXIES"] {
        let fault = told(&[(name, " , ")]).unwrap_err();
        assert!(fault.contains(&format!("{name} names no address")), "{fault}");
    }
    for (name, meant) in [
        ("HOURLY_LIMIT", "HOURLY_LIMIT_SOL"),
        ("DAILY_LIMIT", "DAILY_LIMIT_SOL"),
        ("TX_LIMIT", "TX_LIMIT_SOL"),
        ("TRUSTED_PROXY", "TRUSTED_PROXIES"),
        ("ALLOWED_IP", "ALLOWED_IPS"),
        ("daily_limit_sol", "DAILY_LIMIT_SOL"),
        ("Allowed_Ips", "ALLOWED_IPS"),
    ] {
        let fault = told(&[(name, "1")]).unwrap_err();
        assert!(fault.contains(&format!("{name} is not a setting; did you mean {meant}? (environment)")), "{fault}");
    }
    let others =
        ["host", "port", "network", "HOSTNAME", "LOG_DIR", "BACKUP", "RATE_LIMIT", "LIMIT", "_", "XDG_DATA_DIRS"];
    assert!(told(&others.map(|name| (name, "x"))).is_ok());
}

#[test]
fn priority_fees_are_off_but_on_mainnet_and_never_without_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let fees = |pairs: &[(&str, &str)]| {
        let loaded = Config::load(&sources(folder.path(), "", "", pairs, &[])).map_err(|faults| faults.to_string());
        loaded.map(|config| config.priority_fees)
    };
    assert_eq!(fees(&[]).unwrap().percentile, None);
    assert_eq!(fees(&[]).unwrap().most_per_ticket().0, 0, "nothing is reserved for what is never offered");
    let mainnet = [("NETWORK", "mainnet-beta"), ("WALLET_PATH", "w.json")];
    let usual = fees(&mainnet).unwrap();
    assert_eq!((usual.percentile, usual.floor, usual.cap), (Some(75), 0, 100_000));
    assert_eq!(usual.most_per_ticket().0, 22_000);
    let off = [mainnet.as_slice(), &[("PRIORITY_FEE_PERCENTILE", "0")]].concat();
    assert_eq!(fees(&off).unwrap().percentile, None);
    let fault = fees(&[("PRIORITY_FEE_FLOOR", "200000"), ("PRIORITY_FEE_PERCENTILE", "101")]).unwrap_err();
    assert!(fault.contains("PRIORITY_FEE_FLOOR is above PRIORITY_FEE_CAP"), "{fault}");
    assert!(fault.contains("PRIORITY_FEE_PERCENTILE must be a whole number from 0 to 100"), "{fault}");
}

#[test]
fn settings_of_later_versions_are_named_and_do_not_stop_the_box() {
    let folder = tempfile::tempdir().unwrap();
    let all = sources(
        folder.path(),
        "",
        "RECONCILIATION_SCHEDULE=0 2 * * *  # 2 AM daily\nSOLANA_WS_URL=ws://localhost:8900\nREDIS_URL=redis://localhost:6379\nexport REDIS_ENABLED=\"false\" # off\n# BATCH\n",
        &[],
        &[],
    );
    let config = Config::load(&all).unwrap();
    assert_eq!(config.warnings.len(), 1);
    assert!(config.warnings[0].contains("SOLANA_WS_URL"), "{:?}", config.warnings);
    assert_eq!(config.cache.redis, None);
    assert_eq!(config.schedules.reconcile.unwrap().to_string(), "0 2 * * * UTC");
    let all = sources(folder.path(), "", "REDIS_ENABLED=true\n", &[], &[]);
    let loaded = Config::load(&all);
    if cfg!(feature = "redis") {
        let redis = loaded.unwrap().cache.redis.unwrap();
        assert_eq!((redis.url.expose(), redis.password), ("redis://localhost:6379", None));
        for wrong in ["http://x:hunter2@y", "redis://hunter2:notaport", "redis://"] {
            let text = format!("REDIS_ENABLED=true\nREDIS_URL={wrong}\n");
            let fault = Config::load(&sources(folder.path(), "", &text, &[], &[])).unwrap_err().to_string();
            assert!(fault.contains("REDIS_URL must be an address such as redis://") && !fault.contains("hunter2"));
        }
    } else {
        assert!(loaded.unwrap_err().to_string().contains("lacks the cargo feature `redis`"));
    }
}

#[test]
fn a_webhook_needs_a_secret_and_a_way_that_nobody_reads_along() {
    let folder = tempfile::tempdir().unwrap();
    let secret = ("ALERT_WEBHOOK_SECRET", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
    let load = |pairs: &[(&str, &str)]| Config::load(&sources(folder.path(), "", "", pairs, &[]));
    let host = |url| load(&[("ALERT_WEBHOOK_URL", url), secret]).unwrap().alerts.receiver.unwrap().host();
    assert_eq!(host("https://hooks.example/hunter2"), "https://hooks.example");
    assert_eq!(host("http://[::1]:9/hunter2"), "http://[::1]:9");
    assert_eq!(host("http://localhost/hunter2"), "http://localhost");
    let plain = [("ALERT_WEBHOOK_URL", "http://hooks.example/hunter2"), secret];
    let told = load(&plain).unwrap_err().to_string();
    assert!(told.contains("ALERT_WEBHOOK_ALLOW_HTTP=true") && !told.contains("hunter2"), "{told}");
    assert!(load(&[&plain[..], &[("ALERT_WEBHOOK_ALLOW_HTTP", "true")]].concat()).is_ok());
    let told = load(&plain[..1]).unwrap_err().to_string();
    assert!(told.contains("ALERT_WEBHOOK_SECRET is missing"), "{told}");
    let told = load(&[("ALERT_WEBHOOK_URL", "hunter2"), ("ALERT_WEBHOOK_SECRET", "hunter2")]).unwrap_err().to_string();
    assert!(told.contains("is not an http:// or https:// address") && told.contains("must be whsec_"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
    let config = load(&[secret]).unwrap();
    assert!(config.alerts.receiver.is_none() && config.warnings[0].contains("ALERT_WEBHOOK_SECRET"));
    let shown = format!("{:?}", load(&[("ALERT_WEBHOOK_URL", "https://hooks.example/hunter2"), secret]).unwrap());
    assert!(!shown.contains("hunter2") && !shown.contains("C2FV"), "{shown}");
}

#[test]
fn providers_need_what_lets_the_box_in() {
    let folder = tempfile::tempdir().unwrap();
    let load = |pairs: &[(&str, &str)]| Config::load(&sources(folder.path(), "", "", pairs, &[]));
    let config = load(&[]).unwrap();
    assert!(config.publish.first.is_none() && config.schedules.verify_content.is_none(), "everything stays on the box");
    let kubo = ("IPFS_PROVIDER", "kubo");
    let config = load(&[kubo]).unwrap();
    assert_eq!(format!("{:?}", config.publish.first.unwrap()), "kubo at http://127.0.0.1:5001");
    assert_eq!(config.schedules.verify_content.unwrap().to_string(), "45 4 * * * UTC");
    let own = [kubo, ("KUBO_API_URL", "https://me:hunter2@node.example/kubo"), ("KUBO_API_TOKEN", "hunter2")];
    let shown = format!("{:?}", load(&own).unwrap());
    assert!(shown.contains("kubo at https://node.example") && !shown.contains("hunter2"), "{shown}");
    let pinata = ("IPFS_PROVIDER", "pinata");
    let jwt = ("PINATA_JWT", "hunter2");
    for (pairs, fault) in [
        (&[("IPFS_PROVIDER", "filebase")][..], "IPFS_PROVIDER must be local, kubo or pinata, not \"filebase\""),
        (&[pinata][..], "PINATA_JWT is missing"),
        (&[pinata, ("PINATA_JWT", "hunter2\nX: y")], "PINATA_JWT must be plain ASCII"),
        (&[pinata, jwt, ("PINATA_API_URL", "http://pinata.example")], "PINATA_API_URL is http://"),
        (&[kubo, ("KUBO_API_URL", "hunter2")], "KUBO_API_URL is not an http:// or https:// address"),
        (&[kubo, ("IPFS_SECOND_PROVIDER", "kubo")], "IPFS_SECOND_PROVIDER is the same as IPFS_PROVIDER"),
        (&[jwt, ("IPFS_SECOND_PROVIDER", "pinata")], "IPFS_SECOND_PROVIDER has no first one beside it"),
        (&[kubo, ("IPFS_GATEWAYS", "https://ipfs.io, hunter2")], "IPFS_GATEWAYS entry 2 is no address"),
        (&[("CONTENT_VERIFY_SAMPLE", "0")], "CONTENT_VERIFY_SAMPLE must be a whole number from 1 to 10000"),
    ] {
        let told = load(pairs).unwrap_err().to_string();
        assert!(told.contains(fault) && !told.contains("hunter2"), "{told}");
    }
}
