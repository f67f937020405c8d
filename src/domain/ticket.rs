//! A ticket as the venue sells it, and everything that can be wrong with one.

use std::collections::BTreeMap;

use jiff::civil;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};
use sha2::{Digest, Sha256};
use solana_pubkey::{Pubkey, pubkey};
use utoipa::ToSchema;

use super::ids::{TicketId, check_id};

/// Longest event, venue, tier or seat name, in bytes.
pub const MAX_TEXT_BYTES: usize = 200;
/// Longest value of any other field of `ticketData`, in bytes.
pub const MAX_EXTRA_BYTES: usize = 1_000;
/// Most other fields in `ticketData`.
pub const MAX_EXTRAS: usize = 32;
/// Longest image address, in bytes.
pub const MAX_IMAGE_BYTES: usize = 2_048;

const TICKET_FIELDS: [&str; 6] = ["id", "eventId", "userId", "ticketData", "ownerAddress", "image"];

/// Well-known accounts that are on the curve's side of no wallet: a ticket sent there is lost.
const NOBODY: [Pubkey; 12] = [
    pubkey!("11111111111111111111111111111111"),
    pubkey!("1nc1nerator11111111111111111111111111111111"),
    pubkey!("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"),
    pubkey!("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb"),
    pubkey!("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL"),
    pubkey!("metaqbxxUerdq28cj1RbAWkYQm3ybzjb6a8bt518x1s"),
    pubkey!("ComputeBudget111111111111111111111111111111"),
    pubkey!("BPFLoaderUpgradeab1e11111111111111111111111"),
    pubkey!("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr"),
    pubkey!("Sysvar1nstructions1111111111111111111111111"),
    pubkey!("SysvarRent111111111111111111111111111111111"),
    pubkey!("Stake11111111111111111111111111111111111111"),
];

/// One thing that is wrong with a ticket, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fault {
    /// JSON pointer (RFC 6901) within the ticket: `/ticketData/eventName`.
    pub pointer: String,
    /// A sentence for a person.
    pub detail: String,
}

/// Faults that are told of one thing; whoever wrote more than these has one fault, not many.
const MAX_FAULTS: usize = 20;

/// Leaves the first faults, and says how many more there are.
pub fn cap(faults: &mut Vec<Fault>) {
    let more = faults.len().saturating_sub(MAX_FAULTS);
    if more > 0 {
        faults.truncate(MAX_FAULTS);
        faults.push(Fault { pointer: String::new(), detail: format!("and {more} more faults") });
    }
}

/// Rules that a venue may choose.
#[derive(Clone, Copy, Debug, Default)]
pub struct TicketRules {
    /// Takes owner addresses that are no wallet's key, such as the vaults of multisig programs.
    pub allow_off_curve_owners: bool,
}

/// A ticket that has passed every check which needs no chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ticket {
    /// The venue's own number for it; never published.
    pub id: String,
    /// The event it admits to.
    pub event_id: String,
    /// Who bought it, in the venue's books; never published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// What is printed on it, and published.
    pub ticket_data: TicketData,
    /// The Solana address that will hold it, in base58; the box's own wallet when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner_address: Option<String>,
    /// Its picture: an `ipfs://` or `https://` address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

