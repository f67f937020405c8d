//! How settings are read that have a form: each reader takes a text, and says in a few words what is wrong with it.

use std::{fmt, net::IpAddr, num::NonZeroU32, path::PathBuf};

use ipnet::IpNet;
use reqwest::Url;

use crate::domain::{document::MAX_SYMBOL_BYTES, lamports::Lamports};

/// What was read, or what is wrong with it.
pub(super) type Parsed<T> = Result<T, String>;

pub(super) fn number<T: std::str::FromStr + PartialOrd + fmt::Display + Copy>(
    text: &str,
    least: T,
    most: T,
) -> Parsed<T> {
    match text.parse::<T>() {
        Ok(number) if number >= least && number <= most => Ok(number),
        _ => Err(format!("must be a whole number from {least} to {most}")),
    }
}

pub(super) fn boolean(text: &str) -> Parsed<bool> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("must be true or false".into()),
    }
}

/// Whether it is the first of two words.
pub(super) fn one_of(text: &str, yes: &str, no: &str) -> Parsed<bool> {
    match text {
        _ if text == yes => Ok(true),
        _ if text == no => Ok(false),
        _ => Err(format!("must be {yes} or {no}")),
    }
}

pub(super) fn share(text: &str) -> Parsed<f64> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("must be a share from 0 to 1, such as 0.05 for 5 %".into()),
    }
}

pub(super) fn count_or_off(text: &str) -> Parsed<Option<NonZeroU32>> {
    match text.parse::<u32>() {
        Ok(count) => {
            let count = NonZeroU32::new(count).ok_or("would let nobody in; write off for no limit")?;
            Ok(Some(count))
        }
        Err(_) if text == "off" => Ok(None),
        Err(_) => Err("must be a whole number, or off".into()),
    }
}

pub(super) fn networks(text: &str) -> Parsed<Vec<IpNet>> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let parse = |part: &str| {
        let network = part.parse::<IpNet>().or_else(|_| part.parse::<IpAddr>().map(IpNet::from));
        network.map_err(|_invalid| format!("has {part:?}, which is no address and no network such as 10.0.0.0/8"))
    };
    let networks: Vec<IpNet> = parts.map(parse).collect::<Result<_, _>>()?;
    if networks.is_empty() { Err("names no address".into()) } else { Ok(networks) }
}

pub(super) fn sol(text: &str) -> Parsed<Lamports> {
    Lamports::parse_sol(text).map_err(Into::into)
}

pub(super) fn sol_limit(text: &str) -> Parsed<Option<Lamports>> {
    if text == "off" { Ok(None) } else { sol(text).map(Some) }
}

#[expect(clippy::unnecessary_wraps, reason = "one of the parsers, all of one shape")]
pub(super) fn path(text: &str) -> Parsed<PathBuf> {
    let home = text.strip_prefix("~/").and_then(|rest| Some(directories::BaseDirs::new()?.home_dir().join(rest)));
    Ok(home.unwrap_or_else(|| PathBuf::from(text)))
}

pub(super) fn urls(text: &str) -> Parsed<Vec<Url>> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    // The text itself is not repeated: such addresses often hold keys.
    let parse = |(index, part): (usize, &str)| match part.parse::<Url>() {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err(format!("entry {} is not an http:// or https:// address", index.saturating_add(1))),
    };
    let urls: Vec<Url> = parts.enumerate().map(parse).collect::<Result<_, _>>()?;
    if urls.is_empty() && !text.is_empty() { Err("names no address".into()) } else { Ok(urls) }
}

pub(super) fn symbol(text: &str) -> Parsed<String> {
    if text.len() > MAX_SYMBOL_BYTES {
        return Err(format!("is {} bytes long; Token Metadata allows {MAX_SYMBOL_BYTES}", text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err("contains a control character".into());
    }
    Ok(text.to_owned())
}

pub(super) fn log_level(text: &str) -> Parsed<String> {
    let is_filter = text.contains(['=', ',']);
    if !is_filter && !["error", "warn", "info", "debug", "trace"].contains(&text) {
        return Err("must be error, warn, info, debug or trace, or a filter such as boxoffice=debug,info".into());
    }
    tracing_subscriber::EnvFilter::try_new(text).map(|_filter| text.to_owned()).map_err(|_invalid| {
        "must be error, warn, info, debug or trace, or a filter such as boxoffice=debug,info".into()
    })
}
