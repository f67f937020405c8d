//! `/admin/session`: who is asking, and where the network of this box can be looked at.

use axum::{
    Json,
    extract::{Extension, State},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use crate::{
    config::Explorer,
    domain::access::{Actor, Role},
};

/// Who is asking, and whom.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Session {
    /// Name of the key; `local` where none is needed.
    key: String,
    /// `read` or `operate`: what the key may do.
    #[schema(value_type = String)]
    role: Role,
    /// The cluster that the box mints on.
    network: &'static str,
    version: &'static str,
    /// Pages of an explorer for this network; null where there is none.
    explorer: Option<Explorer>,
}

/// Who is asking, and what that key may do.
#[utoipa::path(get, path = "/session", operation_id = "getSession", tag = "system", responses((status = 200, body = Session)))]
pub(super) async fn session(State(api): State<Api>, Extension(actor): Extension<Actor>) -> Json<Session> {
    let network = api.app.config.network;
    Json(Session {
        key: actor.name,
        role: actor.role,
        network: network.as_str(),
        version: env!("CARGO_PKG_VERSION"),
        explorer: network.explorer(),
    })
}
