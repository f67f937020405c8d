//! Tickets from a CSV or JSON file: every row is checked, and every fault is told with its row and column.

use std::{borrow::Cow, collections::HashMap};

use serde::Serialize;
use serde_json::{Map, Value, json, value::RawValue};
use thiserror::Error;
use utoipa::ToSchema;

use super::{
    raw_list::RawList,
    ticket::{Fault, Ticket, TicketRules},
};

/// Faults that are told one by one: whoever chose the wrong file needs no million of them.
pub const MOST_FAULTS: usize = 1_000;

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
    /// More rows than are looked at.
    #[error("the file has more than {most} rows; split it")]
    TooLong {
        /// How many are looked at.
        most: usize,
    },
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
#[derive(Debug, Default)]
pub struct TicketFile {
    /// Those without a fault, in their order.
    pub tickets: Vec<Value>,
    /// What is wrong with the others, in their order: the first [`MOST_FAULTS`].
    pub faults: Vec<FileFault>,
    /// All faults, those that are not listed too.
    pub fault_count: usize,
    /// Rows that have faults.
    pub faulty_rows: usize,
}

/// Reads a file of `most` rows at most. `event` is the event of tickets that name none.
///
/// # Errors
/// See [`UnreadableFile`]; faults of single rows are part of the result.
pub fn read(
    bytes: &[u8],
    format: FileFormat,
    venue: &str,
    event: Option<&str>,
    rules: TicketRules,
    most: usize,
) -> Result<TicketFile, UnreadableFile> {
    let mut file =
        Reading { format, event, rules, most, rows: 0, first_seen: HashMap::new(), read: TicketFile::default() };
    match format {
        FileFormat::Csv => csv_rows(&utf8(bytes), |row| file.take(row))?,
        FileFormat::Json => json_rows(bytes, venue, most)?.into_iter().try_for_each(|row| file.take(row))?,
    }
    if file.rows == 0 {
        file.blame(vec![whole_row(1, "there are no tickets in it")]);
    }
    Ok(file.read)
}

/// A row's place and ticket, or what is wrong with it.
type Row = Result<(u64, Value), FileFault>;

/// A file that is being read, row by row: what is wrong is counted, and only the first of it kept.
struct Reading<'a> {
    format: FileFormat,
    event: Option<&'a str>,
    rules: TicketRules,
    most: usize,
    rows: usize,
    first_seen: HashMap<String, u64>,
    read: TicketFile,
}

impl Reading<'_> {
    fn take(&mut self, row: Row) -> Result<(), UnreadableFile> {
        if self.rows >= self.most {
            return Err(UnreadableFile::TooLong { most: self.most });
        }
        self.rows = self.rows.saturating_add(1);
        match row.map_err(|fault| vec![fault]).and_then(|(row, ticket)| self.check(row, ticket)) {
            Ok(ticket) => self.read.tickets.push(ticket),
            Err(faults) => self.blame(faults),
        }
        Ok(())
    }

    fn blame(&mut self, faults: Vec<FileFault>) {
        let TicketFile { faults: kept, fault_count, faulty_rows, .. } = &mut self.read;
        *fault_count = fault_count.saturating_add(faults.len());
        *faulty_rows = faulty_rows.saturating_add(1);
        let room = MOST_FAULTS.saturating_sub(kept.len());
        kept.extend(faults.into_iter().take(room));
    }

    fn check(&mut self, row: u64, mut ticket: Value) -> Result<Value, Vec<FileFault>> {
        if let (Some(event), Value::Object(fields)) = (self.event, &mut ticket) {
            fields.entry("eventId").or_insert_with(|| json!(event));
        }
        let checked = Ticket::from_json(&ticket, self.rules).map_err(|faults| {
            let in_file = |fault: Fault| FileFault { row, column: column(&fault.pointer), detail: fault.detail };
            faults.into_iter().map(in_file).collect::<Vec<_>>()
        })?;
        match self.first_seen.insert(checked.id, row) {
            None => Ok(ticket),
            Some(first) => {
                let detail = format!("the same ticket stands in {} {first} already", self.format.row_name());
                Err(vec![FileFault { row, column: "id".into(), detail }])
            }
        }
    }
}

fn whole_row(row: u64, detail: &str) -> FileFault {
    FileFault { row, column: String::new(), detail: detail.into() }
}

