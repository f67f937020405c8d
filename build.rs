//! Finds mainnet's Token Metadata program for the embedded chain and hands its path to the compiler, and says what is built.
//!
//! The program is a file of the registry package `trident-svm`, which `Cargo.toml` lists for a target that never exists:
//! `Cargo.lock` pins its checksum, Cargo fetches it, and nothing of it is compiled.

#![allow(clippy::disallowed_methods, reason = "Cargo speaks to build scripts through the environment")]

use std::{env, error::Error, fs, path::PathBuf, process::Command};

use sha2::{Digest, Sha256};

const PACKAGE: &str = "trident-svm";
const PROGRAM_FILE: &str = "src/solana-program-library/metaplex-token-metadata.so";
/// The features that `--version` names.
const FEATURES: &[&str] = &["localnet", "redis", "remote-signers", "failpoints"];
/// SHA-256 of the program as deployed on mainnet.
const PROGRAM_SHA256: &str = "1e5786cc6462756fc221fd5bc744f67e9added188284f680d51b699379963a9d";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=Cargo.lock");
    println!("cargo::rerun-if-changed=migrations");
    println!("cargo::rustc-env=BOXOFFICE_BUILD={}", description());
    if env::var_os("CARGO_FEATURE_LOCALNET").is_some() {
        let program = token_metadata_program()?;
        println!("cargo::rustc-env=BOXOFFICE_TOKEN_METADATA_SO={}", program.display());
    }
    Ok(())
}

/// What `--version` says besides the version: the commit, of release builds, and the features.
fn description() -> String {
    let is_on =
        |name: &&&str| env::var_os(format!("CARGO_FEATURE_{}", name.to_uppercase().replace('-', "_"))).is_some();
    let features: Vec<_> = FEATURES.iter().filter(is_on).copied().collect();
    let features = if features.is_empty() { "no features".to_owned() } else { features.join(", ") };
    // A debug build would be compiled anew for every commit.
    let commit = if env::var("PROFILE").is_ok_and(|profile| profile == "release") { commit() } else { None };
    commit.map_or_else(|| features.clone(), |commit| format!("{commit}; {features}"))
}

/// The commit: of the repository that is built, or the one that the registry's package was made of.
fn commit() -> Option<String> {
    let folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR")?);
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(&folder).args(arguments).output().ok()?;
        let said = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| said.trim().to_owned()).filter(|said| !said.is_empty())
    };
    if folder.join(".git").exists() {
        println!(
            "cargo::rerun-if-changed={}",
            git(&["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"])?
        );
        return git(&["rev-parse", "--short=12", "HEAD"]);
    }
    let packed: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join(".cargo_vcs_info.json")).ok()?).ok()?;
    packed.pointer("/git/sha1")?.as_str()?.get(..12).map(str::to_owned)
}

fn token_metadata_program() -> Result<PathBuf, Box<dyn Error>> {
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--locked", "--manifest-path"])
        .arg(PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("Cargo.toml"))
        .output()?;
    if !output.status.success() {
        return Err(format!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata.get("packages").and_then(|packages| packages.as_array());
    let manifest = packages
        .into_iter()
        .flatten()
        .find(|package| package.get("name").is_some_and(|name| name == PACKAGE))
        .and_then(|package| package.get("manifest_path")?.as_str())
        .ok_or("the package with the Token Metadata program is not in Cargo.lock")?;
    let program = PathBuf::from(manifest).with_file_name(PROGRAM_FILE);
    let found = format!("{:x}", Sha256::digest(fs::read(&program)?));
    if found == PROGRAM_SHA256 {
        Ok(program)
    } else {
        Err(format!("{} has SHA-256 {found}, expected {PROGRAM_SHA256}", program.display()).into())
    }
}
