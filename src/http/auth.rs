//! Who may use `/admin`: clients from allowed addresses that know a key with a role that suffices.

use std::{collections::HashMap, net::IpAddr, sync::Mutex, sync::PoisonError, time::Duration};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use subtle::ConstantTimeEq as _;
use tokio::time::Instant;

use super::{
    Api,
    client_address::{Client, contains},
    error::{Problem, text},
    limits::Limited,
};
use crate::domain::access::{Actor, Role, key_digest};

const HEADER: &str = "x-admin-api-key";
/// Name of the key that is a setting.
const SETTING: &str = "ADMIN_API_KEY";
/// Name of those who need no key: no one but this machine can reach the box, and it has none.
const LOCAL: &str = "local";

/// Lets those through who may do what they ask for, with their [`Actor`].
pub(super) async fn admit(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let client = client_of(&request);
    match decide(&api, client, request.method(), request.headers()).await {
        Ok(actor) => {
            request.extensions_mut().insert(actor);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// As [`admit`], but this machine and the addresses of `ALLOWED_IPS` need no key: for `/metrics`, which collectors read.
pub(super) async fn admit_collectors(State(api): State<Api>, request: Request, next: Next) -> Response {
    let client = client_of(&request);
    let allowed = &api.app.config.allowed_ips;
    if contains(allowed, client.address) || (allowed.is_empty() && client.address.is_loopback()) {
        return next.run(request).await;
    }
    admit(State(api), request, next).await
}

pub(super) fn client_of(request: &Request) -> Client {
    let nowhere = Client { address: IpAddr::from([0, 0, 0, 0]), proxied: false };
    request.extensions().get::<Client>().copied().unwrap_or(nowhere)
}

async fn decide(api: &Api, client: Client, method: &Method, headers: &HeaderMap) -> Result<Actor, Problem> {
    let allowed = &api.app.config.allowed_ips;
    if !allowed.is_empty() && !contains(allowed, client.address) {
        return Err(Problem::forbidden(format!("{} is not in ALLOWED_IPS", client.address)));
    }
    refuse_other_sites(client, headers)?;
    let actor = authenticate(api, client, headers).await?;
    let is_read = method.is_safe();
    if !is_read && actor.role < Role::Operate {
        let detail = format!("the key {:?} has the role read, and this needs the role operate", actor.name);
        return Err(Problem::forbidden(detail));
    }
    let limit = if is_read { &api.limits.reads } else { &api.limits.writes };
    limit.check(&actor.name, client.address).map_err(too_many)?;
    Ok(actor)
}

fn too_many(limited: Limited) -> Problem {
    Problem::too_many_requests(
        "too many requests; the limit is RATE_LIMIT_MAX for requests that change something",
        limited,
    )
}

/// Refuses what a web page of someone else could make a browser send.
fn refuse_other_sites(client: Client, headers: &HeaderMap) -> Result<(), Problem> {
    let forwarded = text(headers, "x-forwarded-host").filter(|_| client.proxied);
    let host = forwarded.or_else(|| text(headers, "host")).unwrap_or_default();
    let origin = text(headers, "origin").map(|origin| origin.split_once("://").map_or(origin, |(_, host)| host));
    let from_elsewhere = text(headers, "sec-fetch-site").is_some_and(|site| matches!(site, "cross-site" | "same-site"));
    if from_elsewhere || origin.is_some_and(|origin| origin != host) {
        return Err(Problem::forbidden("requests from other web sites are refused"));
    }
    Ok(())
}

async fn authenticate(api: &Api, client: Client, headers: &HeaderMap) -> Result<Actor, Problem> {
    let setting = api.app.config.admin_api_key.as_ref();
    let Some(given) = headers.get(HEADER) else {
        // Without any key the server listens on loopback only. The address bar is then all that a web page lacks to come
        // in, so the name it was reached by must be this machine's.
        if setting.is_some() || api.app.config.is_exposed() || api.app.store.has_keys().await? {
            return Err(Problem::unauthorized("this needs a key in the header x-admin-api-key"));
        }
        let host = text(headers, "host").unwrap_or_default();
        if !is_loopback(host) {
            let detail = "without a key the box answers on localhost only; this request was meant for another host";
            return Err(Problem::forbidden(detail));
        }
        return Ok(Actor { name: LOCAL.into(), role: Role::Operate });
    };
    api.guesses.check(client.address).map_err(too_many_guesses)?;
    // Digests hide the length of the keys as well as their letters.
    let digest = key_digest(given.as_bytes());
    if setting.is_some_and(|key| key_digest(key.expose().as_bytes()).ct_eq(&digest).into()) {
        return Ok(Actor { name: SETTING.into(), role: Role::Operate });
    }
    if let Some(actor) = api.app.store.actor_of(digest).await? {
        return Ok(actor);
    }
    api.guesses.note(api.limits.writes.check("", client.address), client.address);
    tracing::warn!(client = %client.address, "a wrong key was refused");
    Err(Problem::unauthorized("the key in x-admin-api-key is not a key of this box"))
}

fn too_many_guesses(limited: Limited) -> Problem {
    Problem::too_many_requests("too many wrong keys came from this address; no key is looked at for a while", limited)
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.parse::<u16>().is_ok() { name } else { host });
    let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Addresses that sent too many wrong keys: for a while, none of theirs is looked at, the right one neither, so that even a
/// short key cannot be guessed.
#[derive(Debug, Default)]
pub(super) struct Guesses {
    blocked: Mutex<HashMap<IpAddr, Instant>>,
}

impl Guesses {
    fn check(&self, address: IpAddr) -> Result<(), Limited> {
        let blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        let left =
            blocked.get(&address).map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        if left.is_zero() { Ok(()) } else { Err(Limited { retry_after: left }) }
    }

    fn note(&self, budget: Result<(), Limited>, address: IpAddr) {
        let Err(Limited { retry_after }) = budget else { return };
        let now = Instant::now();
        let mut blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        blocked.retain(|_, until| *until > now);
        blocked.insert(address, now + retry_after);
    }
}
