//! Settings that a supervisor hands over as files: systemd's `LoadCredential=`, the secrets of containers. The folder that
//! `CREDENTIALS_DIRECTORY` names has a file for each, called as the setting is, and the wallet as [`WALLET_FILE`].

use std::{io, path::Path};

use super::{ConfigFault, settings::Setting, sources::Values};

/// What the wallet is called in the folder; `WALLET_PATH` then leads there.
const WALLET_FILE: &str = "wallet.json";

impl Values {
    pub(super) fn merge_credentials(&mut self, folder: &Path, settings: &[Setting]) {
        if !folder.is_dir() {
            // Otherwise every secret would just be missing.
            let (name, source) = ("CREDENTIALS_DIRECTORY".to_owned(), "environment".to_owned());
            let detail = format!("leads to {}, where there is no folder", folder.display());
            return self.faults.push(ConfigFault { name, source, detail });
        }
        let wallet = folder.join(WALLET_FILE);
        // systemd makes one with a blank line where there is no wallet, for boxes whose signer is elsewhere.
        if wallet.metadata().is_ok_and(|wallet| wallet.is_file() && wallet.len() > 1) {
            let source = folder.display().to_string();
            self.refuse_other_wallet(&source);
            self.merge(&source, [("WALLET_PATH", &*wallet.to_string_lossy())].into_iter());
        }
        for setting in settings {
            let path = folder.join(setting.name);
            let source = path.display().to_string();
            match content(&path) {
                Ok(None) => {}
                Ok(Some(text)) => self.merge(&source, [(setting.name, text.as_str())].into_iter()),
                Err(detail) => self.faults.push(ConfigFault { name: setting.name.to_owned(), source, detail }),
            }
        }
        // A secret that is called wrong would otherwise just be missing.
        for entry in folder.read_dir().into_iter().flatten().flatten() {
            if let Some(name) = entry.file_name().to_str() {
                self.refuse_lookalike(name, &folder.display().to_string());
            }
        }
    }
}

impl Values {
    /// Of two wallets that are named only one can be meant, and it is about money.
    fn refuse_other_wallet(&mut self, source: &str) {
        let named = self.figment.extract_inner::<String>("WALLET_PATH").unwrap_or_default();
        if !named.is_empty() && Path::new(&named).file_name().is_none_or(|name| name != WALLET_FILE) {
            let detail = format!(
                "is {named}, and {source} holds another {WALLET_FILE}, which is the one that counts here: put the wallet in its \
                 place there, or take that file away"
            );
            let (name, source) = ("WALLET_PATH".to_owned(), source.to_owned());
            self.faults.push(ConfigFault { name, source, detail });
        }
    }
}

/// The one line of a file, without the end of the line that editors and `echo` put there. None for a file that is not there, or
/// is empty: systemd makes empty ones for what is optional.
fn content(path: &Path) -> Result<Option<String>, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot be read: {error}")),
    };
    let line = text.trim();
    if line.contains(['\n', '\r']) {
        return Err("has more than one line; the file must hold the value and nothing else".into());
    }
    Ok(Some(line.to_owned()).filter(|line| !line.is_empty()))
}