/// What is printed on a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketData {
    /// Name of the event.
    pub event_name: String,
    /// Day or time of the event as the venue wrote it: `2025-12-01` or `2025-12-01T20:00:00+01:00`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_date: Option<String>,
    /// Name of the place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub venue: Option<String>,
    /// Price category.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// Seat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seat_number: Option<String>,
    /// Whatever else the venue prints, sorted by name: strings, numbers and booleans.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl Ticket {
    /// Reads a ticket from JSON and checks everything that can be checked without the chain.
    ///
    /// # Errors
    /// Every fault of the ticket at once.
    pub fn from_json(json: &Value, rules: TicketRules) -> Result<Self, Vec<Fault>> {
        let mut reader = Reader { faults: Vec::new() };
        let Value::Object(fields) = json else {
            return Err(vec![Fault { pointer: String::new(), detail: "a ticket must be a JSON object".into() }]);
        };
        for unknown in fields.keys().filter(|key| !TICKET_FIELDS.contains(&key.as_str())) {
            let known = TICKET_FIELDS.join(", ");
            reader.fault(pointer("", unknown), format!("unknown field; a ticket has {known}"));
        }
        let id = reader.id(fields, "id", true);
        let event_id = reader.id(fields, "eventId", true);
        let user_id = reader.id(fields, "userId", false);
        let owner_address = reader.owner(fields, rules);
        let image = reader.image(fields);
        let ticket_data = reader.ticket_data(fields.get("ticketData"));
        match (id, event_id, ticket_data) {
            (Some(id), Some(event_id), Some(ticket_data)) if reader.faults.is_empty() => {
                Ok(Self { id, event_id, user_id, ticket_data, owner_address, image })
            }
            _ => Err(reader.faults),
        }
    }

    /// The ticket's identifier as a typed name.
    ///
    /// # Errors
    /// Never for a ticket that passed [`Ticket::from_json`].
    pub fn ticket_id(&self) -> Result<TicketId, &'static str> {
        TicketId::new(self.id.as_str())
    }

    /// The ticket as text that is the same for the same content, whatever the order of its fields was.
    #[must_use]
    pub fn canonical_json(&self) -> String {
        // Field order is fixed by the struct and extra fields are sorted: serialising cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// SHA-256 of [`Ticket::canonical_json`]: the same ticket sent again has the same digest.
    #[must_use]
    pub fn content_digest(&self) -> [u8; 32] {
        digest(&self.canonical_json())
    }

    /// The address that will hold the ticket, if one was given.
    #[must_use]
    pub fn owner(&self) -> Option<Pubkey> {
        self.owner_address.as_deref().and_then(|address| address.parse().ok())
    }
}

/// SHA-256 of a ticket's canonical text, where that is at hand.
#[must_use]
pub fn digest(canonical_json: &str) -> [u8; 32] {
    Sha256::digest(canonical_json).into()
}

/// Collects faults while it reads.
struct Reader {
    faults: Vec<Fault>,
}

impl Reader {
    fn fault(&mut self, pointer: String, detail: impl Into<String>) {
        self.faults.push(Fault { pointer, detail: detail.into() });
    }

