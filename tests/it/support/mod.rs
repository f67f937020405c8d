//! Builders that tests share.

#[cfg(feature = "localnet")]
pub mod ipfs;
#[cfg(feature = "localnet")]
pub mod ipfs_daemon;
#[cfg(feature = "localnet")]
pub mod proxy;
#[cfg(feature = "localnet")]
pub mod receiver;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "localnet")]
pub mod test_box;

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

#[cfg(feature = "localnet")]
pub use test_box::*;

/// Waits until something is so.
pub async fn until(is_so: impl AsyncFn() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("it never came to be");
}

/// The program under test, with nothing of the environment but what it needs to run.
pub fn boxoffice(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_boxoffice"));
    command.current_dir(folder).env_clear().env("HOME", folder).stdin(Stdio::null());
    command
}

/// Runs the program and returns what it said.
pub fn run(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    boxoffice(folder).args(arguments).envs(environment.iter().copied()).output().unwrap()
}

#[cfg(feature = "localnet")]
pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Asserts that a command failed with an exit code and a message that names certain things.
pub fn assert_fails(output: &Output, code: i32, names: &[&str]) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for name in names {
        assert!(said.contains(name), "{name:?} is not in:\n{said}");
    }
}
