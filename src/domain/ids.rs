//! Names that outsiders choose: venues, tickets, events, users.

use std::fmt;

use serde::Serialize;

/// Longest identifier taken, in characters. Ids come from other systems (UUIDs, order numbers, URLs): this holds them all.
pub const MAX_ID_CHARS: usize = 128;

/// Says what is wrong with an identifier, or nothing.
///
/// # Errors
/// A sentence without a subject: "is empty".
pub fn check_id(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        Err("is empty")
    } else if text.chars().count() > MAX_ID_CHARS {
        Err("is longer than 128 characters")
    } else if text.chars().any(char::is_control) {
        Err("contains a control character")
    } else if text.trim() != text {
        Err("begins or ends with white space")
    } else {
        Ok(())
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes an identifier as it was written.
            ///
            /// # Errors
            /// What is wrong with it, as [`check_id`] says.
            pub fn new(text: impl Into<String>) -> Result<Self, &'static str> {
                let text = text.into();
                check_id(&text).map(|()| Self(text))
            }

            /// The identifier as it was written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// A venue: the namespace of its tickets.
    VenueId
);
id!(
    /// A ticket's identifier, unique within its venue for ever.
    TicketId
);
