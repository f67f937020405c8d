//! Where settings come from, and which source wins.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use figment::{
    Error, Figment, Metadata, Profile, Provider,
    providers::{Format as _, Toml},
    value::{Dict, Map, Num, Value},
};

use super::{
    ConfigFault,
    parse::Parsed,
    settings::{SETTINGS, Setting, WITHOUT_EFFECT},
};

/// The sources of settings.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// What a command prefers where nothing else says.
    pub preferred: BTreeMap<String, String>,
    /// The configuration file, if it was named; otherwise `boxoffice.toml` is read if it exists.
    pub file: Option<PathBuf>,
    /// The `.env` file, read if it exists.
    pub dot_env: Option<PathBuf>,
    /// A folder of files that a supervisor hands over (`CREDENTIALS_DIRECTORY`), each called as a setting is.
    pub credentials: Option<PathBuf>,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// Flags of the command line.
    pub flags: BTreeMap<String, String>,
}

impl Sources {
    /// The sources of a process: `boxoffice.toml` and `.env` in the working folder, and the environment.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, flags: BTreeMap<String, String>) -> Self {
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let credentials = environment.get("CREDENTIALS_DIRECTORY").filter(|path| !path.is_empty()).map(PathBuf::from);
        let dot_env = Some(PathBuf::from(".env"));
        Self { preferred: BTreeMap::new(), file, dot_env, credentials, environment, flags }
    }
}

/// One source, flat: every value as it was written.
struct Layer {
    name: String,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

/// The values that won, and all faults found so far.
pub(super) struct Values {
    pub(super) figment: Figment,
    pub(super) faults: Vec<ConfigFault>,
    pub(super) warnings: Vec<String>,
}

impl Values {
    pub(super) fn read(sources: &Sources) -> Self {
        let mut values = Self { figment: Figment::new(), faults: Vec::new(), warnings: Vec::new() };
        let defaults = SETTINGS.iter().map(|setting| (setting.name, setting.default));
        values.merge("default", defaults.filter(|(_, default)| !default.is_empty()));
        values.merge("default", sources.preferred.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        values.merge_file(sources.file.as_deref());
        if let Some(path) = &sources.dot_env {
            values.merge_dot_env(path);
        }
        if let Some(folder) = &sources.credentials {
            values.merge_credentials(folder, SETTINGS);
        }
        let known = |(name, _): &(&str, &str)| is_known(name) || WITHOUT_EFFECT.contains(name);
        let pairs = |map: &BTreeMap<String, String>| map.clone().into_iter().collect::<Vec<_>>();
        let environment = pairs(&sources.environment);
        let environment = environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).filter(known);
        values.merge("environment", environment);
        // Other programs' variables are none of our business, but a spending limit must not be lost to a typing mistake.
        for name in sources.environment.keys() {
            values.refuse_lookalike(name, "environment");
        }
        for name in sources.flags.keys().filter(|name| !is_known(name)) {
            values.unknown(name, "command line");
        }
        values.merge("command line", sources.flags.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        values
    }

    /// Tells of a name that is no setting's, but almost.
    pub(super) fn refuse_lookalike(&mut self, name: &str, source: &str) {
        let is_close =
            |setting: &Setting| strsim::jaro_winkler(setting.name, name) > 0.96 || is_short_form(name, setting.name);
        let is_other = !name.contains('_') || is_known(name) || WITHOUT_EFFECT.contains(&name);
        if !is_other && SETTINGS.iter().any(is_close) {
            self.unknown(name, source);
        }
    }

    pub(super) fn merge<'a>(&mut self, source: &str, values: impl Iterator<Item = (&'a str, &'a str)>) {
        let mut dict = Dict::new();
        for (name, value) in values {
            if WITHOUT_EFFECT.contains(&name) {
                self.warnings.push(format!("{name} ({source}) has no effect in this version"));
            } else {
                dict.insert(name.to_owned(), Value::from(value));
            }
        }
        let layer = Layer { name: source.to_owned(), values: dict };
        self.figment = std::mem::take(&mut self.figment).merge(layer);
    }

