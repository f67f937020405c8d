//! A list of JSON as the texts of its entries: as values, ten thousand tickets would take many times the room.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// The first entries of a list; those beyond are counted only.
#[derive(Debug, Default)]
pub struct RawList {
    /// As many as were wanted at most.
    pub kept: Vec<Box<RawValue>>,
    /// All of them.
    pub sent: usize,
}

impl RawList {
    /// Reads a list, and keeps the first `most` of its entries.
    ///
    /// # Errors
    /// When it is no valid JSON, or JSON of something else.
    pub fn read(json: &[u8], most: usize) -> serde_json::Result<Self> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let list = First(most).deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(list)
    }
}

struct First(usize);

impl<'de> DeserializeSeed<'de> for First {
    type Value = RawList;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawList, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for First {
    type Value = RawList;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<RawList, A::Error> {
        let mut list = RawList::default();
        while list.kept.len() < self.0
            && let Some(text) = entries.next_element()?
        {
            list.kept.push(text);
        }
        list.sent = list.kept.len();
        while entries.next_element::<IgnoredAny>()?.is_some() {
            list.sent = list.sent.saturating_add(1);
        }
        Ok(list)
    }
}
