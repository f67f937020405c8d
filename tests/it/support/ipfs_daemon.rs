//! A real IPFS daemon: js-ipfs, offline, which speaks Kubo's RPC API.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use reqwest::Url;
use serde_json::json;

use super::{stderr, until};

/// A daemon; it ends when it is dropped, and its repository with its folder.
pub struct IpfsDaemon {
    pub url: Url,
    repository: PathBuf,
    child: Option<Child>,
}

impl Drop for IpfsDaemon {
    fn drop(&mut self) {
        self.kill();
    }
}

impl IpfsDaemon {
    /// Makes a repository in a folder, and starts a daemon on it.
    pub async fn start(folder: &Path) -> Self {
        let installed = tokio::task::block_in_place(installed);
        // Free a moment ago; the daemon wants to be told its port.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let local = |port: u16| format!("/ip4/127.0.0.1/tcp/{port}");
        let config = json!({
            "Addresses": { "Swarm": [], "API": local(port), "Gateway": local(0), "RPC": local(0) },
            "Bootstrap": [], "Discovery": { "MDNS": { "Enabled": false } }
        });
        let file = folder.join("ipfs.json");
        fs::write(&file, config.to_string()).unwrap();
        let repository = folder.join("ipfs");
        let made = node(&installed, &repository).args(["init", "--emptyRepo"]).arg(&file).output().unwrap();
        assert!(made.status.success(), "{}", stderr(&made));
        let url = format!("http://127.0.0.1:{port}").parse().unwrap();
        let mut daemon = Self { url, repository, child: None };
        daemon.come_back().await;
        daemon
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it again on the same repository.
    pub async fn come_back(&mut self) {
        // Left by a daemon that was killed.
        drop(fs::remove_dir_all(self.repository.join("repo.lock")));
        let mut daemon = node(&installed(), &self.repository);
        daemon.args(["daemon", "--offline"]).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(daemon.spawn().unwrap());
        until(async || self.call("version", &[]).await.is_some()).await;
    }

    /// Calls it; none when it refuses or is away.
    pub async fn call(&self, call: &str, query: &[(&str, &str)]) -> Option<Vec<u8>> {
        let url = self.url.join(&format!("/api/v0/{call}")).unwrap();
        let request = reqwest::Client::new().post(url).query(query).timeout(Duration::from_secs(5));
        let response = request.send().await.ok()?.error_for_status().ok()?;
        Some(response.bytes().await.ok()?.to_vec())
    }
}

fn node(installed: &Path, repository: &Path) -> Command {
    let mut command = Command::new("node");
    command.arg("--require").arg(installed.join("polyfill.cjs")).arg(installed.join("node_modules/ipfs/src/cli.js"));
    command.env("IPFS_PATH", repository).current_dir(installed);
    command
}

/// Installs the daemon beside the build, once.
fn installed() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ipfs");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ipfs");
    let lock = fs::read(source.join("package-lock.json")).unwrap();
    let done = folder.join("installed");
    if fs::read(&done).is_ok_and(|of| of == lock) {
        return folder;
    }
    fs::create_dir_all(&folder).unwrap();
    for file in ["package.json", "package-lock.json", "polyfill.cjs"] {
        fs::copy(source.join(file), folder.join(file)).unwrap();
    }
    let arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    let output = Command::new("npm").args(arguments).current_dir(&folder).output();
    let output = output.expect("this test needs Node.js and npm; tests/run installs them");
    assert!(output.status.success(), "{}", stderr(&output));
    fs::write(done, lock).unwrap();
    folder
}