    /// A value as text: `null` and the empty string count as absent, numbers are taken as they are written.
    fn text(&mut self, at: &str, value: Option<&Value>, max_bytes: usize) -> Option<String> {
        let text = match value {
            None | Some(Value::Null) => return None,
            Some(Value::String(text)) => text.trim().to_owned(),
            Some(Value::Number(number)) if !is_exact(number) => {
                self.fault(at.to_owned(), INEXACT);
                return None;
            }
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
                self.fault(at.to_owned(), "must be text");
                return None;
            }
        };
        if let Some(control) = text.chars().find(|c| c.is_control()) {
            self.fault(at.to_owned(), format!("contains the control character U+{:04X}", u32::from(control)));
            return None;
        }
        if text.len() > max_bytes {
            self.fault(at.to_owned(), format!("is {} bytes long; at most {max_bytes} are allowed", text.len()));
            return None;
        }
        (!text.is_empty()).then_some(text)
    }

    fn id(&mut self, fields: &Map<String, Value>, name: &str, required: bool) -> Option<String> {
        let at = pointer("", name);
        let id = match fields.get(name) {
            None | Some(Value::Null) if required => Err("is missing"),
            None | Some(Value::Null) => return None,
            Some(Value::String(text)) => check_id(text).map(|()| text.clone()),
            Some(Value::Number(number)) if !is_exact(number) => Err(INEXACT),
            Some(Value::Number(number)) => Ok(number.to_string()),
            Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => Err("must be a string"),
        };
        id.map_err(|detail| self.fault(at, detail)).ok()
    }

    fn owner(&mut self, fields: &Map<String, Value>, rules: TicketRules) -> Option<String> {
        let at = "/ownerAddress";
        let text = self.text(at, fields.get("ownerAddress"), 64)?;
        let detail = match text.parse::<Pubkey>() {
            Err(_) => "is not a Solana address (32 bytes in base58)",
            Ok(owner) if NOBODY.contains(&owner) => {
                "is a program or system account that nobody holds the key of; a ticket sent there is lost"
            }
            Ok(owner) if !owner.is_on_curve() && !rules.allow_off_curve_owners => {
                "is no wallet's key (off the curve), so it is mistyped or a program's vault; \
                 set ALLOW_OFF_CURVE_OWNERS=true if it is a vault"
            }
            Ok(_) => return Some(text),
        };
        self.fault(at.to_owned(), detail);
        None
    }

    fn image(&mut self, fields: &Map<String, Value>) -> Option<String> {
        let at = "/image";
        let image = self.text(at, fields.get("image"), MAX_IMAGE_BYTES)?;
        let content = image.strip_prefix("ipfs://").and_then(|path| path.split('/').next());
        let host = image.strip_prefix("https://").and_then(|path| path.split(['/', '?', '#']).next());
        let complete =
            content.is_some_and(|cid| cid::Cid::try_from(cid).is_ok()) || host.is_some_and(|host| !host.is_empty());
        if !complete || image.contains(char::is_whitespace) {
            self.fault(at.to_owned(), "must be a complete https:// address, or ipfs:// and a CID");
        }
        Some(image)
    }

    fn ticket_data(&mut self, data: Option<&Value>) -> Option<TicketData> {
        let at = "/ticketData";
        let Some(Value::Object(fields)) = data else {
            self.fault(at.to_owned(), if data.is_none() { "is missing" } else { "must be a JSON object" });
            return None;
        };
        let mut field = |name: &str| self.text(&pointer(at, name), fields.get(name), MAX_TEXT_BYTES);
        let event_name = field("eventName");
        let event_date = field("eventDate");
        let (venue, tier, seat_number) = (field("venue"), field("tier"), field("seatNumber"));
        if event_name.is_none() && !self.faults.iter().any(|fault| fault.pointer == "/ticketData/eventName") {
            self.fault(pointer(at, "eventName"), "is missing");
        }
        if event_date.as_deref().is_some_and(|date| !is_date(date)) {
            self.fault(pointer(at, "eventDate"), "is not a date such as 2025-12-01 or 2025-12-01T20:00:00+01:00");
        }
        let extra = self.extra(fields);
        Some(TicketData { event_name: event_name?, event_date, venue, tier, seat_number, extra })
    }

    fn extra(&mut self, fields: &Map<String, Value>) -> BTreeMap<String, Value> {
        let known = ["eventName", "eventDate", "venue", "tier", "seatNumber"];
        let mut extra = BTreeMap::new();
        for (name, value) in fields.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
            let at = pointer("/ticketData", name);
            if let Err(detail) = check_id(name) {
                self.fault(at, format!("the field's name {detail}"));
                continue;
            }
            match value {
                Value::Null => {}
                Value::Number(number) if !is_exact(number) => self.fault(at, INEXACT),
                Value::Bool(_) | Value::Number(_) => drop(extra.insert(name.clone(), value.clone())),
                Value::String(_) | Value::Array(_) | Value::Object(_) => {
                    if let Some(text) = self.text(&at, Some(value), MAX_EXTRA_BYTES) {
                        extra.insert(name.clone(), Value::String(text));
                    }
                }
            }
        }
        if extra.len() > MAX_EXTRAS {
            self.fault("/ticketData".into(), format!("has {} further fields; at most {MAX_EXTRAS} fit", extra.len()));
        }
        extra
    }
}

const INEXACT: &str = "is a number that would be changed; send it as text";

/// Whether a number is kept as it was sent. Integers beyond ±2^53 are not by JavaScript, with which wallets read metadata; those
/// beyond 64 bits, and -0, not even by our own parser, which makes fractions of them.
fn is_exact(number: &Number) -> bool {
    /// Every integer up to it is a double, and no other integer is taken for it.
    const MOST: u64 = 1 << 53;
    match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(integer), ..) => integer.unsigned_abs() <= MOST,
        (None, Some(integer), _) => integer <= MOST,
        (None, None, Some(float)) => {
            let is_integer = float.fract() == 0.0;
            let is_negative_zero = float == 0.0 && float.is_sign_negative();
            !(is_negative_zero || is_integer && float.abs() > 9_007_199_254_740_992.0)
        }
        (None, None, None) => false,
    }
}

