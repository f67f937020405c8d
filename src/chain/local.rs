//! An embedded Solana chain with the real Token Metadata program, serving the real JSON-RPC and WebSocket API.
//!
//! It is Surfpool's engine on threads of its own. Its state lives in memory and its genesis hash is new at every start, so
//! books that are bound to it notice when it is gone.

use std::{
    fmt,
    net::{IpAddr, SocketAddr, TcpListener},
    sync::mpsc,
    thread,
    time::Duration,
};

use crossbeam_channel::Sender;
use reqwest::Url;
use solana_pubkey::Pubkey;
use surfpool_core::{
    runloops::start_local_surfnet_runloop,
    surfnet::{
        locker::SurfnetSvmLocker,
        svm::{SurfnetSvm, SurfnetSvmConfig},
    },
};
use surfpool_types::{BlockProductionMode, RpcConfig, SimnetCommand, SimnetConfig, SimnetEvent, SurfpoolConfig};
use thiserror::Error;

use crate::domain::lamports::Lamports;

/// Mainnet's Token Metadata program; `build.rs` finds the file and checks its hash.
const TOKEN_METADATA: &[u8] = include_bytes!(env!("BOXOFFICE_TOKEN_METADATA_SO"));
/// The chain starts in well under a second; a machine under heavy load gets this long.
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// What is kept of the logs of one transaction, as validators do (Agave's `LOG_MESSAGES_BYTES_LIMIT`).
const LOG_BYTES: usize = 10_000;
/// Airdrops come from a genesis account that must not run dry: larger ones are refused.
const MAX_FUNDING: Lamports = Lamports(1_000_000_000_000_000);

/// How to start a chain.
#[derive(Clone, Debug)]
pub struct LocalChainOptions {
    /// Address to listen on.
    pub host: IpAddr,
    /// Port of the JSON-RPC API; 0 picks a free one.
    pub rpc_port: u16,
    /// Port of the WebSocket API; 0 picks a free one.
    pub ws_port: u16,
    /// Milliseconds between blocks.
    pub slot_ms: u64,
    /// Addresses that begin with money.
    pub fund: Vec<(Pubkey, Lamports)>,
    /// Further programs: id and ELF.
    pub programs: Vec<(Pubkey, Vec<u8>)>,
    /// Keeps what programs log: useful for developers, a third of the chain's memory.
    pub keep_logs: bool,
    /// A cluster whose accounts are cloned on demand.
    pub fork: Option<Url>,
}

impl Default for LocalChainOptions {
    fn default() -> Self {
        Self {
            host: IpAddr::from([127, 0, 0, 1]),
            rpc_port: 0,
            ws_port: 0,
            slot_ms: 400,
            fund: Vec::new(),
            programs: Vec::new(),
            keep_logs: false,
            fork: None,
        }
    }
}

/// Why the chain did not start.
#[derive(Debug, Error)]
pub enum LocalChainError {
    /// A port is taken.
    #[error("port {address} is taken ({source}); stop what listens there, or choose another with --rpc-port and --ws-port", address = .address)]
    PortTaken {
        /// Address and port.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// More money than there is.
    #[error("{amount} for {address} is too much; an address gets at most {MAX_FUNDING}")]
    TooMuchMoney {
        /// Whom to fund.
        address: Pubkey,
        /// With how much.
        amount: Lamports,
    },
    /// The engine stopped during start-up.
    #[error("the embedded chain did not start: {reason}")]
    Engine {
        /// Its words.
        reason: String,
    },
    /// A program cannot be loaded.
    #[error("the program {program} cannot be loaded: {reason}")]
    Program {
        /// Its id.
        program: Pubkey,
        /// The engine's words.
        reason: String,
    },
}

/// A running chain; it ends when this is dropped.
pub struct LocalChain {
    rpc_url: Url,
    ws_url: Url,
    svm: SurfnetSvmLocker,
    commands: Sender<SimnetCommand>,
}

impl fmt::Debug for LocalChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LocalChain").field(&self.rpc_url.as_str()).finish()
    }
}

