//! A batch as it is sent, read by hand: one wrong ticket must not spoil the others, and every fault is told.

use std::{collections::BTreeMap, num::NonZeroU64};

use serde_json::value::RawValue;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Ref, RefOr,
        schema::{AnyOfBuilder, ObjectBuilder, Schema, SchemaType},
    },
};

use crate::{
    domain::{
        ids::VenueId,
        lamports::Lamports,
        raw_list::RawList,
        ticket::{Fault, Ticket},
    },
    http::error::Problem,
    minting::{AcceptError, BatchRequest, MAX_BATCH_TICKETS, NotBefore},
};

/// A batch as it is sent. Read by hand, so that every fault can be told.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `read` takes")]
pub(in crate::http) struct BatchMint {
    /// The venue that sells: the namespace of its ticket ids.
    #[schema(
        min_length = 1,
        max_length = 128,
        example = "venue-123",
        pattern = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$"
    )]
    venue_id: String,
    #[schema(min_items = 1, max_items = 10_000)]
    tickets: Vec<SentTicket>,
    /// Nothing is minted before this time (RFC 3339), or with `quietHours` before the next quiet hours of the box
    /// (`QUIET_HOURS`). The batch waits by itself, and is answered 202 at once.
    #[schema(value_type = Option<String>, required = false, example = "2026-12-31T23:00:00Z",
        pattern = r"^(quietHours|\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2}))$")]
    not_before: Option<String>,
    /// Most that the new tickets may cost together, fees of transactions that come to nothing included. A batch that is
    /// expected to cost more is refused as a whole; tickets that it turns out not to reach for fail with `budget_used_up`.
    #[schema(value_type = Option<u64>, required = false, minimum = 1, example = 25_000_000)]
    max_lamports: Option<u64>,
}

/// A ticket; anything else is taken too, and fails alone.
#[derive(Debug)]
pub(in crate::http) struct SentTicket;

impl PartialSchema for SentTicket {
    fn schema() -> RefOr<Schema> {
        let wrong = ObjectBuilder::new()
            .schema_type(SchemaType::AnyValue)
            .description(Some("Fails alone: it stands in `failed`, which says why."));
        let any = AnyOfBuilder::new().item(Ref::from_schema_name("Ticket")).item(wrong).build();
        RefOr::T(Schema::AnyOf(any))
    }
}

impl ToSchema for SentTicket {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Ticket::name().into(), Ticket::schema()));
        Ticket::schemas(schemas);
    }
}

/// Reads the body by hand: one wrong ticket must not spoil the others, and every fault is told.
pub(super) fn read(body: &[u8]) -> Result<BatchRequest, Problem> {
    // Tickets stay text until each is looked into.
    let whole: &RawValue = serde_json::from_slice(body)
        .map_err(|error| Problem::bad_request("malformed_json", format!("the body is not JSON: {error}")))?;
    let Ok(mut fields) = serde_json::from_str::<BTreeMap<String, &RawValue>>(whole.get()) else {
        return Err(Problem::one_invalid("", "the body must be a JSON object"));
    };
    let venue_id = match fields.remove("venueId").map(|text| serde_json::from_str::<String>(text.get())) {
        Some(Ok(text)) => VenueId::new(text),
        Some(Err(_)) => Err("must be a string"),
        None => Err("is missing"),
    };
    let tickets = match fields.remove("tickets").map(|list| RawList::read(list.get().as_bytes(), MAX_BATCH_TICKETS)) {
        Some(Ok(RawList { sent, .. })) if sent > MAX_BATCH_TICKETS => {
            return Err(AcceptError::BatchSize { found: sent }.into());
        }
        Some(Ok(tickets)) => Ok(tickets.kept),
        Some(Err(_)) => Err("must be an array"),
        None => Err("is missing"),
    };
    // As in answers, null says that there is none.
    for optional in ["notBefore", "maxLamports"] {
        if fields.get(optional).is_some_and(|text| text.get() == "null") {
            fields.remove(optional);
        }
    }
    let not_before = match fields.remove("notBefore").map(|text| serde_json::from_str::<String>(text.get())) {
        None => Ok(None),
        Some(Ok(text)) => read_not_before(&text).map(Some),
        Some(Err(_)) => Err("must be a string"),
    };
    let budget = match fields.remove("maxLamports").map(|text| serde_json::from_str::<NonZeroU64>(text.get())) {
        None => Ok(None),
        // The books hold no larger number.
        Some(Ok(budget)) if i64::try_from(budget.get()).is_ok() => Ok(Some(Lamports(budget.get()))),
        Some(Ok(_) | Err(_)) => Err("must be a whole number of lamports, at least 1 and at most 9223372036854775807"),
    };
    let wrong = [
        ("venueId", venue_id.as_ref().err()),
        ("tickets", tickets.as_ref().err()),
        ("notBefore", not_before.as_ref().err()),
        ("maxLamports", budget.as_ref().err()),
    ];
    let wrong = wrong.into_iter().filter_map(|(name, detail)| Some((name, *detail?)));
    let unknown = fields.keys().map(|name| {
        (name.as_str(), "is not a field of a batch, which has venueId, tickets, notBefore and maxLamports")
    });
    let fault = |(name, detail): (&str, &str)| Fault {
        pointer: format!("/{}", name.replace('~', "~0").replace('/', "~1")),
        detail: detail.into(),
    };
    let faults: Vec<Fault> = wrong.chain(unknown).map(fault).collect();
    match (venue_id, tickets, not_before, budget) {
        (Ok(venue_id), Ok(tickets), Ok(not_before), Ok(budget)) if faults.is_empty() => {
            Ok(BatchRequest { venue_id, not_before, budget, tickets })
        }
        _ => Err(Problem::invalid(faults)),
    }
}

fn read_not_before(text: &str) -> Result<NotBefore, &'static str> {
    if text == "quietHours" {
        return Ok(NotBefore::QuietHours);
    }
    let time = text.parse::<jiff::Timestamp>();
    time.map(|time| NotBefore::At(time.as_millisecond()))
        .map_err(|_other| "must be a time such as 2026-12-31T23:00:00Z, or quietHours")
}
