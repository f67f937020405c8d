//! Lists in pages: an opaque cursor, a limit, and a link to the next page.

use axum::{
    Json,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Url;
use serde::Serialize;

use super::error::Problem;
use crate::domain::ticket::Fault;

/// Entries on a page when the client does not say.
const DEFAULT_LIMIT: usize = 50;
/// Most entries on a page.
const MAX_LIMIT: usize = 500;

/// Where to begin and how much to show.
#[derive(Debug)]
pub(super) struct PageRequest {
    pub(super) limit: usize,
    pub(super) before_id: Option<i64>,
}

impl PageRequest {
    /// Reads `limit` and `cursor` of a list that has no other parameters which could be wrong.
    pub(super) fn checked(limit: Option<&str>, cursor: Option<&str>) -> Result<Self, Problem> {
        let mut faults = Vec::new();
        let page = Self::read(limit, cursor, &mut faults);
        refuse(faults)?;
        Ok(page)
    }

    /// Reads `limit` and `cursor`; adds what is wrong with them to `faults`.
    pub(super) fn read(limit: Option<&str>, cursor: Option<&str>, faults: &mut Vec<Fault>) -> Self {
        let mut fault = |name: &str, detail: String| faults.push(Fault { pointer: format!("/{name}"), detail });
        let limit = match limit.map(str::parse) {
            None => DEFAULT_LIMIT,
            Some(Ok(limit)) if (1..=MAX_LIMIT).contains(&limit) => limit,
            Some(_) => {
                fault("limit", format!("must be a whole number from 1 to {MAX_LIMIT}"));
                DEFAULT_LIMIT
            }
        };
        let before_id = cursor.map(read_cursor);
        if before_id == Some(None) {
            fault("cursor", "is not a cursor of this list".into());
        }
        Self { limit, before_id: before_id.flatten() }
    }

    /// Rows to ask for: one more than is shown tells whether there is another page.
    pub(super) fn rows(&self) -> usize {
        self.limit.saturating_add(1)
    }

    /// Cuts the rows to the page, and returns the cursor of the next one.
    pub(super) fn cut<T>(&self, rows: &mut Vec<T>, id: impl Fn(&T) -> i64) -> Option<String> {
        let more = rows.len() > self.limit;
        rows.truncate(self.limit);
        rows.last().filter(|_| more).map(|last| write_cursor(id(last)))
    }

    /// Cuts rows that are in the order of a name, and returns the name behind which the next page begins.
    pub(super) fn cut_by_name<T>(&self, rows: &mut Vec<T>, name: impl Fn(&T) -> &str) -> Option<String> {
        let more = rows.len() > self.limit;
        rows.truncate(self.limit);
        rows.last().filter(|_| more).map(|last| name(last).to_owned())
    }

    /// Answers with the page that `page` makes of the cursor of the next one, and with a `Link` to that, which repeats the
    /// filters.
    pub(super) fn answer<P: Serialize>(
        &self,
        next_cursor: Option<String>,
        path: &[&str],
        filters: &[(&str, Option<&str>)],
        page: impl FnOnce(Option<String>) -> P,
    ) -> Response {
        let mut headers = HeaderMap::new();
        if let Some(link) = next_cursor.as_ref().and_then(|cursor| self.next_link(cursor, path, filters)) {
            headers.insert(header::LINK, link);
        }
        (headers, Json(page(next_cursor))).into_response()
    }

    fn next_link(&self, cursor: &str, path: &[&str], filters: &[(&str, Option<&str>)]) -> Option<HeaderValue> {
        // Only the path and the query are used: the base is there to encode them.
        let mut url = Url::parse("http://box").ok()?;
        url.path_segments_mut().ok()?.extend(path);
        let limit = self.limit.to_string();
        let given = filters.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
        url.query_pairs_mut().extend_pairs(given.chain([("limit", limit.as_str()), ("cursor", cursor)]));
        HeaderValue::from_str(&format!("<{}?{}>; rel=\"next\"", url.path(), url.query()?)).ok()
    }
}

/// The faults of a query, if there are any.
pub(super) fn refuse(faults: Vec<Fault>) -> Result<(), Problem> {
    if faults.is_empty() { Ok(()) } else { Err(Problem::invalid(faults)) }
}

fn write_cursor(id: i64) -> String {
    URL_SAFE_NO_PAD.encode(id.to_be_bytes())
}

fn read_cursor(cursor: &str) -> Option<i64> {
    let bytes: [u8; 8] = URL_SAFE_NO_PAD.decode(cursor).ok()?.try_into().ok()?;
    Some(i64::from_be_bytes(bytes))
}
