//! Tickets from a CSV or JSON file: every row is checked, and every fault is told with its row and column.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Map, Value, json};
use thiserror::Error;
use utoipa::ToSchema;

use super::ticket::{Fault, Ticket, TicketRules};

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// Rows of cells, separated by commas, semicolons or tabs, under a header.
    Csv,
    /// A list of tickets, or an object with a list called `tickets`.
    Json,
}

impl FileFormat {
    /// What the number in [`FileFault::row`] counts.
    #[must_use]
    pub fn row_name(self) -> &'static str {
        match self {
            Self::Csv => "line",
            Self::Json => "entry",
        }
    }
}

/// Columns of a CSV file that are fields of the ticket itself; all others belong to `ticketData`.
const TICKET_COLUMNS: [&str; 5] = ["id", "eventId", "userId", "ownerAddress", "image"];
const DATA_COLUMNS: [&str; 5] = ["eventName", "eventDate", "venue", "tier", "seatNumber"];

/// One wrong cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FileFault {
    /// Line of a CSV file, or entry of a JSON list, both from 1.
    pub row: u64,
    /// The column, or the JSON pointer; empty for the whole row.
    pub column: String,
    /// What is wrong with it.
    pub detail: String,
}

/// A file that holds no list of tickets, or not that of the venue.
#[derive(Debug, Error)]
pub enum UnreadableFile {
    /// It is no JSON, or ends in the middle.
    #[error("the file is not complete, valid JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// JSON of something else.
    #[error("the JSON is neither a list of tickets nor an object with a list called tickets")]
    NoList,
    /// It names another venue than the one that is to mint it.
    #[error("the file is of the venue {named}, but {wanted:?} is to mint it; a ticket's address depends on it")]
    OtherVenue {
        /// As it stands in the file.
        named: Value,
        /// That was asked for.
        wanted: String,
    },
}

/// The tickets of a file, as the API takes them, and what is wrong with the others.
#[derive(Debug)]
pub struct TicketFile {
    /// Those without a fault, in their order.
    pub tickets: Vec<Value>,
    /// What is wrong with the others, in their order.
    pub faults: Vec<FileFault>,
}

/// Reads a file. `event` is the event of tickets that name none.
///
/// # Errors
/// See [`UnreadableFile`]; faults of single rows are part of the result.
pub fn read(
    bytes: &[u8],
    format: FileFormat,
    venue: &str,
    event: Option<&str>,
    rules: TicketRules,
) -> Result<TicketFile, UnreadableFile> {
    let rows = match format {
        FileFormat::Csv => csv_rows(bytes),
        FileFormat::Json => json_rows(bytes, venue)?,
    };
    let (mut tickets, mut faults) = (Vec::new(), Vec::new());
    let mut first_seen = HashMap::new();
    for row in rows {
        match row.and_then(|(row, ticket)| check(row, ticket, event, rules, &mut first_seen)) {
            Ok(ticket) => tickets.push(ticket),
            Err(found) => faults.extend(found),
        }
    }
    if tickets.is_empty() && faults.is_empty() {
        let detail = "there are no tickets in it".into();
        faults.push(FileFault { row: 1, column: String::new(), detail });
    }
    Ok(TicketFile { tickets, faults })
}

type Row = Result<(u64, Value), Vec<FileFault>>;

fn check(
    row: u64,
    mut ticket: Value,
    event: Option<&str>,
    rules: TicketRules,
    first_seen: &mut HashMap<String, u64>,
) -> Result<Value, Vec<FileFault>> {
    if let (Some(event), Value::Object(fields)) = (event, &mut ticket) {
        fields.entry("eventId").or_insert_with(|| json!(event));
    }
    let checked = Ticket::from_json(&ticket, rules).map_err(|faults| {
        let in_file = |fault: Fault| FileFault { row, column: column(&fault.pointer), detail: fault.detail };
        faults.into_iter().map(in_file).collect::<Vec<_>>()
    })?;
    match first_seen.insert(checked.id, row) {
        None => Ok(ticket),
        Some(first) => {
            let detail = format!("the same ticket stands in row {first} already");
            Err(vec![FileFault { row, column: "id".into(), detail }])
        }
    }
}

/// The name of a column, from the pointer into the ticket.
fn column(pointer: &str) -> String {
    let name = pointer.strip_prefix("/ticketData/").unwrap_or(pointer).trim_start_matches('/');
    if name.is_empty() { "the ticket".into() } else { name.replace("~1", "/").replace("~0", "~") }
}

fn json_rows(bytes: &[u8], venue: &str) -> Result<Vec<Row>, UnreadableFile> {
    let file: Value = serde_json::from_slice(bytes)?;
    if let Some(named) = file.get("venueId").filter(|named| *named != venue) {
        return Err(UnreadableFile::OtherVenue { named: named.clone(), wanted: venue.into() });
    }
    let list = if let Value::Object(mut fields) = file { fields.remove("tickets") } else { Some(file) };
    let Some(Value::Array(tickets)) = list else { return Err(UnreadableFile::NoList) };
    Ok((1..).zip(tickets).map(Ok).collect())
}

