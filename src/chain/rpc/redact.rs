//! Names of endpoints and words of nodes without the keys that URLs hold.

use reqwest::Url;

/// Characters of a node's message that are told.
const MOST_SAID: usize = 300;
/// From this length on, a part of a URL may be a key.
const KEY_BYTES: usize = 8;

/// An endpoint by scheme, host and port: paths, queries and passwords often hold keys.
#[must_use]
pub fn redacted(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// What a node said, without what could be a key of its URL, and cut to [`MOST_SAID`]: clients and logs see it.
pub(super) fn without_keys(said: &str, url: &Url) -> String {
    let query = url.query().unwrap_or_default();
    let pairs: Vec<_> = url.query_pairs().collect();
    let parts = url.path().split('/').chain(query.split(['&', '='])).chain([url.username()]);
    let parts = parts.chain(pairs.iter().flat_map(|(name, value)| [name.as_ref(), value.as_ref()]));
    let whole = [url.path(), query, url.password().unwrap_or_default()];
    let whole = whole.into_iter().filter(|part| !part.is_empty() && *part != "/");
    let mut keys: Vec<&str> = parts.filter(|part| part.len() >= KEY_BYTES).chain(whole).collect();
    keys.sort_unstable_by_key(|key| std::cmp::Reverse(key.len()));
    let (mut told, mut rest) = (String::new(), said);
    while let Some(sign) = rest.chars().next() {
        rest = if let Some(behind) = keys.iter().find_map(|key| rest.strip_prefix(key)) {
            told.push_str("[redacted]");
            behind
        } else {
            told.push(sign);
            rest.strip_prefix(sign).unwrap_or_default()
        };
    }
    if told.chars().count() <= MOST_SAID {
        return told;
    }
    told.chars().take(MOST_SAID.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_repeats_the_key_is_not_quoted() {
        let url: Url = "https://user:pw-1@rpc.example/v2/PATHKEY-1/solana?api-key=QUERY%2BKEY&x=1".parse().unwrap();
        for (said, told) in [
            ("blockhash not found", "blockhash not found"),
            ("the key PATHKEY-1 has no plan", "the key [redacted] has no plan"),
            ("no QUERY%2BKEY, no QUERY+KEY", "no [redacted], no [redacted]"),
            ("api-key=QUERY%2BKEY&x=1 at /v2/PATHKEY-1/solana", "[redacted] at [redacted]"),
            ("pw-1pw-1 for user", "[redacted][redacted] for user"),
        ] {
            assert_eq!(without_keys(said, &url), told);
        }
        let long = without_keys(&"é PATHKEY-1 ".repeat(100), &url);
        assert_eq!(long.chars().count(), 300);
        assert!(long.ends_with('…') && !long.contains("PATHKEY"), "{long}");
        let bare: Url = "http://127.0.0.1:8899".parse().unwrap();
        assert_eq!(without_keys("a/b", &bare), "a/b");
    }
}
