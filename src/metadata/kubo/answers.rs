//! What a node answers.

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Line {
    #[serde(default)]
    pub(super) root: Option<Root>,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) hash: Option<String>,
    /// An error in the midst of the lines.
    #[serde(default)]
    pub(super) message: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Root {
    pub(super) cid: Link,
    #[serde(default)]
    pub(super) pin_error_msg: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Link {
    #[serde(rename = "/")]
    pub(super) cid: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Pins {
    pub(super) keys: Option<serde_json::Map<String, serde_json::Value>>,
}