/// A JSON pointer to `name` below `parent`.
fn pointer(parent: &str, name: &str) -> String {
    format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn is_date(text: &str) -> bool {
    // A day must be just that: the lenient parser would drop what follows it.
    let day = text.len() == 10 && text.parse::<civil::Date>().is_ok();
    let local_time = text.len() > 10 && text.parse::<civil::DateTime>().is_ok();
    day || local_time || text.parse::<jiff::Timestamp>().is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seed_example() -> Value {
        json!({
            "id": "ticket-1", "eventId": "event-1", "userId": "user-1",
            "ticketData": {
                "eventName": "Concert", "eventDate": "2025-12-01", "venue": "Stadium", "tier": "VIP", "seatNumber": "A1"
            }
        })
    }

    fn faults(ticket: &Value) -> Vec<(String, String)> {
        let faults = Ticket::from_json(ticket, TicketRules::default()).unwrap_err();
        faults.into_iter().map(|fault| (fault.pointer, fault.detail)).collect()
    }

    #[test]
    fn order_of_fields_does_not_matter_but_content_does() {
        let ticket = Ticket::from_json(&seed_example(), TicketRules::default()).unwrap();
        let mut shuffled = json!({ "ticketData": { "seatNumber": "A1", "gate": 4, "age": true } });
        let mut straight = json!({ "ticketData": { "age": true, "gate": 4, "seatNumber": "A1" } });
        for other in [&mut shuffled, &mut straight] {
            for (key, value) in seed_example().as_object().unwrap() {
                if key != "ticketData" {
                    other[key] = value.clone();
                }
            }
            for (key, value) in seed_example()["ticketData"].as_object().unwrap() {
                other["ticketData"][key] = value.clone();
            }
        }
        let read = |json: &Value| Ticket::from_json(json, TicketRules::default()).unwrap();
        assert_eq!(read(&shuffled).content_digest(), read(&straight).content_digest());
        assert_ne!(read(&shuffled).content_digest(), ticket.content_digest());
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let found = faults(&json!({
            "id": "", "userId": 3, "ownerAdress": "x", "ownerAddress": "11111111111111111111111111111111",
            "image": "file:///etc/passwd",
            "ticketData": { "eventName": "a\u{7}b", "eventDate": "soon", "seatNumber": {}, "tier": "T".repeat(201), "x/y": [1] }
        }));
        let pointers: Vec<_> = found.iter().map(|(pointer, _)| pointer.as_str()).collect();
        assert_eq!(
            pointers,
            [
                "/ownerAdress",
                "/id",
                "/eventId",
                "/ownerAddress",
                "/image",
                "/ticketData/eventName",
                "/ticketData/tier",
                "/ticketData/seatNumber",
                "/ticketData/eventDate",
                "/ticketData/x~1y"
            ]
        );
    }

    #[test]
    fn numbers_that_would_be_changed_are_refused() {
        let inexact =
            ["9007199254740993", "-9007199254740993", "18446744073709551615", "18446744073709551617", "1e300", "-0"];
        let exact = ["0", "7", "-7", "9007199254740992", "-9007199254740992", "49.5", "0.1", "-1.25"];
        let with = |pointer: &str, number: &str| {
            let mut ticket = seed_example();
            ticket["ticketData"]["order"] = json!("x");
            *ticket.pointer_mut(pointer).unwrap() = serde_json::from_str(number).unwrap();
            Ticket::from_json(&ticket, TicketRules::default())
        };
        for pointer in ["/id", "/eventId", "/userId", "/ticketData/eventName", "/ticketData/tier", "/ticketData/order"]
        {
            for number in inexact {
                let found = with(pointer, number).unwrap_err();
                assert_eq!(found, [Fault { pointer: pointer.into(), detail: INEXACT.into() }], "{number}");
            }
            for number in exact {
                let kept = serde_json::to_value(with(pointer, number).unwrap()).unwrap();
                let kept = kept.pointer(pointer).unwrap();
                assert_eq!(kept.as_str().map_or_else(|| kept.to_string(), str::to_owned), number, "{pointer}");
            }
        }
    }

    #[test]
    fn owners_must_be_able_to_use_the_ticket() {
        let vault = Pubkey::find_program_address(&[b"vault"], &spl_token_interface::ID).0.to_string();
        let mut ticket = seed_example();
        ticket["ownerAddress"] = json!(vault);
        assert!(faults(&ticket)[0].1.contains("off the curve"));
        let rules = TicketRules { allow_off_curve_owners: true };
        assert!(Ticket::from_json(&ticket, rules).is_ok());
        for owner in ["O0Il", "abc", "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"] {
            ticket["ownerAddress"] = json!(owner);
            assert_eq!(faults(&ticket).len(), 1, "{owner}");
        }
    }

    #[test]
    fn dates_are_days_or_times() {
        for good in ["2025-12-01", "2025-12-01T20:00:00", "2025-12-01T20:00:00Z", "2025-12-01 20:00:00+01:00"] {
            assert!(is_date(good), "{good}");
        }
        for bad in ["2025-02-30", "01.12.2025", "tomorrow", "2025-12-01x", "20251201T99"] {
            assert!(!is_date(bad), "{bad}");
        }
    }
}
