//! The direction of dependencies, kept by reading the `use` lines.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const ENTRANCES: [&str; 3] = ["cli", "http", "schedule"];
const SERVICES: [&str; 14] = [
    "minting",
    "estimate",
    "forecast",
    "reconcile",
    "balance",
    "payers",
    "access",
    "alerts",
    "backup",
    "cache",
    "images",
    "publishing",
    "trends",
    "anomalies",
];
const ADAPTERS: [&str; 9] =
    ["store", "chain", "metadata", "fleet", "webhook", "folder", "clock", "telemetry", "supervisor"];

/// The files of a module, those of its submodules too.
fn files_of(source: &Path, module: &str) -> Vec<PathBuf> {
    let mut files = vec![source.join(format!("{module}.rs"))];
    let mut folders = vec![source.join(module)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

/// Modules of the crate that a module names.
fn dependencies(module: &str) -> BTreeSet<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = files_of(&source, module);
    let mut found = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        // `use crate::{a::…, b::…}` lists modules one level deep; everything else names them after `crate::`.
        for part in text.split("crate::").skip(1) {
            match part.strip_prefix('{') {
                None => found.extend(part.split(|c: char| !c.is_alphanumeric() && c != '_').next().map(str::to_owned)),
                Some(group) => {
                    let mut depth = 0;
                    let mut name = String::new();
                    for c in group.chars() {
                        match c {
                            '{' => depth += 1,
                            '}' if depth == 0 => break,
                            '}' => depth -= 1,
                            ',' if depth == 0 => found.extend(take(&mut name)),
                            c if depth == 0 => name.push(c),
                            _ => {}
                        }
                    }
                    found.extend(take(&mut name));
                }
            }
        }
    }
    found.remove(module);
    found.remove("");
    found
}

fn take(name: &mut String) -> Option<String> {
    std::mem::take(name).trim().split("::").next().map(str::to_owned)
}

fn assert_uses_only(module: &str, allowed: &[&str]) {
    for dependency in dependencies(module) {
        assert!(allowed.contains(&dependency.as_str()), "{module} must not use {dependency}");
    }
}

#[test]
fn dependencies_point_from_entrances_to_services_to_adapters_to_the_domain() {
    assert_uses_only("domain", &[]);
    for adapter in ADAPTERS {
        // The clock is asked by everyone, telemetry is told its format by the settings.
        let allowed: &[&str] = if adapter == "telemetry" { &["config"] } else { &["domain", "simulation"] };
        assert_uses_only(adapter, allowed);
    }
    for service in SERVICES {
        let also: &[&str] = match service {
            // Alerts watch the other services; none of them knows it.
            "alerts" => &["webhook", "folder", "minting", "balance", "payers", "publishing", "anomalies"],
            // Repair mints nothing: it hands tickets back to the engine.
            "reconcile" => &["minting"],
            // What was found out before is asked by whoever would find it out; how minting goes is recorded by who mints.
            "minting" => &["cache", "payers", "forecast"],
            "balance" => &["payers"],
            // A transfer is written ahead beside the books.
            "payers" => &["folder"],
            "cache" => &["fleet"],
            // What others have counted is collected.
            "trends" => &["cache", "publishing", "forecast"],
            _ => &[],
        };
        let below = ["domain", "store", "chain", "metadata", "clock", "estimate", "simulation"];
        assert_uses_only(service, &[&below, also].concat());
    }
    let below: Vec<&str> = [&SERVICES[..], &ADAPTERS[..], &["app", "config", "domain", "kill_points"]].concat();
    for entrance in ENTRANCES {
        // Over HTTP, jobs are listed and run.
        let also: &[&str] = if entrance == "http" { &["schedule"] } else { &[] };
        assert_uses_only(entrance, &[&below[..], also].concat());
    }
}

#[test]
fn the_reader_of_use_lines_sees_them() {
    assert!(dependencies("minting").contains("store") && dependencies("minting").contains("chain"));
    assert!(dependencies("app").contains("http"));
}

#[test]
fn services_hold_no_sql_and_no_status_codes() {
    for module in SERVICES {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for file in files_of(&folder, module) {
            let text = fs::read_to_string(&file).unwrap();
            for word in ["rusqlite", "SELECT ", "axum", "StatusCode", "solana_rpc_client"] {
                assert!(!text.contains(word), "{} contains {word}", file.display());
            }
        }
    }
}
