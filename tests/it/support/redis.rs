//! A real Redis of a test's own, which can be killed, paused and restarted.

use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use boxoffice::fleet::Fleet;
use rustix::process::{Pid, Signal, kill_process};

pub struct RedisServer {
    port: u16,
    options: Vec<String>,
    process: Option<Child>,
    folder: tempfile::TempDir,
}

impl RedisServer {
    /// Starts `redis-server`, with more options as they would stand in its configuration.
    pub fn start(options: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut server = Self { port, options, process: None, folder: tempfile::tempdir().unwrap() };
        server.restart();
        server
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it again where it was, empty.
    pub fn restart(&mut self) {
        self.kill();
        let process = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(&self.options)
            .current_dir(self.folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("this test needs redis-server; tests/run installs it");
        self.process = Some(process);
        let begun = std::time::Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "redis-server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    fn signal(&self, signal: Signal) {
        let id = self.process.as_ref().unwrap().id().cast_signed();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// Holds it, connections and all.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// What `redis-cli` prints.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli").args(["-p", &self.port.to_string()]).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A box's connection to it.
    pub async fn fleet(&self, id: &str) -> Fleet {
        let fleet = Fleet::new(&self.url(), None, "test:box".into(), id.into()).unwrap();
        assert!(fleet.probe().await, "{:?}", fleet.fault());
        fleet
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if self.process.is_some() {
            // One that is paused would not end.
            self.resume();
            self.kill();
        }
    }
}