/// The name of a column, from the pointer into the ticket.
fn column(pointer: &str) -> String {
    let name = pointer.strip_prefix("/ticketData/").unwrap_or(pointer).trim_start_matches('/');
    if name.is_empty() { "the ticket".into() } else { name.replace("~1", "/").replace("~0", "~") }
}

fn json_rows(bytes: &[u8], venue: &str, most: usize) -> Result<Vec<Row>, UnreadableFile> {
    // The whole first: a file that ends in the middle is told as such, whatever it begins with.
    let whole: &RawValue = serde_json::from_slice(bytes)?;
    let list = if whole.get().starts_with('{') {
        let fields: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_str(whole.get())?;
        if let Some(named) = fields.get("venueId") {
            let named: Value = serde_json::from_str(named.get())?;
            if named != venue {
                return Err(UnreadableFile::OtherVenue { named, wanted: venue.into() });
            }
        }
        *fields.get("tickets").ok_or(UnreadableFile::NoList)?
    } else {
        whole
    };
    let list = RawList::read(list.get().as_bytes(), most).map_err(|_other| UnreadableFile::NoList)?;
    if list.sent > most {
        return Err(UnreadableFile::TooLong { most });
    }
    let row = |(row, text): (u64, Box<RawValue>)| match serde_json::from_str(text.get()) {
        Ok(ticket) => Ok((row, ticket)),
        Err(error) => Err(whole_row(row, &format!("cannot be read: {error}"))),
    };
    Ok((1..).zip(list.kept).map(row).collect())
}

/// The text of a file; that of spreadsheets that write UTF-16 ("Unicode text"), too.
fn utf8(bytes: &[u8]) -> Cow<'_, [u8]> {
    let units = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = rest.chunks(2).map(|pair| pair.try_into().map_or(u16::from(u8::MAX), unit));
        char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect::<String>()
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => Cow::Owned(units(rest, u16::from_le_bytes).into_bytes()),
        [0xfe, 0xff, rest @ ..] => Cow::Owned(units(rest, u16::from_be_bytes).into_bytes()),
        [0xef, 0xbb, 0xbf, rest @ ..] => Cow::Borrowed(rest),
        _ => Cow::Borrowed(bytes),
    }
}

/// Hands on row after row.
fn csv_rows(bytes: &[u8], mut take: impl FnMut(Row) -> Result<(), UnreadableFile>) -> Result<(), UnreadableFile> {
    let first_line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |wanted: u8| first_line.split(|byte| *byte == wanted).count();
    // Spreadsheets of half the world separate by semicolons.
    let delimiter = [b',', b';', b'\t'].into_iter().max_by_key(|delimiter| (count(*delimiter), *delimiter == b','));
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter.unwrap_or(b',')).trim(csv::Trim::All).from_reader(bytes);
    let header = match header(&mut reader) {
        Ok(header) => header,
        Err(detail) => return take(Err(whole_row(1, &detail))),
    };
    // Quotes come in pairs; the reader itself takes the end of the file for the closing one.
    let ends_quoted = bytes.split(|byte| *byte == b'"').count().is_multiple_of(2);
    let mut records = reader.records().peekable();
    let mut place = Place { bytes, at: 0, line: 1 };
    while let Some(record) = records.next() {
        let begin = match &record {
            Ok(record) => record.position(),
            Err(error) => error.position(),
        };
        let line = place.line_of(begin.map_or(0, csv::Position::byte));
        take(if ends_quoted && records.peek().is_none() {
            Err(whole_row(line, "the file ends inside a quoted cell that begins here; it is cut off"))
        } else {
            match record {
                Ok(record) => Ok((line, csv_ticket(&header, &record))),
                Err(error) => Err(whole_row(line, &unreadable(&error))),
            }
        })?;
    }
    Ok(())
}

/// Where the last row began. The reader's own line numbers are those of the line's end before, where that is of two letters or
/// there are empty lines.
struct Place<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u64,
}

impl Place<'_> {
    /// The line of a row that the reader says begins at a byte, no earlier than the last one.
    fn line_of(&mut self, byte: u64) -> u64 {
        let begin = usize::try_from(byte).unwrap_or(usize::MAX);
        let rest = self.bytes.get(begin..).unwrap_or_default();
        let ends = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let begin = begin.saturating_add(ends);
        let passed = self.bytes.get(self.at..begin).unwrap_or_default();
        let is_end = |(index, byte): &(usize, &u8)| match byte {
            b'\n' => true,
            b'\r' => passed.get(index.saturating_add(1)) != Some(&b'\n'),
            _ => false,
        };
        let lines = passed.iter().enumerate().filter(is_end).count() as u64;
        (self.at, self.line) = (begin.max(self.at), self.line.saturating_add(lines));
        self.line
    }
}