impl LocalChain {
    /// Starts a chain and waits until it answers. Blocks the calling thread for about half a second.
    ///
    /// # Errors
    /// See [`LocalChainError`].
    pub fn start(options: &LocalChainOptions) -> Result<Self, LocalChainError> {
        let rpc = free_address(options.host, options.rpc_port)?;
        let ws = free_address(options.host, options.ws_port)?;
        let log_bytes_limit = Some(if options.keep_logs { LOG_BYTES } else { 0 });
        // Profiling every instruction is the engine's default and costs a hundredfold.
        let svm_config = SurfnetSvmConfig {
            slot_time: options.slot_ms,
            instruction_profiling_enabled: false,
            max_profiles: 1,
            log_bytes_limit,
            ..SurfnetSvmConfig::default()
        };
        let simnet = SimnetConfig {
            offline_mode: options.fork.is_none(),
            remote_rpc_url: options.fork.as_ref().map(ToString::to_string),
            slot_time: options.slot_ms,
            block_production_mode: BlockProductionMode::Clock,
            instruction_profiling_enabled: false,
            max_profiles: 1,
            log_bytes_limit,
            ..SimnetConfig::default()
        };
        let config = SurfpoolConfig {
            simnets: vec![simnet],
            rpc: RpcConfig {
                bind_host: options.host.to_string(),
                bind_port: rpc.port(),
                ws_port: ws.port(),
                ..RpcConfig::default()
            },
            ..SurfpoolConfig::default()
        };
        let (svm, events, geyser_events) = SurfnetSvm::new(svm_config).map_err(engine)?;
        let svm = SurfnetSvmLocker::new(svm);
        let (commands, command_queue) = crossbeam_channel::unbounded();
        let (ended, end) = mpsc::channel::<String>();

        let (run_svm, run_commands) = (svm.clone(), commands.clone());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(engine)?;
        let handle = runtime.handle().clone();
        thread::spawn(move || {
            let run = start_local_surfnet_runloop(run_svm, config, run_commands, command_queue, geyser_events);
            if let Err(error) = runtime.block_on(run) {
                drop(ended.send(error.to_string()));
            }
            // Its tasks may hold runtimes of their own, which must not be dropped on a runtime's thread.
            runtime.shutdown_background();
        });
        await_start(&events, &end)?;
        // The engine stops when nobody takes its events.
        thread::spawn(move || while events.recv().is_ok() {});

        let url = |scheme: &str, address: SocketAddr| format!("{scheme}://{address}").parse().map_err(engine);
        let chain = Self { rpc_url: url("http", rpc)?, ws_url: url("ws", ws)?, svm, commands };
        let token_metadata = (mpl_token_metadata::ID, TOKEN_METADATA);
        let programs = options.programs.iter().map(|(id, elf)| (*id, elf.as_slice()));
        for (program, elf) in std::iter::once(token_metadata).chain(programs) {
            let written = handle.block_on(chain.svm.write_program(program, None, 0, elf, &None));
            written.map_err(|error| LocalChainError::Program { program, reason: error.to_string() })?;
        }
        for (address, amount) in &options.fund {
            chain.fund(address, *amount)?;
        }
        Ok(chain)
    }

    /// Gives money to an address.
    ///
    /// # Errors
    /// When it is more than there is.
    pub fn fund(&self, address: &Pubkey, amount: Lamports) -> Result<(), LocalChainError> {
        if amount > MAX_FUNDING {
            return Err(LocalChainError::TooMuchMoney { address: *address, amount });
        }
        let answer = self.svm.airdrop(address, amount.0);
        answer.map(drop).map_err(|error| LocalChainError::Engine { reason: format!("{error:?}") })
    }

    /// Where its JSON-RPC API listens.
    #[must_use]
    pub fn rpc_url(&self) -> &Url {
        &self.rpc_url
    }

    /// Where its WebSocket API listens.
    #[must_use]
    pub fn ws_url(&self) -> &Url {
        &self.ws_url
    }
}

impl Drop for LocalChain {
    fn drop(&mut self) {
        // The engine may have ended by itself; then nobody takes the command.
        drop(self.commands.send(SimnetCommand::Terminate(None)));
    }
}

fn engine(error: impl fmt::Display) -> LocalChainError {
    LocalChainError::Engine { reason: error.to_string() }
}

/// Finds out early, and with a good message, whether a port is free. The engine cannot say which port it took for 0.
fn free_address(host: IpAddr, port: u16) -> Result<SocketAddr, LocalChainError> {
    let address = SocketAddr::new(host, port);
    TcpListener::bind(address)
        .and_then(|listener| listener.local_addr())
        .map_err(|source| LocalChainError::PortTaken { address, source })
}

fn await_start(
    events: &crossbeam_channel::Receiver<SimnetEvent>,
    end: &mpsc::Receiver<String>,
) -> Result<(), LocalChainError> {
    let poll = Duration::from_millis(50);
    let mut waited = Duration::ZERO;
    while waited < START_TIMEOUT {
        match events.recv_timeout(poll) {
            Ok(SimnetEvent::CoreStarted(_)) => return Ok(()),
            Ok(SimnetEvent::Aborted(reason)) => return Err(LocalChainError::Engine { reason }),
            Ok(_) => {}
            Err(_) => waited = waited.saturating_add(poll),
        }
        if let Ok(reason) = end.try_recv() {
            return Err(LocalChainError::Engine { reason });
        }
    }
    Err(LocalChainError::Engine { reason: format!("no answer within {} s", START_TIMEOUT.as_secs()) })
}