    fn merge_file(&mut self, named: Option<&Path>) {
        let path = named.unwrap_or(super::default_file());
        if !path.exists() {
            if named.is_some() {
                self.faults.push(file_fault(path, "does not exist".into()));
            }
            return;
        }
        let source = path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return self.faults.push(file_fault(path, format!("cannot be read: {error}"))),
        };
        if let Err(error) = text.parse::<toml::Table>() {
            return self.faults.push(file_fault(path, format!("is not valid TOML: {}", syntax_fault(&text, &error))));
        }
        let tables = match Toml::string(&text).data() {
            Ok(profiles) => profiles.into_values().flatten(),
            // Its message may quote the file.
            Err(_unreadable) => return self.faults.push(file_fault(path, "is not valid TOML".into())),
        };
        let mut flat = Vec::new();
        for (group, value) in tables {
            let Value::Dict(_, entries) = value else {
                self.misplaced(&group, &source);
                continue;
            };
            for (key, value) in entries {
                let name = key.to_uppercase();
                let found = SETTINGS.iter().find(|setting| setting.name == name);
                let in_place =
                    found.is_some_and(|setting| setting.group == group) || WITHOUT_EFFECT.contains(&name.as_str());
                match (in_place && key == key.to_lowercase(), as_text(&value)) {
                    (true, Some(text)) => flat.push((name, text)),
                    (true, None) => self.faults.push(ConfigFault {
                        name,
                        source: source.clone(),
                        detail: "must be text, a number, true or false, or a list of texts".into(),
                    }),
                    (false, _) => self.misplaced(&format!("{group}.{key}"), &source),
                }
            }
        }
        self.merge(&source, flat.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    }

    fn merge_dot_env(&mut self, path: &Path) {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => return self.faults.push(file_fault(path, format!("cannot be read: {error}"))),
        };
        let source = path.display().to_string();
        let mut pairs = Vec::new();
        for (number, line) in (1_u32..).zip(text.lines()) {
            match dot_env_line(line) {
                Ok(None) => {}
                Ok(Some((name, _))) if !is_known(&name) && !WITHOUT_EFFECT.contains(&name.as_str()) => {
                    self.unknown(&name, &source);
                }
                Ok(Some(pair)) => pairs.push(pair),
                // The line itself is not repeated: it may hold a secret.
                Err(detail) => self.faults.push(file_fault(path, format!("line {number} {detail}"))),
            }
        }
        self.merge(&source, pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    }

    /// A key of the file that is in the wrong place, or no setting at all.
    fn misplaced(&mut self, path: &str, source: &str) {
        let name = path.rsplit('.').next().unwrap_or(path).to_uppercase();
        let Some(Setting { group, .. }) = SETTINGS.iter().find(|setting| setting.name == name) else {
            return self.unknown(path, source);
        };
        let detail = format!("belongs into the table [{group}], in lower case");
        self.faults.push(ConfigFault { name: path.to_owned(), source: source.to_owned(), detail });
    }

    fn unknown(&mut self, name: &str, source: &str) {
        let key = name.rsplit('.').next().unwrap_or(name).to_uppercase();
        let nearest = SETTINGS.iter().map(|setting| (strsim::jaro_winkler(setting.name, &key), setting));
        let nearest = nearest.max_by(|(a, _), (b, _)| a.total_cmp(b)).filter(|(likeness, _)| *likeness > 0.85);
        let hint = nearest.map(|(_, setting)| format!("; did you mean {}?", setting.name)).unwrap_or_default();
        self.faults.push(ConfigFault {
            name: name.to_owned(),
            source: source.to_owned(),
            detail: format!("is not a setting{hint}"),
        });
    }

    /// A setting that has a value in any case.
    pub(super) fn parse<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Parsed<T>) -> Option<T> {
        let text = self.text(name).unwrap_or_default();
        parse(&text).map_err(|detail| self.fault(name, Self::shown(name, &text, detail))).ok()
    }