/// The columns' names as the API spells them.
fn header(reader: &mut csv::Reader<&[u8]>) -> Result<Vec<String>, String> {
    let header = match reader.headers() {
        Ok(header) => header.iter().map(known_column).collect::<Vec<_>>(),
        Err(error) => return Err(format!("the header {}", unreadable(&error))),
    };
    if !header.iter().any(|name| name == "id") {
        return Err("the header has no column called id; is the first line missing?".into());
    }
    let mut names: Vec<&String> = header.iter().filter(|name| !name.is_empty()).collect();
    names.sort();
    match names.windows(2).find_map(|pair| (pair.first() == pair.last()).then(|| pair.first()).flatten()) {
        Some(twice) => Err(format!("the header has two columns for {twice}")),
        None => Ok(header),
    }
}

fn unreadable(error: &csv::Error) -> String {
    if let csv::ErrorKind::UnequalLengths { expected_len, len, .. } = error.kind() {
        format!("has {len} cells instead of {expected_len}; is the file cut off, or a comma not quoted?")
    } else if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) {
        "is not UTF-8; save the file as UTF-8".into()
    } else {
        error.to_string()
    }
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
        read(text, format, "v", Some("event-1"), TicketRules::default(), 1_000).unwrap()
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
        assert!(found[2].1.contains("line 4 already") && found[2].0 == 5, "{found:?}");
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
    fn lines_are_those_of_an_editor_whatever_ends_them() {
        for end in ["\n", "\r\n", "\r"] {
            let text = ["id,eventName", "1,Concert", "", "2,\"a\nb\"", "3,", "4"].join(end);
            let found = faults(text.as_bytes());
            let rows: Vec<_> = found.iter().map(|(row, _)| *row).collect();
            assert_eq!(rows, [4, 6, 7], "{end:?}: {found:?}");
        }
    }

    #[test]
    fn what_spreadsheets_call_unicode_text_is_read() {
        let text = "id\teventName\n1\tConcert \u{1f3b5}\n";
        let units = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<_>>();
        for file in
            [[vec![0xff, 0xfe], units(u16::to_le_bytes)].concat(), [vec![0xfe, 0xff], units(u16::to_be_bytes)].concat()]
        {
            assert_eq!(read_text(FileFormat::Csv, &file).tickets[0]["ticketData"]["eventName"], "Concert \u{1f3b5}");
        }
        let odd = [&[0xff, 0xfe][..], &units(u16::to_le_bytes), &[0x31]].concat();
        assert_eq!(read_text(FileFormat::Csv, &odd).fault_count, 1);
        assert!(faults(b"id,eventName\xff\n1,Concert\n")[0].1.contains("the header is not UTF-8"));
    }

    #[test]
    fn the_wrong_file_takes_no_room() {
        let read = |format, text: &str| read(text.as_bytes(), format, "v", None, TicketRules::default(), 5_000);
        let found = read(FileFormat::Csv, &format!("id,eventName\n{}", "x\n".repeat(5_000))).unwrap();
        assert_eq!((found.faults.len(), found.fault_count, found.faulty_rows), (MOST_FAULTS, 5_000, 5_000));
        for (format, text) in [
            (FileFormat::Csv, format!("id,eventName\n{}", "x\n".repeat(5_001))),
            (FileFormat::Json, format!("[{}1]", "1,".repeat(5_000))),
            (FileFormat::Json, format!("{{\"tickets\":[{}1]}}", "1,".repeat(5_000))),
        ] {
            let refused = read(format, &text).unwrap_err().to_string();
            assert_eq!(refused, "the file has more than 5000 rows; split it");
        }
    }

    #[test]
    fn json_lists_and_the_seeds_request_body_are_read() {
        let ticket = json!({ "id": "1", "eventId": "e", "ticketData": { "eventName": "Concert" } });
        for file in [json!([ticket]), json!({ "venueId": "v", "tickets": [ticket] })] {
            assert_eq!(read_text(FileFormat::Json, file.to_string().as_bytes()).tickets, std::slice::from_ref(&ticket));
        }
    }
}
