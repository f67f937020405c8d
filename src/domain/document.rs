//! What is published about a ticket: its name on the chain and its metadata JSON.
//!
//! The JSON follows the Metaplex Token Metadata standard. The same ticket with the same picture always gives the same bytes,
//! for its address on IPFS is a hash of them: a change here changes the address of every ticket not yet minted. Neither the
//! ticket's id nor its buyer is published, for ids often double as bar codes and everyone can read the chain.

use serde::Serialize;
use serde_json::Value;

use super::ticket::{Ticket, TicketData};

/// Token Metadata's limit for a name, in bytes.
pub const MAX_NAME_BYTES: usize = 32;
/// Token Metadata's limit for a symbol, in bytes.
pub const MAX_SYMBOL_BYTES: usize = 10;
/// Token Metadata's limit for a URI, in bytes.
pub const MAX_URI_BYTES: usize = 200;

const SEPARATOR: &str = " · ";
const ELLIPSIS: &str = "…";

/// The full name: event, tier and seat, as far as they are known.
#[must_use]
pub fn full_name(data: &TicketData) -> String {
    let parts = [Some(&data.event_name), data.tier.as_ref(), data.seat_number.as_ref()];
    let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
    parts.join(SEPARATOR)
}

/// The name on the chain, at most 32 bytes: the full name if it fits; otherwise the event's name is cut so that the seat
/// stays readable, and the tier is dropped; a seat that is too long itself is cut as well.
#[must_use]
pub fn chain_name(data: &TicketData) -> String {
    let full = full_name(data);
    if full.len() <= MAX_NAME_BYTES {
        return full;
    }
    let seat = data.seat_number.as_ref().map(|seat| format!("{SEPARATOR}{seat}")).unwrap_or_default();
    // At least half of the name is kept for the event.
    match MAX_NAME_BYTES.checked_sub(seat.len()) {
        Some(room) if room >= MAX_NAME_BYTES / 2 => cut(&data.event_name, room) + &seat,
        _ => cut(&format!("{}{seat}", data.event_name), MAX_NAME_BYTES),
    }
}

/// The text itself if it fits into `room` bytes, otherwise its beginning and an ellipsis.
fn cut(text: &str, room: usize) -> String {
    if text.len() <= room {
        return text.to_owned();
    }
    let kept = text.floor_char_boundary(room.saturating_sub(ELLIPSIS.len()));
    let kept = text.get(..kept).unwrap_or_default();
    format!("{}{ELLIPSIS}", kept.trim_end())
}

#[derive(Serialize)]
struct Document<'a> {
    name: &'a str,
    symbol: &'a str,
    description: String,
    image: &'a str,
    attributes: Vec<Attribute<'a>>,
    properties: Properties<'a>,
}

#[derive(Serialize)]
struct Attribute<'a> {
    trait_type: &'a str,
    value: Value,
}

#[derive(Serialize)]
struct Properties<'a> {
    files: [File<'a>; 1],
    category: &'static str,
}

#[derive(Serialize)]
struct File<'a> {
    uri: &'a str,
    r#type: &'a str,
}

/// A published picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its `ipfs://` address.
    pub uri: String,
    /// Its media type.
    pub media_type: String,
}