    /// A setting that may be absent or empty.
    pub(super) fn optional<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Parsed<T>) -> Option<T> {
        let text = self.text(name).filter(|text| !text.is_empty())?;
        parse(&text).map_err(|detail| self.fault(name, Self::shown(name, &text, detail))).ok()
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        self.text(name).is_some_and(|text| !text.is_empty())
    }

    pub(super) fn fault(&mut self, name: &str, detail: String) {
        let source = self.source(name);
        self.faults.push(ConfigFault { name: name.to_owned(), source, detail });
    }

    fn shown(name: &str, text: &str, detail: String) -> String {
        // Wherever it was put: a secret key may stand in the place of a public one.
        let is_secret_key = || text.to_ascii_uppercase().contains("SECRET-KEY");
        let secret = SETTINGS.iter().any(|setting| setting.name == name && setting.secret) || is_secret_key();
        if secret { detail } else { format!("{detail}, not {text:?}") }
    }

    fn text(&self, name: &str) -> Option<String> {
        self.figment.find_value(name).ok().and_then(|value| as_text(&value)).map(|text| text.trim().to_owned())
    }

    fn source(&self, name: &str) -> String {
        self.figment.find_metadata(name).map_or_else(|| "not set".to_owned(), |metadata| metadata.name.to_string())
    }
}

/// Where the value of a setting comes from and what it is, secrets redacted: for `check-config`.
#[must_use]
pub fn describe(sources: &Sources) -> Vec<(&'static Setting, String, String)> {
    let values = Values::read(sources);
    let describe = |setting: &'static Setting| {
        let text = values.text(setting.name).unwrap_or_default();
        let shown = if setting.secret && !text.is_empty() { "[redacted]".to_owned() } else { text };
        (setting, shown, values.source(setting.name))
    };
    SETTINGS.iter().map(describe).collect()
}

/// A line of a `.env` file: `NAME=value`, with `export` in front, in quotes, or with a comment behind it. Blanks in a value
/// need no quotes, so that cron expressions can be written as they are everywhere else.
fn dot_env_line(line: &str) -> Result<Option<(String, String)>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=').ok_or("is not NAME=value")?;
    let value = value.trim();
    for quote in ['"', '\''] {
        if let Some(quoted) = value.strip_prefix(quote) {
            let (inside, behind) = quoted.split_once(quote).ok_or("has a quote that does not end")?;
            let behind = behind.trim();
            let clean = behind.is_empty() || behind.starts_with('#');
            return if clean {
                Ok(Some((name.trim().into(), inside.into())))
            } else {
                Err("goes on behind its quotes")
            };
        }
    }
    let value = value.split_once(" #").map_or(value, |(value, _comment)| value);
    Ok(Some((name.trim().to_owned(), value.trim().to_owned())))
}

fn is_known(name: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.name == name)
}

/// Whether a name is a setting's in other letters, in the singular, or without its unit: `daily_limit_sol`, `ALLOWED_IP`,
/// `DAILY_LIMIT`.
fn is_short_form(name: &str, setting: &str) -> bool {
    let name = name.to_uppercase();
    let plural = name.strip_suffix('Y').map(|stem| format!("{stem}IES"));
    let end = setting.strip_prefix(&name);
    end.is_some_and(|end| ["", "S", "_SOL", "_MS", "_DAYS"].contains(&end))
        || plural.is_some_and(|name| name == setting)
}

/// Where a file is no TOML and why, without a word of the file: the line may hold a secret.
fn syntax_fault(text: &str, error: &toml::de::Error) -> String {
    // What the message quotes is a sign that was expected, or a name from the file.
    let unquoted = |(index, part): (usize, &str)| match index % 2 {
        1 if part.chars().count() > 1 => "…".to_owned(),
        _ => part.to_owned(),
    };
    let message = error.message().split('`').enumerate().map(unquoted).collect::<Vec<_>>().join("`");
    let message = message.lines().collect::<Vec<_>>().join(", ");
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let (line, column) = (before.matches('\n').count(), before.chars().rev().take_while(|sign| *sign != '\n').count());
    format!("line {}, column {}: {message}", line.saturating_add(1), column.saturating_add(1))
}

fn file_fault(path: &Path, detail: String) -> ConfigFault {
    ConfigFault { name: path.display().to_string(), source: "file".into(), detail }
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(text.clone()),
        Value::Bool(_, value) => Some(value.to_string()),
        Value::Num(_, Num::F32(number)) => Some(number.to_string()),
        Value::Num(_, Num::F64(number)) => Some(number.to_string()),
        Value::Num(_, number) => number.to_i128().map(|number| number.to_string()),
        Value::Array(_, entries) => {
            let texts: Option<Vec<String>> = entries.iter().map(as_text).collect();
            Some(texts?.join(","))
        }
        Value::Char(..) | Value::Empty(..) | Value::Dict(..) => None,
    }
}
