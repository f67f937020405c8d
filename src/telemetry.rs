//! Log lines, to standard error: pretty on a terminal, JSON otherwise, unless the settings say which.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Starts logging. A second call has no effect, so tests may call it too.
pub fn start(level: &str, format: Option<LogFormat>) {
    // Libraries speak up only when something is wrong with them, unless the filter names them.
    let filter = if level.contains(['=', ',']) { level.to_owned() } else { format!("warn,boxoffice={level}") };
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = io::stderr().is_terminal();
    let format = format.unwrap_or(if terminal { LogFormat::Pretty } else { LogFormat::Json });
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match format {
        LogFormat::Pretty => lines.with_ansi(terminal).with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).try_init(),
    };
    drop(started);
}