/// The metadata JSON of a ticket. `image` is the picture of a ticket that was sold without one: that of its event, or the
/// one that is drawn for all others.
#[must_use]
pub fn metadata_json(ticket: &Ticket, symbol: &str, image: &Image) -> Vec<u8> {
    let data = &ticket.ticket_data;
    let name = full_name(data);
    let named = [
        ("Event", Some(&data.event_name)),
        ("Date", data.event_date.as_ref()),
        ("Venue", data.venue.as_ref()),
        ("Tier", data.tier.as_ref()),
        ("Seat", data.seat_number.as_ref()),
    ];
    let named = named.into_iter().filter_map(|(trait_type, value)| Some((trait_type, Value::String(value?.clone()))));
    let extra = data.extra.iter().map(|(name, value)| (name.as_str(), value.clone()));
    let (image, media_type) = match &ticket.image {
        Some(own) => (own.as_str(), media_type(own)),
        None => (image.uri.as_str(), image.media_type.as_str()),
    };
    let document = Document {
        name: &name,
        symbol,
        description: description(data),
        image,
        attributes: named.chain(extra).map(|(trait_type, value)| Attribute { trait_type, value }).collect(),
        properties: Properties { files: [File { uri: image, r#type: media_type }], category: "image" },
    };
    // Strings, numbers and booleans only: serialising cannot fail.
    serde_json::to_vec(&document).unwrap_or_default()
}

fn description(data: &TicketData) -> String {
    let venue = data.venue.as_ref().map(|venue| format!(" at {venue}")).unwrap_or_default();
    let when = data.event_date.as_ref().map(|when| format!(", {when}")).unwrap_or_default();
    format!("Ticket for {}{venue}{when}", data.event_name)
}

/// What the address of a ticket's own picture says of it.
fn media_type(image: &str) -> &'static str {
    let path = image.split(['?', '#']).next().unwrap_or_default();
    match path.rsplit('.').next().map(str::to_ascii_lowercase).as_deref() {
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("gif") => "image/gif",
        Some("webp") => "image/webp",
        Some("svg") => "image/svg+xml",
        _ => "image/*",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn data(event: &str, tier: Option<&str>, seat: Option<&str>) -> TicketData {
        TicketData {
            event_name: event.into(),
            event_date: Some("2025-12-01".into()),
            venue: Some("Stadium".into()),
            tier: tier.map(Into::into),
            seat_number: seat.map(Into::into),
            extra: BTreeMap::from([("gate".into(), json!(4))]),
        }
    }

    #[test]
    fn names_fit_and_keep_the_seat() {
        assert_eq!(chain_name(&data("Concert", Some("VIP"), Some("A1"))), "Concert · VIP · A1");
        let long = "The Very Long Winter Festival of Music";
        assert_eq!(chain_name(&data(long, Some("VIP"), Some("A1"))), "The Very Long Winter Fe… · A1");
        assert_eq!(chain_name(&data(long, None, Some("Upper Balcony Left, Row 12"))), "The Very Long Winter Festival…");
        for event in ["Ö".repeat(100), "🎷".repeat(50), "x".repeat(33)] {
            for seat in [None, Some("Ä".repeat(20)), Some("A1".to_owned())] {
                let name = chain_name(&data(&event, None, seat.as_deref()));
                assert!(name.len() <= MAX_NAME_BYTES, "{name}");
            }
        }
    }

    #[test]
    fn the_document_is_byte_for_byte_what_it_was() {
        let ticket = Ticket {
            id: "secret-barcode".into(),
            event_id: "event-1".into(),
            user_id: Some("someone".into()),
            ticket_data: data("Concert", Some("VIP"), Some("A1")),
            owner_address: None,
            image: None,
        };
        let image = Image { uri: "ipfs://default".into(), media_type: "image/svg+xml".into() };
        let bytes = metadata_json(&ticket, "TKT", &image);
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            concat!(
                r#"{"name":"Concert · VIP · A1","symbol":"TKT","description":"Ticket for Concert at Stadium, 2025-12-01","#,
                r#""image":"ipfs://default","attributes":[{"trait_type":"Event","value":"Concert"},"#,
                r#"{"trait_type":"Date","value":"2025-12-01"},{"trait_type":"Venue","value":"Stadium"},"#,
                r#"{"trait_type":"Tier","value":"VIP"},{"trait_type":"Seat","value":"A1"},{"trait_type":"gate","value":4}],"#,
                r#""properties":{"files":[{"uri":"ipfs://default","type":"image/svg+xml"}],"category":"image"}}"#
            )
        );
    }
}