fn csv_rows(bytes: &[u8]) -> Vec<Row> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let fault = |row, detail: &str| Err(vec![FileFault { row, column: String::new(), detail: detail.into() }]);
    let first_line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |wanted: u8| first_line.split(|byte| *byte == wanted).count();
    // Spreadsheets of half the world separate by semicolons.
    let delimiter = [b',', b';', b'\t'].into_iter().max_by_key(|delimiter| (count(*delimiter), *delimiter == b','));
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter.unwrap_or(b',')).trim(csv::Trim::All).from_reader(bytes);
    let header = match reader.headers() {
        Ok(header) => header.iter().map(known_column).collect::<Vec<_>>(),
        Err(error) => return vec![fault(1, &format!("the header cannot be read: {error}"))],
    };
    if !header.iter().any(|name| name == "id") {
        return vec![fault(1, "the header has no column called id; is the first line missing?")];
    }
    let mut names: Vec<&String> = header.iter().filter(|name| !name.is_empty()).collect();
    names.sort();
    if let Some(twice) = names.windows(2).find_map(|pair| (pair.first() == pair.last()).then(|| pair.first()).flatten())
    {
        return vec![fault(1, &format!("the header has two columns for {twice}"))];
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        rows.push(match record {
            Ok(record) => {
                let line = record.position().map_or(0, csv::Position::line);
                Ok((line, csv_ticket(&header, &record)))
            }
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                let detail = if let csv::ErrorKind::UnequalLengths { expected_len, len, .. } = error.kind() {
                    format!("has {len} cells instead of {expected_len}; is the file cut off, or a comma not quoted?")
                } else if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) {
                    "is not UTF-8; save the file as UTF-8".into()
                } else {
                    error.to_string()
                };
                fault(line, &detail)
            }
        });
    }
    // Quotes come in pairs; the reader itself takes the end of the file for the closing one.
    let between_quotes = bytes.split(|byte| *byte == b'"').count();
    if between_quotes.is_multiple_of(2) {
        let last = rows.last().and_then(|row| row.as_ref().ok()).map_or(1, |(line, _)| *line);
        rows.pop();
        rows.push(fault(last, "the file ends inside a quoted cell that begins here; it is cut off"));
    }
    rows
}

fn csv_ticket(header: &[String], record: &csv::StringRecord) -> Value {
    let (mut ticket, mut data) = (Map::new(), Map::new());
    for (name, cell) in header.iter().zip(record).filter(|(name, cell)| !name.is_empty() && !cell.is_empty()) {
        let fields = if TICKET_COLUMNS.contains(&name.as_str()) { &mut ticket } else { &mut data };
        fields.insert(name.clone(), json!(cell));
    }
    ticket.insert("ticketData".into(), Value::Object(data));
    Value::Object(ticket)
}

/// A column's name as the API spells it, whatever its case and separators: `Seat Number`, `seat_number` and `seatNumber`
/// are one. Columns that the API does not know keep their names.
fn known_column(name: &str) -> String {
    let plain = |name: &str| name.to_lowercase().replace(['_', '-', ' '], "");
    let wanted = match plain(name).as_str() {
        "ticketid" => "id".to_owned(),
        "seat" => "seatnumber".to_owned(),
        "owner" => "owneraddress".to_owned(),
        other => other.to_owned(),
    };
    let known = TICKET_COLUMNS.into_iter().chain(DATA_COLUMNS).find(|column| plain(column) == wanted);
    known.map_or_else(|| name.to_owned(), ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(format: FileFormat, text: &[u8]) -> TicketFile {
        read(text, format, "v", Some("event-1"), TicketRules::default()).unwrap()
    }

    fn faults(text: &[u8]) -> Vec<(u64, String)> {
        let faults = read_text(FileFormat::Csv, text).faults;
        faults.into_iter().map(|fault| (fault.row, format!("{}: {}", fault.column, fault.detail))).collect()
    }

    #[test]
    fn spreadsheets_of_all_countries_are_read() {
        let comma = read_text(FileFormat::Csv, b"\xef\xbb\xbfTicket ID,event_name,Seat,gate\n1,Concert,A1,West\n");
        let semicolon = read_text(FileFormat::Csv, "id;eventName;seatNumber;gate\r\n1;Concert;A1;West\r\n".as_bytes());
        let wanted = json!({ "id": "1", "eventId": "event-1",
            "ticketData": { "eventName": "Concert", "seatNumber": "A1", "gate": "West" } });
        assert_eq!(comma.tickets, std::slice::from_ref(&wanted));
        assert_eq!(semicolon.tickets, [wanted]);
    }

    #[test]
    fn every_fault_is_told_with_its_place() {
        let found = faults(b"id,eventName,eventDate\n1,Concert,soon\n2,,2025-12-01\n1,Concert,\n1,Concert,\n4,Con");
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].1.starts_with("eventDate: is not a date") && found[0].0 == 2, "{found:?}");
        assert!(found[1].1.starts_with("eventName: is missing") && found[1].0 == 3, "{found:?}");
        assert!(found[2].1.contains("row 4 already") && found[2].0 == 5, "{found:?}");
        assert!(found[3].1.contains("cut off") && found[3].0 == 6, "{found:?}");
    }

    #[test]
    fn a_file_that_ends_in_a_quoted_cell_is_cut_off() {
        let found = faults(b"id,eventName\n1,Concert\n2,\"Con");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].1.contains("inside a quoted cell") && found[0].0 == 3, "{found:?}");
        assert!(faults(b"")[0].1.contains("no column called id"));
        assert!(faults(b"id,eventName\n")[0].1.contains("no tickets"));
    }

    #[test]
    fn json_lists_and_the_seeds_request_body_are_read() {
        let ticket = json!({ "id": "1", "eventId": "e", "ticketData": { "eventName": "Concert" } });
        for file in [json!([ticket]), json!({ "venueId": "v", "tickets": [ticket] })] {
            assert_eq!(read_text(FileFormat::Json, file.to_string().as_bytes()).tickets, std::slice::from_ref(&ticket));
        }
    }
}
